"""Which log there is: the one that the settings name."""

from __future__ import annotations

from stores.log.base import Log
from stores.log.files import FileLog
from stores.settings import Settings


def open_log(settings: Settings) -> Log:
    """Return the log of `settings`, nothing of it opened yet. A replay reads a recording, whatever the log is.

    :raises MissingExtraError: When its client is not installed.
    """
    log = settings.log
    if log.backend == "kafka" and settings.mode == "live":
        from stores.log.kafka.log import KafkaLog

        return KafkaLog(log.kafka, partitions=log.partitions)
    return FileLog(settings.log_dir, partitions=log.partitions, segment_bytes=log.segment_bytes, fsync=log.fsync)


def open_own_log(settings: Settings) -> Log:
    """Return the log that a flow itself appends to, with alerts and what it has to tell.

    A replay reads a recording, which is not to change: what it tells goes into its data folder.
    """
    if settings.mode == "replay":
        return FileLog(settings.data_dir / "log", partitions=settings.log.partitions)
    return open_log(settings)
