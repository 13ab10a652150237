"""Random histories of tables, what they end in, and every way in which their format lets their events come.

What a history ends in is told by replaying it in its true order, without a line of what is tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from random import Random

import msgspec
from hypothesis import strategies as st

from events.changes import Change, Row, Truncation
from events.log import LogRecord
from operators.changes.order import record_of
from operators.changes.rules import Decode
from tests.operators.changes.histories import Encoder, Event

RowKey = tuple[str, tuple[object, ...]]
"""Table and the values of the primary key, in the order of its columns."""
Rows = dict[RowKey, Row]
Changes = Sequence[Change | Truncation]
Log = list[list[Changes]]
"""Partitions of records, each as what it was decoded into."""

BEGIN = 1_767_225_600_000
KEYS: list[tuple[str, Row]] = [
    ("flights", {"id": 1}),
    ("flights", {"id": 2}),
    ("flights", {"id": 3}),
    ("seats", {"flight": 1, "seat": "1A"}),
    ("seats", {"flight": 1, "seat": "1B"}),
]
MOVES = ("put", "put", "put", "touch", "touch", "delete", "rekey", "read", "reread", "truncate")

Move = tuple[str, int, int]
"""What is done, to which row, and a number from which everything else about it follows."""

_move = st.tuples(st.sampled_from(MOVES), st.integers(0, 4), st.integers(0, 31))
# Of lists of any length nearly all are short, and most of what can go wrong takes a long life.
moves = st.integers(1, 30).flatmap(lambda length: st.lists(_move, min_size=length, max_size=length))


class History:
    """What was done to the tables, and what they are then.

    `rows` are the rows as far as anybody can know them from the events: a changed key hides an unchanged value that
    the source leaves out, until it is sent again.
    """

    def __init__(self, steps: Iterable[Move], lacks: frozenset[str]) -> None:
        self.events: list[Event] = []
        self.rows: Rows = {}
        self._lacks = lacks
        self._true: Rows = {}
        for kind, row, number in steps:
            getattr(self, f"_{kind}")(*KEYS[row], number)

    def _put(self, table: str, key: Row, number: int) -> None:
        """Write the whole row; it may be there."""
        row = {**key, "gate": f"G{number}", "note": f"note {number // 4}", "price": Decimal(number * 25) / 100}
        self._write(table, key, row, number)

    def _touch(self, table: str, key: Row, number: int) -> None:
        """Change one column; the long one stays as it is and may be left out."""
        old = self._true.get(row_key(table, key))
        if old is None:
            return self._put(table, key, number)
        return self._write(table, key, {**old, "gate": f"T{number}"}, number, hide=number % 4 != 0)

    def _write(self, table: str, key: Row, row: Row, number: int, *, hide: bool = False) -> None:
        old = self._true.get(row_key(table, key))
        before = old if number % 2 else None
        self._event("create" if old is None else "update", table, key, before, row, hide=hide)

    def _delete(self, table: str, key: Row, number: int) -> None:
        old = self._true.get(row_key(table, key))
        if old is not None:
            self._event("delete", table, key, old if number % 2 else None, None)

    def _rekey(self, table: str, key: Row, number: int) -> None:
        """Give a row another key, if there is a free one."""
        old = self._true.get(row_key(table, key))
        free = [other for name, other in KEYS if name == table and row_key(name, other) not in self._true]
        if old is not None and free:
            new = free[number % len(free)]
            self._event("update", table, new, old, {**old, **new, "gate": f"K{number}"}, hide=number % 4 != 0)

    def _read(self, table: str, key: Row, number: int) -> None:
        """Read one row again, as an incremental snapshot does."""
        del number
        row = self._true.get(row_key(table, key))
        if row is not None and "read" not in self._lacks:
            self._event("read", table, key, None, row)

    def _reread(self, table: str, key: Row, number: int) -> None:
        """Read the whole table again."""
        for name, other in KEYS:
            if name == table:
                self._read(name, other, number)
        del key

    def _truncate(self, table: str, key: Row, number: int) -> None:
        del key
        if number % 2 and "truncate" not in self._lacks:
            self._event("truncate", table, {}, None, None)

    def _event(  # the arguments are an event's
        self, op: str, table: str, key: Row, before: Row | None, after: Row | None, *, hide: bool = False
    ) -> None:
        hidden = ("note",) if hide and "unavailable" not in self._lacks else ()
        sent = None if after is None else {name: value for name, value in after.items() if name not in hidden}
        seq = len(self.events) + 1
        event = msgspec.convert(
            {"op": op, "table": table, "key": key, "before": before, "after": sent, "seq": seq}
            | {"time": BEGIN + seq * 1000, "unavailable": hidden},
            Event,
        )
        self.events.append(event)
        if op == "truncate":
            for rows in (self._true, self.rows):
                for gone in [id_ for id_ in rows if id_[0] == table]:
                    del rows[gone]
            return
        # An update keeps what was known of the row; under another key nothing was.
        known = self.rows.get(row_key(table, key), {})
        for rows in (self._true, self.rows):
            rows.pop(row_key(table, event.old_key if op == "update" else key), None)
        if after is not None and sent is not None:
            self._true[row_key(table, key)] = after
            self.rows[row_key(table, key)] = sent | {name: known[name] for name in hidden if name in known}


def row_key(table: str, key: Row) -> RowKey:
    return table, tuple(key.values())


def key_of(change: Change) -> RowKey:
    """Name the row of a change as histories do."""
    table = change.table.rpartition(".")[2]
    key = msgspec.json.decode(change.key)
    columns = next(list(other) for name, other in KEYS if name == table)
    return table, tuple(key[column] for column in columns)


# --- how events reach the log ---------------------------------------------------------------------------------------


def partitioned(history: History, encoder: Encoder, decode: Decode, rng: Random) -> Log:
    """Lay the history into partitions of a log: shuffled and repeated as far as its format can stand it."""
    records = encoder.encode(history.events)
    count = rng.randint(1, 3)
    partitions: list[list[LogRecord]] = [[] for _ in range(count)]
    if encoder.ordered:
        home = _homes(records, decode, rng, count)
        for record, row in _redelivered(list(zip(records, home, strict=True)), rng):
            partitions[row].append(record)
    else:
        arriving = records + rng.choices(records, k=rng.randint(0, len(records))) if records else []
        if rng.random() < 0.8:
            rng.shuffle(arriving)
        for record in arriving:
            rng.choice(partitions).append(record)
    return [[decode(record) for record in _placed(records, number, rng)] for number, records in enumerate(partitions)]


def _placed(records: list[LogRecord], partition: int, rng: Random) -> list[LogRecord]:
    offset, placed = rng.randrange(5), []
    for record in records:
        placed.append(msgspec.structs.replace(record, partition=partition, offset=offset))
        offset += rng.randint(1, 3)
    return placed


def _homes(records: list[LogRecord], decode: Decode, rng: Random, count: int) -> list[int]:
    """Choose a partition for each record so that all events of a row, and what empties it, are in one partition."""
    fallback = rng.randrange(count)
    decoded = [decode(record) for record in records]
    if any(isinstance(event, Truncation) for events in decoded for event in events):
        return [fallback] * len(records)
    # Rows that one record speaks of, as of an old key and a new one, belong together, and so do those beside them.
    group: dict[str, set[str]] = {}
    for events in decoded:
        names = {record_of(event) for event in events}
        merged = names.union(*(group.get(name, set()) for name in names))
        group.update(dict.fromkeys(merged, merged))
    chosen: dict[str, int] = {}
    return [
        chosen.setdefault(min(group[record_of(events[0])]), rng.randrange(count)) if events else fallback
        for events in decoded
    ]


def _redelivered(items: list[tuple[LogRecord, int]], rng: Random) -> list[tuple[LogRecord, int]]:
    """Repeat stretches right after themselves, as a producer that was interrupted does."""
    out: list[tuple[LogRecord, int]] = []
    for item in items:
        out.append(item)
        if rng.random() < 0.15:
            out += out[-rng.randint(1, 6) :]
    return out
