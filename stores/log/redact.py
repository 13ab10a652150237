"""Taking content out of the log on files: in place, each line at its length, so that every offset stays what it is.

Appends and reads go on meanwhile. A line that goes is written in two steps: first the beginning, a hundred bytes that
tell readers to pass over it, then blanks over the rest. So a reader sees the line as it was, or none; only one that
reads these very bytes in the moment in which they change may see a broken line. A line that is to keep a part is
written in one step, and a reader in that moment may see it broken too. What flows read long ago is not read again, so
that hardly any reader is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from events.erasure import ERASED
from events.errors import RejectedError
from events.log import BROKEN, LogRecord
from stores.log import lines
from stores.log.base import Judge, Redaction
from stores.log.segments import Segment


def plus(one: Redaction, other: Redaction) -> Redaction:
    """Add up what became of two parts of a stream."""
    return Redaction(one.removed + other.removed, one.reduced + other.reduced, one.held + other.held)


def redact(segment: Segment, stream: str, partition: int, judge: Judge) -> Redaction:
    """Redact the whole lines of one segment; one that retention has removed has none.

    :raises OSError: When it cannot be read or written.
    """
    removed = reduced = held = 0
    with _opened(segment.path, os.O_RDONLY) as source:
        if source is None:
            return Redaction()
        with _Overwriting(segment.path) as over:
            for place, line in _whole_lines(source):
                record = lines.decode(line, stream, partition, segment.base + place)
                if record is None or ERASED in record.headers:
                    continue
                left = judge(record)
                if left is record:
                    continue
                if left is None:
                    head, rest = lines.erased(lines.event_time(line), len(line))
                    over.write(place, head)
                    over.write(place + len(head), rest)
                    removed += 1
                elif (shorter := _at_length(left, len(line))) is not None:
                    over.write(place, shorter)
                    reduced += 1
                else:
                    held += 1
    return Redaction(removed, reduced, held)


def _at_length(record: LogRecord, length: int) -> bytes | None:
    """Return the line of `record` at this length, None if it is longer or cannot be written."""
    if BROKEN in record.headers:
        line = record.value or b""
    else:
        try:
            line = lines.encode(record).rstrip(b"\n")
        except RejectedError:
            return None
    return line.ljust(length) if len(line) <= length else None


def _whole_lines(source: int) -> Iterator[tuple[int, bytes]]:
    """Yield each whole line without its newline, and its place in the file."""
    place = 0
    with open(source, "rb", closefd=False) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield place, line[:-1]
            place += len(line)


class _Overwriting:
    """A file whose bytes are written over; opened only when there is something to write, synced at the end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> _Overwriting:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)

    def write(self, place: int, data: bytes) -> None:
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        while data:
            written = os.pwrite(self._descriptor, data, place)
            place, data = place + written, data[written:]


@contextmanager
def _opened(path: str, flags: int) -> Iterator[int | None]:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    except FileNotFoundError:  # removed by retention since it was listed
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
