"""Small files that nobody but their owner may read, and that several processes share.

A file is replaced whole: it is the old one or the new one at every moment, and whoever follows it sees the newest one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from events.errors import StoreError
from stores.lock import WriterLock

_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.01

T = TypeVar("T")


class Followed(Generic[T]):
    """What stands in a file, read again whenever it has been replaced. Threads may share it.

    :arg read: Makes of the file's bytes what they mean; raises StoreError where they mean nothing.
    :arg closed: Permissions that the file must not give, as bits; it is refused where it gives one.
    """

    def __init__(self, path: Path, read: Callable[[bytes], T], closed: int = 0) -> None:
        self._path = path
        self._read = read
        self._closed = closed
        self._kept: tuple[tuple[int, ...], T] | None = None

    def get(self) -> T | None:
        """Return what stands in the file, None if there is none.

        :raises StoreError: When it cannot be read.
        """
        try:
            # Looked at each time, at the price of microseconds: what has been revoked is not to work a moment longer.
            kept, seen = self._kept, _version(os.stat(self._path))
            if kept is None or kept[0] != seen:
                self._kept = kept = self._load()
        except FileNotFoundError:
            self._kept = None
            return None
        except OSError as error:
            detail = f"{self._path} cannot be read: {error.strerror}"
            raise StoreError(
                detail, "make it readable for who runs this, or correct data_dir in the settings"
            ) from None
        return kept[1]

    def _load(self) -> tuple[tuple[int, ...], T]:
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & self._closed:
                detail = f"{self._path} is not for its owner alone"
                raise StoreError(detail, f"chmod 600 {self._path}, or remove it if others may have read it")
            return _version(status), self._read(file.read())


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other writers of the file out meanwhile; wait for one that is at it.

    :raises StoreError: When it takes too long, or the folder cannot be written.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            lock = WriterLock(path.with_name(f"{path.name}.lock"), f"the file {path}")
            break
        except StoreError as error:
            if time.monotonic() > deadline:
                raise StoreError(error.detail, "wait until that process has come to its end") from None
            time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise _unwritable(path, error) from None
    try:
        yield
    finally:
        lock.close()


def replace(path: Path, content: bytes) -> None:
    """Put a file for the owner alone in the place of the one that is there, if any; for who is `alone`.

    :raises StoreError: When it cannot be written; then the old one is still there.
    """
    beside = path.with_name(f"{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()  # left by a crash
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _unwritable(path: Path, error: OSError) -> StoreError:
    detail = f"{path} cannot be written: {error.strerror}"
    return StoreError(detail, "make its folder writable, or correct data_dir in the settings")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
