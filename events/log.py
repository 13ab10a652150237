"""What the log holds, and how far a reader of it has come."""

from __future__ import annotations

import msgspec

from events.errors import RejectedError

BROKEN = "headrace-broken"
"""Header of a record that could not be read where it comes from: it names the fault, the value is what stands there."""


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One event in the log, as bytes: decoding is the flow's work.

    `offset` orders records within (`stream`, `partition`) and grows strictly, though not by one.
    `value` is None for a tombstone. `event_time` is in milliseconds since 1970-01-01 UTC.
    """

    stream: str
    partition: int
    offset: int
    event_time: int
    key: bytes | None = None
    value: bytes | None = None
    headers: dict[str, str] = {}


class Mark(msgspec.Struct, frozen=True):
    """A progress mark: a source has emitted everything of one partition before `offset`.

    It becomes `Applied` in a store only when the epoch in which it was emitted closes there.

    :arg source: Name of the source: a stream's or a folder's.
    :arg partition: The part of the source that is read in order.
    :arg offset: Where reading goes on: everything before it has been emitted.
    :arg event_time: Newest event time emitted so far (ms since epoch), None before the first event.
    :arg read_at: When the source was read up to `offset` (ms since epoch).
    :arg caught_up: Whether there was nothing more to read at `read_at`.
    :arg done: Events emitted of a first scan, for progress bars; 0 outside one.
    :arg total: Events that the first scan will emit; 0 outside one.
    :arg positions: For each database whose events were among those emitted, the highest position of them.
    :arg seen_at: When the look was over that found the last of them (ms since epoch); everything emitted is older.
    """

    source: str
    partition: str
    offset: int
    event_time: int | None
    read_at: int
    caught_up: bool
    done: int = 0
    total: int = 0
    positions: dict[str, tuple[int, ...]] = {}
    seen_at: int = 0


def furthest(mark: Mark, before: Mark | None) -> Mark:
    """Return what `mark` says when `before` is the one that came before it in the same partition.

    Marks of one partition come in order, so that the last one is the furthest. Positions have an order of their own,
    and each mark knows those of its own batch only.
    """
    if before is None or not before.positions:
        return mark
    positions = dict(before.positions)
    for source, position in mark.positions.items():
        positions[source] = max(position, positions.get(source, ()))
    return msgspec.structs.replace(mark, positions=positions)


class Applied(msgspec.Struct, frozen=True):
    """Up to where a store has taken in one partition of a source, and when: its freshness.

    Everything before `offset` is in the store. `read_at` and `applied_at` are in milliseconds since
    1970-01-01 UTC. While `caught_up`, the store knew at `read_at` all that the source had. `positions` holds, for
    each database whose events the partition has brought, the highest position among them; `reached`, when it
    had been seen at the latest (ms since epoch).
    """

    source: str
    partition: str
    offset: int
    event_time: int | None
    read_at: int
    caught_up: bool
    applied_at: int
    positions: dict[str, tuple[int, ...]] = {}
    reached: dict[str, int] = {}


_INT64 = 2**63
_STREAM, _PARTITION, _OFFSET = "headrace-stream", "headrace-partition", "headrace-offset"


def replay_stream(flow: str) -> str:
    """Name of the stream on which `flow` takes in events that it had given up."""
    return f"replay.{flow}"


def control_stream(flow: str) -> str:
    """Name of the stream on which `flow` takes in decisions of its user."""
    return f"control.{flow}"


def as_replay(record: LogRecord) -> LogRecord:
    """Wrap `record` for the replay stream: its own coordinates travel in headers."""
    coordinates = {_STREAM: record.stream, _PARTITION: str(record.partition), _OFFSET: str(record.offset)}
    return msgspec.structs.replace(record, headers={**record.headers, **coordinates})


def original_of(record: LogRecord, flow: str) -> LogRecord:
    """Unwrap what `as_replay` wrapped: the event as it first arrived, so that newer ones still win over it.

    A record of another stream than the flow's replay stream is returned as it is, whatever its headers say: nobody
    can write in the name of another stream.
    """
    if record.stream != replay_stream(flow):
        return record
    headers = dict(record.headers)
    try:
        stream, partition, offset = headers.pop(_STREAM), int(headers.pop(_PARTITION)), int(headers.pop(_OFFSET))
    except (KeyError, ValueError):
        return record
    if not (0 <= partition < _INT64 and 0 <= offset < _INT64):
        return record
    return msgspec.structs.replace(record, stream=stream, partition=partition, offset=offset, headers=headers)


def refuse_broken(record: LogRecord) -> None:
    """Do nothing with a record that could be read from where it comes.

    :raises RejectedError: When it could not, naming the fault.
    """
    if record.headers and (fault := record.headers.get(BROKEN)) is not None:
        raise RejectedError(fault, "let its source write it again, whole")
