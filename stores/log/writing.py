"""Appending to one partition of the log on files, in any number of processes at once.

All writing happens under an exclusive lock on the newest segment. A line that a crashed writer left torn is
closed with a newline by the next one, so that readers see it as broken and nothing is glued to it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import zlib
from collections.abc import Iterable

from stores.log import segments

_NOWHERE = -1
_SETTLED_NANOS = 1_000_000_000
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


class PartitionWriter:
    """The newest segment of one partition, open for appending."""

    def __init__(self, folder: str, partition: int, segment_bytes: int, fsync: bool) -> None:
        self._folder = folder
        self._partition = partition
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._lock = threading.Lock()
        self._fd = _NOWHERE
        self._base = 0
        self._clean = 0  # size at which the segment was seen to end with a newline
        self.touched = 0  # when it was last seen written to, by the clock of the file system

    def close(self) -> None:
        """Give the file back; a later append opens it again."""
        if self._fd != _NOWHERE:
            fd, self._fd = self._fd, _NOWHERE
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def append(self, data: bytes) -> None:
        """Append whole lines behind everything that any process has appended before.

        :raises OSError: When not all could be written; what was written stays, and is closed by the next append.
        """
        with self._lock:
            while not self._append(data):
                pass

    def _append(self, data: bytes) -> bool:
        """Append to the open segment if it is still the newest, or go on to the next one and return False."""
        if self._fd == _NOWHERE:
            self._open_newest()
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            status = os.fstat(self._fd)
            size = status.st_size
            self.touched = status.st_mtime_ns
            if not status.st_nlink:  # closed by another writer, then removed by retention
                self.close()
                return False
            successor = segments.path_of(self._folder, self._partition, self._base + size)
            if size and os.access(successor, os.F_OK):
                self._open(successor, self._base + size)
                return False
            if size != self._clean and os.pread(self._fd, 1, size - 1) != b"\n":
                self._write(b"\n")
                self._clean = size + 1
                return False
            if size >= self._segment_bytes:
                self._open(successor, self._base + size, os.O_CREAT)
                return False
            self._write(data)
            self._clean = size + len(data)
            return True
        finally:
            if self._fd != _NOWHERE:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        while written < len(data):
            written += os.write(self._fd, data[written:])
        if self._fsync:
            os.fsync(self._fd)

    def _open_newest(self) -> None:
        while True:
            found = segments.listed(self._folder).get(self._partition)
            try:
                if found:
                    self._open(found[-1].path, found[-1].base)
                else:  # somebody removed the partition while it was written to
                    os.makedirs(self._folder, exist_ok=True)
                    self._open(segments.path_of(self._folder, self._partition, 0), 0, os.O_CREAT)
            except FileNotFoundError:  # removed by retention since it was listed
                continue
            return

    def _open(self, path: str, base: int, create: int = 0) -> None:
        """Open a segment in place of the one before, whose lock this gives up."""
        fd = os.open(path, _FLAGS | create, 0o644)
        self.close()
        self._fd, self._base, self._clean = fd, base, 0
        if create and self._fsync:
            segments.sync_folder(self._folder)


class StreamWriter:
    """The partitions of one stream, as far as this process appends to them."""

    def __init__(self, folder: str, segment_bytes: int, fsync: bool) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._partitions: list[int] = []
        self._writers: dict[int, PartitionWriter] = {}
        self._turn = -1
        self._changed = 0  # the folder's time of change when it was listed
        self._listed_after = 0  # a moment, by the same clock of the file system, before that listing

    def know_partitions(self) -> bool:
        """Look which partitions there are, if they can have changed since the last look; False if there are none.

        A folder's time of change is coarse: a listing taken soon after it may lack what came in the same tick.
        """
        try:
            changed = os.stat(self._folder).st_mtime_ns
        except FileNotFoundError:
            self._partitions = []
            return False
        if changed != self._changed or self._listed_after - changed < _SETTLED_NANOS:
            self._changed = changed
            self._listed_after = max((writer.touched for writer in self._writers.values()), default=0)
            self._partitions = sorted(segments.listed(self._folder))
        return bool(self._partitions)

    def append(self, keys: Iterable[bytes | None], lines: Iterable[bytes]) -> None:
        """Append each line to the partition of its key, those of one partition in one go."""
        partitions = self._partitions
        batches: dict[int, list[bytes]] = {}
        for key, line in zip(keys, lines, strict=True):
            if key is None:
                place = self._turn = (self._turn + 1) % len(partitions)
            else:
                place = zlib.crc32(key) % len(partitions)
            batches.setdefault(partitions[place], []).append(line)
        for partition, batch in batches.items():
            writer = self._writers.get(partition)
            if writer is None:
                writer = PartitionWriter(self._folder, partition, self._segment_bytes, self._fsync)
                writer = self._writers.setdefault(partition, writer)
            writer.append(b"".join(batch))
