"""The log on recorded files: a folder per stream, JSON Lines per partition.

What a test replays and what a live system appends to is one format, so either can become the other. Reading
creates nothing and works in a read-only folder.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from events.errors import RejectedError, StoreError
from events.log import LogRecord
from stores.log import lines, segments
from stores.log.base import Judge, Log, Redaction
from stores.log.reading import PartitionReader
from stores.log.redact import plus, redact
from stores.log.segments import Segment
from stores.log.writing import StreamWriter
from stores.sections import checked_name

_HINTS = {
    errno.ENOSPC: "free some space on the disk, then append again",
    errno.EDQUOT: "free some of the quota, then append again",
    errno.EACCES: "give this user the rights to the folder",
    errno.EPERM: "give this user the rights to the folder",
    errno.EROFS: "mount the folder writable, or put the log elsewhere by `log.dir`",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENOTDIR: "remove the file that stands where the folder should be",
    errno.EEXIST: "remove the file that stands where the folder should be",
}


class FileLog(Log):
    """Streams as folders of JSON Lines files.

    :arg folder: Where the streams are; made by the first append.
    :arg partitions: Partitions of a stream that an append makes.
    :arg segment_bytes: Size at which a partition begins a new file; retention removes whole files.
    :arg fsync: Whether an append waits for the disk. Without, it survives a killed process, not a power cut.
    :arg max_line_bytes: Longer lines are refused by `append`, and broken for `read`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        partitions: int = 4,
        segment_bytes: int = 64 * 2**20,
        fsync: bool = False,
        max_line_bytes: int = 64 * 2**20,
    ) -> None:
        self._folder = folder
        self._default_partitions = partitions
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._max_line_bytes = max_line_bytes
        self._readers: dict[tuple[str, int], PartitionReader] = {}
        self._writers: dict[str, StreamWriter] = {}
        self._newest_times: dict[tuple[str, int, int], int | None] = {}
        self._process = os.getpid()

    def close(self) -> None:
        """Give all files back. The log can be used again."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._writers.clear()

    def create(self, stream: str, partitions: int) -> None:
        """Make the folder of `stream` and an empty file for each partition that is missing."""
        folder = self._folder_of(stream)
        try:
            os.makedirs(folder, exist_ok=True)
            with segments.alone(folder):
                segments.make_first(folder, partitions, self._fsync)
        except OSError as error:
            raise _failed(folder, "make", error) from error

    def streams(self) -> list[str]:
        """List the folders that hold at least one partition."""
        try:
            with os.scandir(self._folder) as found:
                names = sorted(entry.name for entry in found if entry.is_dir() and _is_name(entry.name))
            return [name for name in names if segments.listed(self._folder_of(name))]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _failed(str(self._folder), "list", error) from error

    def partitions(self, stream: str) -> list[int]:
        """List the partitions that have a file."""
        folder = self._folder_of(stream)
        try:
            return sorted(segments.listed(folder))
        except OSError as error:
            raise _failed(folder, "list", error) from error

    def append(self, stream: str, records: Sequence[LogRecord]) -> None:
        """Append, one write a partition. Several processes may; what a killed one left torn is closed, not lost.

        More partitions move keys: the order of one key holds from then on, not across the change.

        :raises RejectedError: When a record cannot be written; then none of them is.
        :raises StoreError: When the folder cannot be written to; then some of them may be there.
        """
        encoded = [self._encode(record) for record in records]
        if not encoded:
            return
        folder = self._folder_of(stream)
        if self._process != os.getpid():
            # Locks belong to open files, and a forked process shares those of its parent.
            self._writers, self._process = {}, os.getpid()
        try:
            writer = self._writers.get(stream)
            if writer is None:
                writer = self._writers[stream] = StreamWriter(folder, self._segment_bytes, self._fsync)
            if not writer.know_partitions():
                self.create(stream, self._default_partitions)
                writer.know_partitions()
            writer.append((record.key for record in records), encoded)
        except OSError as error:
            raise _failed(folder, "append to", error) from error

    def read(self, stream: str, partition: int, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        """Read whole lines; less than `limit` of them at the end, or when they are large.

        :raises StoreError: Also when no record begins at `offset`: then the log is not the one that gave it.
        """
        reader = self._readers.get((stream, partition))
        folder = self._folder_of(stream)
        if reader is None:
            reader = PartitionReader(folder, stream, partition, self._max_line_bytes)
            reader = self._readers.setdefault((stream, partition), reader)
        try:
            return reader.read(offset, limit)
        except OSError as error:
            raise _failed(folder, "read", error) from error

    def bounds(self, stream: str, partition: int) -> tuple[int, int]:
        """Look at the files, not at what has been read ahead."""
        oldest, end, _ = self._extent(stream, partition)
        return oldest, end

    def count(self, stream: str, partition: int, begin: int, end: int) -> int:
        """Count the lines between two places."""
        folder = self._folder_of(stream)
        try:
            return segments.count(folder, partition, begin, end)
        except OSError as error:
            raise _failed(folder, "read", error) from error

    def unfinished(self, stream: str, partition: int) -> int:
        """Return the bytes after the newest whole record: an append under way, or torn by a crash."""
        return self._extent(stream, partition)[2]

    def retain(self, stream: str, newer_than: int) -> int:
        """Remove the oldest files of each partition, as far as nothing in them is `newer_than` or younger."""
        folder = self._folder_of(stream)
        freed = 0
        try:
            if not os.path.isdir(folder):
                return 0
            with segments.alone(folder):
                for partition in segments.listed(folder):
                    freed += self._retain(segments.chain(folder, partition)[:-1], newer_than)
        except OSError as error:
            raise _failed(folder, "remove old files of", error) from error
        return freed

    def redact(self, stream: str, judge: Judge) -> Redaction:
        """Write over what is to go, each line in its place and at its length, so that no byte of the log moves."""
        folder = self._folder_of(stream)
        found = Redaction()
        try:
            for partition in self.partitions(stream):
                for segment in segments.chain(folder, partition):
                    found = plus(found, redact(segment, stream, partition, judge))
        except OSError as error:
            raise _failed(folder, "erase in", error) from error
        return found

    def _retain(self, closed: list[Segment], newer_than: int) -> int:
        freed = 0
        for segment in closed:
            status = os.stat(segment.path)
            seen = (segment.path, status.st_ino, status.st_size)
            if seen not in self._newest_times:
                self._newest_times[seen] = segments.newest_time(segment.path, self._max_line_bytes)
            newest = self._newest_times[seen]
            if newest is not None and newest >= newer_than:
                break
            os.unlink(segment.path)
            del self._newest_times[seen]
            freed += status.st_size
        return freed

    def _extent(self, stream: str, partition: int) -> tuple[int, int, int]:
        folder = self._folder_of(stream)
        try:
            return segments.extent(folder, partition)
        except OSError as error:
            raise _failed(folder, "read", error) from error

    def _encode(self, record: LogRecord) -> bytes:
        line = lines.encode(record)
        if len(line) > self._max_line_bytes:
            detail = f"the record has {len(line)} bytes as a line of the log, over {self._max_line_bytes}"
            raise RejectedError(detail, "keep large content elsewhere and log its address")
        return line

    def _folder_of(self, stream: str) -> str:
        try:
            return f"{self._folder}/{checked_name(stream)}"
        except ValueError as error:
            detail = f"there can be no stream of that name: {error}"
            raise StoreError(detail) from None


def _is_name(name: str) -> bool:
    try:
        return checked_name(name) == name
    except ValueError:
        return False


def _failed(folder: str, verb: str, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    return StoreError(f"cannot {verb} {folder}: {reason}", _HINTS.get(error.errno or 0, "look at the disk"))
