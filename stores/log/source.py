"""The Bytewax source that reads any log, however its streams and partitions come and go.

Bytewax asks for partitions once, at the start, and cannot resume when one is missing later. Here they are a fixed
number of slots; each partition of each stream belongs to one slot for ever, and a slot looks for new ones as it runs.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Literal, NamedTuple

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from events.clock import Clock
from events.errors import StoreError
from events.log import LogRecord, Mark
from stores.log.base import Log
from stores.sections import FOR_FLOWS

SLOTS = 16
"""Number of Bytewax partitions. Part of the recovery format: another number loses the places of all streams."""

LOOK_MILLIS = 500
"""Shortest time between two looks for new partitions."""

_FIRST_NAP_MILLIS = 5
_LONGEST_NAP_MILLIS = 20
_logger = logging.getLogger(__name__)

State = dict[str, tuple[int, int | None]]
"""For `stream/partition`, the offset to go on from and the newest event time before it."""

Start = Callable[[str, int], int | None]
"""For a stream and a partition, the offset to begin at; None for the oldest there is."""


OnExpired = Literal["fail", "oldest"]


class LogBatch(msgspec.Struct, frozen=True):
    """Records of one partition in their order, and how far it has been read with them.

    :arg records: None of them if the mark only confirms that there was nothing to read.
    :arg mark: Its `source` is the stream.
    """

    records: tuple[LogRecord, ...]
    mark: Mark


def slot_of(stream: str, partition: int) -> int:
    """Return the number of the slot that a partition belongs to."""
    return (zlib.crc32(stream.encode()) + partition) % SLOTS


class _Reading(NamedTuple):
    log: Log
    streams: tuple[str, ...]
    batch_size: int
    tail: bool
    heartbeat_millis: int
    clock: Clock
    start: Start | None
    on_expired: OnExpired
    reader: str


class LogSource(FixedPartitionedSource[LogBatch, State]):
    """Reads streams of a log, record batches and progress marks, in the order of each partition.

    :arg log: The log; with several workers in one process they share it.
    :arg streams: Names of the streams; one that does not exist yet is waited for.
    :arg batch_size: Most records that one item carries.
    :arg tail: True to wait for more at the end, False to read each partition to its end and stop.
    :arg heartbeat_seconds: How often an idle partition confirms that it is idle (with `tail`).
    :arg clock: For marks, heartbeats and naps; with `tail` it must keep the machine's time.
    :arg start: Where to begin a partition of which the recovery state knows nothing.
    :arg on_expired: What to do when the log does not hold the offset to go on from: `fail`, or go on from the
        `oldest` there is and say so in the program's log.
    :arg reader: Name under which the log tells others how far this is; empty: it does not.
    """

    def __init__(
        self,
        log: Log,
        streams: Sequence[str],
        *,
        batch_size: int,
        tail: bool,
        heartbeat_seconds: float,
        clock: Clock,
        start: Start | None = None,
        on_expired: OnExpired = "fail",
        reader: str = "",
    ) -> None:
        heartbeat_millis = round(heartbeat_seconds * 1000)
        names = tuple(dict.fromkeys(streams))
        self._reading = _Reading(log, names, batch_size, tail, heartbeat_millis, clock, start, on_expired, reader)

    def list_parts(self) -> list[str]:
        """List the slots: always the same ones."""
        return [f"slot-{number:02d}" for number in range(SLOTS)]

    def build_part(self, step_id: str, for_part: str, resume_state: State | None) -> LogSlot:
        """Build one slot; its partitions go on from `resume_state`, the others from `start`."""
        return LogSlot(self._reading, int(for_part.removeprefix("slot-")), resume_state or {})


class _Cursor:
    """How far one partition has been read."""

    __slots__ = ("confirmed_at", "ended", "event_time", "name", "offset", "partition", "stream")

    def __init__(self, stream: str, partition: int, offset: int, event_time: int | None) -> None:
        self.stream = stream
        self.partition = partition
        self.name = f"{stream}/{partition}"
        self.offset = offset
        self.event_time = event_time
        self.confirmed_at: int | None = None  # when it was last said that the end is reached; None: it is not
        self.ended = False  # read to its end, and it will not be read again


class LogSlot(StatefulSourcePartition[LogBatch, State]):
    """The partitions of one slot, read in turn."""

    def __init__(self, reading: _Reading, number: int, state: State) -> None:
        self._reading = reading
        self._number = number
        self._state: State = dict(state)
        self._cursors: list[_Cursor] = []
        self._absent: set[str] = set()
        self._checked: set[str] = set()
        self._turn = 0
        self._looked_at: int | None = None
        self._nap_millis = 0
        self._awake: datetime | None = None

    def next_batch(self) -> list[LogBatch]:
        """Return batches of the slot's partitions in turn, about `batch_size` records in all."""
        now = self._reading.clock()
        if self._looked_at is None or (self._reading.tail and not 0 <= now - self._looked_at < LOOK_MILLIS):
            self._look(now)
        batches = self._read_in_turn()
        if not batches and not self._reading.tail and all(cursor.ended for cursor in self._cursors):
            # A partition that came while the others were read is read as well.
            if not self._look(now):
                raise StopIteration
            batches = self._read_in_turn()
        self._plan_nap(bool(batches), now)
        return batches

    def next_awake(self) -> datetime | None:
        """Return when to look again: at once after records, then after naps that grow to 20 ms."""
        return self._awake

    def snapshot(self) -> State:
        """Return the place of every partition that this slot has ever read, also of those that are gone."""
        if self._reading.reader and self._cursors:
            places = {(cursor.stream, cursor.partition): cursor.offset for cursor in self._cursors}
            self._reading.log.mirror(self._reading.reader, places)
        return dict(self._state)

    def _look(self, now: int) -> bool:
        """Take in partitions that have appeared; False if there are none."""
        self._looked_at = now
        known = {cursor.name for cursor in self._cursors}
        for stream in self._reading.streams:
            partitions = self._reading.log.partitions(stream)
            if partitions and stream not in self._checked:
                self._reading.log.check(stream, self._known(stream))
                self._checked.add(stream)
            if not partitions and self._reading.tail and slot_of(stream, 0) == self._number:
                self._say_absent(stream)
            for partition in partitions:
                if slot_of(stream, partition) == self._number and f"{stream}/{partition}" not in known:
                    self._cursors.append(self._cursor(stream, partition))
        return len(self._cursors) > len(known)

    def _say_absent(self, stream: str) -> None:
        """Say once that a stream is waited for; those on which flows are told things come when there is one."""
        if stream not in self._absent and not stream.startswith(FOR_FLOWS):
            self._absent.add(stream)
            _logger.info("there is no stream %r yet: it is waited for", stream)

    def _known(self, stream: str) -> list[int]:
        """Return the partitions of a stream that the state names."""
        names = (name.rpartition("/") for name in self._state)
        return sorted(int(partition) for of, _, partition in names if of == stream)

    def _cursor(self, stream: str, partition: int) -> _Cursor:
        place = self._state.get(f"{stream}/{partition}")
        if place is not None:
            return _Cursor(stream, partition, *place)
        offset = self._reading.start(stream, partition) if self._reading.start is not None else None
        if offset is None:
            offset = self._reading.log.bounds(stream, partition)[0]
        return _Cursor(stream, partition, offset, None)

    def _read_in_turn(self) -> list[LogBatch]:
        batches: list[LogBatch] = []
        count = 0
        for cursor in self._rotation():
            batch = self._read(cursor)
            if batch is not None:
                batches.append(batch)
                count += len(batch.records)
                if count >= self._reading.batch_size:
                    break
        return batches

    def _rotation(self) -> Iterator[_Cursor]:
        """Go round once, beginning after the partition that was read last."""
        for _ in range(len(self._cursors)):
            self._turn = (self._turn + 1) % len(self._cursors)
            yield self._cursors[self._turn]

    def _read(self, cursor: _Cursor) -> LogBatch | None:
        if cursor.ended:
            return None
        # Before the read: what is appended during it must not count as known to be absent.
        read_at = self._reading.clock()
        try:
            records, offset = self._reading.log.read(
                cursor.stream, cursor.partition, cursor.offset, self._reading.batch_size
            )
        except StoreError as error:
            self._reset(cursor, error)
            return None
        if not records and offset == cursor.offset and not self._due(cursor, read_at):
            return None
        cursor.offset = offset
        if records:
            newest = max(record.event_time for record in records)
            cursor.event_time = newest if cursor.event_time is None else max(newest, cursor.event_time)
        self._state[cursor.name] = (offset, cursor.event_time)
        known_at = self._known_at_end(cursor) if len(records) < self._reading.batch_size else None
        caught_up = known_at is not None
        cursor.confirmed_at = read_at if caught_up else None
        if not records and not caught_up:
            return None
        seen_at = self._reading.clock()
        if known_at is not None:
            read_at = min(read_at, known_at)
        mark = Mark(
            cursor.stream, str(cursor.partition), offset, cursor.event_time, read_at, caught_up, seen_at=seen_at
        )
        return LogBatch(tuple(records), mark)

    def _due(self, cursor: _Cursor, now: int) -> bool:
        """Whether an idle partition has to say that it is idle."""
        return cursor.confirmed_at is None or not 0 <= now - cursor.confirmed_at < self._reading.heartbeat_millis

    def _known_at_end(self, cursor: _Cursor) -> int | None:
        """Return at which moment the cursor was at the end of its partition, for all that is known; None: it is not.

        A partition that has vanished has no end.
        """
        log = self._reading.log
        now = self._reading.clock()
        # Whoever reads to the end wants the one of now; whoever follows has it soon enough.
        known = log.end if self._reading.tail else _end_of_now(log)
        end, age = known(cursor.stream, cursor.partition)
        gone = end == 0 < cursor.offset
        if not self._reading.tail and (gone or cursor.offset >= end):
            cursor.ended = True
            rest = log.unfinished(cursor.stream, cursor.partition)
            if rest:
                _logger.warning("%s ends with %d bytes that are no whole record: left unread", cursor.name, rest)
        return now - age if cursor.offset >= end and not gone else None

    def _reset(self, cursor: _Cursor, error: StoreError) -> None:
        """Go on from the oldest offset if the log no longer holds the cursor's, and that is wanted."""
        oldest, end = self._reading.log.bounds(cursor.stream, cursor.partition)
        if oldest <= cursor.offset <= end:
            raise error
        if self._reading.on_expired == "fail":
            hint = f"{error.hint}; or set log.on_expired to 'oldest' to go on with a gap"
            raise StoreError(error.detail, hint) from error
        _logger.warning("%s; going on from offset %d", error.detail, oldest)
        cursor.offset = oldest

    def _plan_nap(self, found: bool, now: int) -> None:
        if found or not self._reading.tail:
            self._nap_millis, self._awake = 0, None
            return
        self._nap_millis = min(max(2 * self._nap_millis, _FIRST_NAP_MILLIS), _LONGEST_NAP_MILLIS)
        nap = self._nap_millis if self._cursors else LOOK_MILLIS
        self._awake = datetime.fromtimestamp((now + nap) / 1000, tz=timezone.utc)


def _end_of_now(log: Log) -> Callable[[str, int], tuple[int, int]]:
    return lambda stream, partition: (log.bounds(stream, partition)[1], 0)
