"""One writer per store, over all processes: a lock that ends with the process, however that ends."""

from __future__ import annotations

import os
from pathlib import Path

from events.errors import StoreError


class WriterLock:
    """Makes this process the only writer of a store, until it is closed or the process ends.

    Not when it is merely forgotten: maintenance may still be at work.

    :arg path: File of the lock; its folder is made if need be.
    :arg store: What the store is called in the error, such as `the row store tables.sqlite3`.
    :raises StoreError: When another one writes the store, naming its process.
    """

    def __init__(self, path: Path, store: str) -> None:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            holder = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
            detail = f"{store} has a writer already: process {holder}"
            raise StoreError(detail, "stop that flow first; a store has one writer") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Let the next writer in."""
        os.close(self._descriptor)
