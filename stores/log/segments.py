"""The files of a stream: `<partition>-<base offset>.jsonl`, each beginning at the offset where the one before ends.

An offset is the place of a byte in its partition. Only the newest segment of a partition grows, so the name of
its successor is known before it exists, and the end of a segment never has to be guessed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from events.errors import StoreError
from stores.log import lines

_NAME = re.compile(r"(\d{4,9})(?:-(0|\d{20}))?\.jsonl")
_STEP = 64 * 2**10
_BLOCK = 2**20


class Segment(NamedTuple):
    """A file of a partition, and the offset of its first byte."""

    base: int
    path: str


def path_of(folder: str, partition: int, base: int) -> str:
    """Return the name under which a segment is made. A hand-made first one may be shorter: `0000.jsonl`."""
    return f"{folder}/{partition:04d}-{base:020d}.jsonl"


def listed(folder: str) -> dict[int, list[Segment]]:
    """Return the segments of each partition at this moment, oldest first; other files are passed over."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    found: dict[int, list[Segment]] = {}
    for name in names:
        if match := _NAME.fullmatch(name):
            segment = Segment(int(match[2] or 0), f"{folder}/{name}")
            found.setdefault(int(match[1]), []).append(segment)
    for segments in found.values():
        segments.sort()
    return found


def chain(folder: str, partition: int) -> list[Segment]:
    """Return the segments of one partition, oldest first, each known to end where the next one begins.

    :raises StoreError: When one is missing in between, or has grown after it was closed.
    """
    seen: list[Segment] = []
    while True:
        segments = listed(folder).get(partition, [])
        fault = _fault(segments)
        if not fault:
            return segments
        # A folder that changes while it is listed can show a segment without the one before it: look again.
        if segments == seen:
            hint = "restore the segment from a copy, or move the older ones away"
            raise StoreError(fault, hint)
        seen = segments


def _fault(segments: list[Segment]) -> str:
    for segment, following in pairwise(segments):
        try:
            end = segment.base + os.stat(segment.path).st_size
        except FileNotFoundError:
            end = -1
        if end != following.base:
            return f"{following.path} should begin at the offset where {segment.path} ends, which is {end}"
    return ""


def whole(fd: int, size: int) -> int:
    """Return the place after the last newline in the first `size` bytes of a file; 0 if there is none."""
    end = size
    while end > 0:
        begin = max(0, end - _STEP)
        found = os.pread(fd, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def newest_time(path: str, max_line_bytes: int) -> int | None:
    """Return the newest event time in a closed segment; None if no line of it can be read."""
    newest: int | None = None
    with Path(path).open("rb") as file:
        while line := file.readline(max_line_bytes):
            time = lines.event_time(line)
            if time is not None and (newest is None or time > newest):
                newest = time
    return newest


@contextmanager
def alone(folder: str) -> Iterator[None]:
    """Keep other processes from making or removing first segments in `folder` meanwhile."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def extent(folder: str, partition: int) -> tuple[int, int, int]:
    """Return the oldest offset of a partition, the one after its newest whole line, and the bytes behind that."""
    while True:
        segments = listed(folder).get(partition)
        if not segments:
            return 0, 0, 0
        newest = segments[-1]
        try:
            fd = os.open(newest.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # removed by retention since it was listed
            continue
        try:
            size = os.fstat(fd).st_size
            place = whole(fd, size)
        finally:
            os.close(fd)
        return segments[0].base, newest.base + place, size - place


def count(folder: str, partition: int, begin: int, end: int) -> int:
    """Return how many lines end behind offset `begin` and not behind `end`, in the segments that are there."""
    found = 0
    for segment in listed(folder).get(partition, []):
        place, stop = max(begin - segment.base, 0), end - segment.base
        if place >= stop:
            continue
        try:
            fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # removed by retention since it was listed
            continue
        try:
            while place < stop and (block := os.pread(fd, min(_BLOCK, stop - place), place)):
                found += block.count(b"\n")
                place += len(block)
        finally:
            os.close(fd)
    return found


def make_first(folder: str, partitions: int, fsync: bool) -> None:
    """Make an empty first segment for each partition below `partitions` that has none."""
    there = listed(folder)
    for partition in range(partitions):
        if partition not in there:
            os.close(os.open(path_of(folder, partition, 0), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    if fsync:
        sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Wait until the names in `folder` are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
