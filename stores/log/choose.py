"""Which log there is: the one that the settings name."""

from __future__ import annotations

from stores.log.base import Log
from stores.log.files import FileLog
from stores.settings import Settings


def open_log(settings: Settings) -> Log:
    """Return the log of `settings`, nothing of it opened yet."""
    log = settings.log
    return FileLog(settings.log_dir, partitions=log.partitions, segment_bytes=log.segment_bytes, fsync=log.fsync)
