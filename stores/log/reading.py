"""Reading one partition of the log on files: whole lines only, in order, each exactly once.

What has been read ahead is kept between two reads, so that going on costs nothing twice, and a read at the end
costs three system calls.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right

from events.errors import StoreError
from events.log import LogRecord
from stores.log import lines, segments
from stores.log.segments import Segment

READ_BYTES = 16 * 2**20
"""A read that has come this far returns what it has, so that large records cannot fill the memory."""

_CHUNK = 256 * 2**10
_NOWHERE = -1


class PartitionReader:
    """The place of a reader in one partition: the open segment, and the bytes read ahead of it."""

    def __init__(self, folder: str, stream: str, partition: int, max_line_bytes: int) -> None:
        self._folder = folder
        self._stream = stream
        self._partition = partition
        self._max_line_bytes = max_line_bytes
        self._lock = threading.Lock()
        self._fd = _NOWHERE
        self._segment = Segment(0, "")
        self._next = 0  # offset at which the last read ended
        self._ahead = b""  # bytes read ahead, from offset `_at` on
        self._at = 0
        self._searched = 0  # from `_at` to here there is no newline

    def close(self) -> None:
        """Give the file back; a later read opens it again."""
        if self._fd != _NOWHERE:
            fd, self._fd = self._fd, _NOWHERE
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def read(self, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        """Do what the port says of `read`."""
        with self._lock:
            records: list[LogRecord] = []
            if limit > 0 and self._stand_at(offset):
                offset = self._collect(records, offset, limit)
            return records, offset

    def _collect(self, records: list[LogRecord], begin: int, limit: int) -> int:
        decode, stream, partition, longest = lines.decode, self._stream, self._partition, self._max_line_bytes
        offset = begin
        while True:
            ahead, base = self._ahead, self._at
            at = offset - base
            end = ahead.find(b"\n", max(at, self._searched - base))
            while end >= 0:
                if end - at > longest:
                    records.append(self._too_long(ahead[at : min(end, at + lines.KEPT_BYTES)], base + at, end - at))
                elif (record := decode(ahead[at:end], stream, partition, base + at)) is not None:
                    records.append(record)
                at = end + 1
                if len(records) == limit:
                    break
                end = ahead.find(b"\n", at)
            offset = self._next = base + at
            if len(records) == limit or offset - begin >= READ_BYTES:
                break
            if len(ahead) - at > longest:
                after = self._end_of_line(base + len(ahead))
                if after is None:
                    break
                records.append(self._too_long(ahead[at : at + lines.KEPT_BYTES], offset, after - 1 - offset))
                self._ahead, self._at, self._searched = b"", after, after
                offset = self._next = after
            elif not self._read_on(offset):
                break
        return offset

    def _stand_at(self, offset: int) -> bool:
        """Make `offset` the place where reading goes on; False if the partition does not exist."""
        if self._fd != _NOWHERE:
            if offset == self._next and os.fstat(self._fd).st_nlink:
                return True
            self.close()
        while True:
            chain = segments.chain(self._folder, self._partition)
            if not chain:
                return False
            if offset < chain[0].base:
                detail = f"{self._name} begins at offset {chain[0].base}: what was at {offset} has been removed"
                raise StoreError(detail, f"start from {chain[0].base}, or keep records for longer")
            try:
                self._open(chain[bisect_right(chain, offset, key=_base) - 1], offset)
            except FileNotFoundError:  # removed since it was listed
                continue
            self._refuse_strange(offset)
            return True

    def _open(self, segment: Segment, offset: int) -> None:
        fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        self._fd, self._segment, self._next = fd, segment, offset
        self._ahead, self._at, self._searched = b"", offset, offset

    def _refuse_strange(self, offset: int) -> None:
        """Refuse an offset that this log cannot have given: it belongs to another log of the same name."""
        place = offset - self._segment.base
        if place and os.pread(self._fd, 1, place - 1) != b"\n":
            self.close()
            detail = f"no record of {self._name} begins at offset {offset}"
            raise StoreError(detail, "the log has been replaced or cut since: begin anew, from its oldest offset")

    def _read_on(self, offset: int) -> bool:
        """Read further ahead, into the next segment where one ends; False at the end of the partition."""
        rest = self._ahead[offset - self._at :]
        end = offset + len(rest)
        # Asking for as much again as there is keeps the work linear in the length of a line.
        chunk = os.pread(self._fd, max(_CHUNK, len(rest)), end - self._segment.base)
        self._ahead, self._at, self._searched = rest + chunk, offset, end
        return bool(chunk) or (not rest and self._open_successor(offset))

    def _open_successor(self, offset: int) -> bool:
        if offset == self._segment.base:
            return False
        path = segments.path_of(self._folder, self._partition, offset)
        # Asking first is cheaper than an exception, and at the end it is asked at every poll.
        if not os.access(path, os.F_OK):
            return False
        try:
            self._open(Segment(offset, path), offset)
        except FileNotFoundError:  # removed by retention this moment; the next read finds out
            return False
        return True

    def _end_of_line(self, offset: int) -> int | None:
        """Return the offset after the next newline, without keeping what is before it; None if there is none."""
        offset = max(offset, self._searched)
        while chunk := os.pread(self._fd, _CHUNK, offset - self._segment.base):
            if (found := chunk.find(b"\n")) >= 0:
                return offset + found + 1
            offset += len(chunk)
            self._searched = offset
        return None

    def _too_long(self, head: bytes, offset: int, length: int) -> LogRecord:
        fault = f"the line has {length} bytes, over the limit of {self._max_line_bytes}; this is its beginning"
        return lines.broken(head, self._stream, self._partition, offset, fault)

    @property
    def _name(self) -> str:
        return f"partition {self._partition} of stream {self._stream!r}"


def _base(segment: Segment) -> int:
    return segment.base
