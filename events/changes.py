"""What happened to rows at their sources, and which of two events is the newer one.

The newest state of a row is a function of the set of its events: `supersedes` is the one rule by which every step and
every store decides, so that a step may drop an event only if all others would ignore it too.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Position = tuple[int, ...]
"""Place of an event in the order of its source: the generation, then what the source gives, such as an LSN. Events of
one source compare element by element. A generation is one life of a source: its user raises it when positions begin
anew, after a failover or a restored backup. Empty when the source gives no position: the log's offset orders then."""

Row = dict[str, Any]
"""Columns to values: None, bool, int, float, Decimal, str, and lists and dicts of them. Bytes travel as base64 text,
dates and times as ISO 8601 text where their type is known."""

Op = Literal["create", "update", "delete", "read"]
Kind = Literal["null", "bool", "int", "float", "decimal", "text", "json"]
"""What sort of value a column holds: `json` is a list or a dict."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One insert, update, delete or snapshot read of one row at its source.

    :arg source: Name of the database that it comes from.
    :arg table: Table as the source names it, with its schema where it has one, such as `public.flights`.
    :arg key: The primary key as canonical JSON, such as `{"id":101}`: columns by name, no blanks.
    :arg op: What was done. A new primary key is a delete and a create.
    :arg before: The row before, whole or in part; None where it is not known.
    :arg after: The whole row after; None for a delete.
    :arg event_time: When it was committed at its source (ms since epoch); the log's time where that is not known.
    :arg position: Place in the order of its source; empty if the source gives none.
    :arg transaction: Id of the transaction at the source; empty if it gives none.
    :arg initiator: Who changed it, if the source says.
    :arg unavailable: Columns of the row that are not in `after` because the source did not send their unchanged value.
    :arg stream: Stream of the log that brought it.
    :arg partition: Partition of that stream; events of one row come in their order in one partition.
    :arg offset: Offset in that partition.
    """

    source: str
    table: str
    key: str
    op: Op
    before: Row | None
    after: Row | None
    event_time: int
    position: Position = ()
    transaction: str = ""
    initiator: str = ""
    unavailable: tuple[str, ...] = ()
    stream: str = ""
    partition: int = 0
    offset: int = 0

    @property
    def record(self) -> str:
        """The record key: names the row over all sources and tables."""
        return f"{self.source}/{self.table}/{self.key}"


class Truncation(msgspec.Struct, frozen=True, gc=False):
    """All rows of one table were removed at once. Fields as in `Change`."""

    source: str
    table: str
    event_time: int
    position: Position = ()
    transaction: str = ""
    initiator: str = ""
    stream: str = ""
    partition: int = 0
    offset: int = 0


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """Columns that events of a table had, and when: what the history of its schema is made of.

    :arg columns: For column and kind of value, the oldest and newest event time at which an event had it (ms).
    :arg first: Oldest event time of those events.
    :arg last: Newest event time of those events.
    """

    source: str
    table: str
    columns: dict[tuple[str, Kind], tuple[int, int]]
    first: int
    last: int


class Decision(msgspec.Struct, frozen=True):
    """The user's word on deletes that the mass-delete guard holds back.

    It is remembered and goes for all deletes of the slice, whether they come before it or after.

    :arg table: The live table.
    :arg slice: Number of the slice of event time: `as_of` of the deletes // the guard's window, both in milliseconds.
    :arg verdict: `release` lets them take effect, `discard` keeps the rows.
    """

    table: str
    slice: int
    verdict: Literal["release", "discard"]


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where an event stands among those of its row: all that deciding about the newest needs."""

    position: Position
    stream: str
    partition: int
    offset: int


def supersedes(new: Standing, old: Standing) -> bool:
    """Tell whether the event at `new` is to replace what came from `old`.

    Positions decide where both have one and they differ. Otherwise the log does: in one partition the higher offset is
    the newer, and between partitions, which have no order, whatever comes later.
    """
    if new.position and old.position and new.position != old.position:
        return new.position > old.position
    if new.stream != old.stream or new.partition != old.partition:
        return True
    return new.offset > old.offset


def merged_position(new: Position, old: Position) -> Position:
    """Return the position that a row has when an event at `new` has replaced its state at `old`.

    An event without a position leaves the row's position: older positioned events stay older.
    """
    return new or old


_LENGTHS = 256


def pack_position(position: Position) -> bytes:
    """Write a position as bytes that compare as the positions do: for databases.

    Each number is its length in bytes, then itself, big-endian.

    :raises ValueError: When a number is negative or has more than 255 bytes.
    """
    out = bytearray()
    for number in position:
        length = (number.bit_length() + 7) // 8
        if number < 0 or length >= _LENGTHS:
            message = f"{number} is not a number that a position can hold"
            raise ValueError(message)
        out.append(length)
        out += number.to_bytes(length, "big")
    return bytes(out)


def unpack_position(packed: bytes) -> Position:
    """Read what `pack_position` wrote."""
    numbers: list[int] = []
    at = 0
    while at < len(packed):
        end = at + 1 + packed[at]
        numbers.append(int.from_bytes(packed[at + 1 : end], "big"))
        at = end
    return tuple(numbers)


def position_text(position: Position) -> str:
    """Write a position for people: `24023128`, `3.4567.0`, or `2:24023128` in generation 2; empty for none."""
    generation = f"{position[0]}:" if position and position[0] else ""
    return generation + ".".join(map(str, position[1:]))


def parse_position(text: str) -> Position:
    """Read what `position_text` wrote, or a PostgreSQL LSN such as `0/16B3748`; without a generation it is 0.

    :raises ValueError: When it is neither.
    """
    generation, colon, rest = text.rpartition(":")
    life = int(generation) if colon else 0
    high, slash, low = rest.partition("/")
    numbers = [(int(high, 16) << 32) + int(low, 16)] if slash else [int(part) for part in rest.split(".")]
    if min(life, *numbers) < 0:
        message = f"{text!r} has a number below zero"
        raise ValueError(message)
    return (life, *numbers)
