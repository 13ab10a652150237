"""Random histories of tables, what they end in, and every way in which their events may reach a store.

What a history ends in is told by replaying it in its true order, without a line of what is tested. The journey is that
of the engine: partitions are read in order by workers, changes go to their bucket's worker and from there to the one
sink, in order between any two workers and in no order otherwise; epochs close when all has arrived; after a crash
everything in flight is gone, an earlier epoch is read again, and buckets have the state of that epoch, or none.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from random import Random
from typing import Protocol

import msgspec
from hypothesis import strategies as st

from events.changes import Change, Row, Truncation
from events.log import LogRecord
from operators.buckets import Snapshot, bucket_of, group_by_bucket
from operators.changes.order import OrderBucket, concerns_all, record_of
from operators.changes.rules import Decode
from tests.operators.changes.histories import Encoder, Event

RowKey = tuple[str, tuple[object, ...]]
"""Table and the values of the primary key, in the order of its columns."""
Rows = dict[RowKey, Row]
Changes = Sequence[Change | Truncation]

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


def partitioned(history: History, encoder: Encoder, decode: Decode, rng: Random) -> list[list[LogRecord]]:
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
    return [_placed(records, number, rng) for number, records in enumerate(partitions)]


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


# --- how the log reaches the store ----------------------------------------------------------------------------------


class Store(Protocol):
    """What a journey ends in: an `EpochWriter` that takes no marks, and can be stopped and started again."""

    def write(self, items: Changes) -> None: ...
    def close_epoch(self) -> None: ...
    def restart(self) -> None: ...


class _Saved(msgspec.Struct):
    """What recovery has of an epoch: how far each partition was read, and the buckets."""

    read: list[int]
    buckets: dict[str, bytes]


class Journey:
    """Carries the records of a log through workers and buckets to a store.

    :arg make: Makes the empty logic of one bucket.
    :arg loses_state: Whether a crash may cost the buckets their state: only where the store joins.
    """

    def __init__(
        self,
        log: list[list[LogRecord]],
        decode: Decode,
        make: Callable[[], OrderBucket],
        store: Store,
        rng: Random,
        *,
        loses_state: bool = True,
    ) -> None:
        self._log, self._decode, self._make, self._store, self._rng = log, decode, make, store, rng
        self._loses_state = loses_state
        self._read = [0] * len(log)
        self._buckets: dict[str, OrderBucket] = {}
        self._saved = [_Saved(list(self._read), {})]
        events = [event for partition in log for record in partition for event in decode(record)]
        # A truncation goes to thousands of buckets; only these have anything to say.
        self._used = {bucket_of(record_of(event)) for event in events}

    def run(self) -> None:
        crashes = self._rng.choice((0, 0, 1, 2, 3))
        while not self._done():
            if crashes and self._rng.random() < 0.3:
                crashes -= 1
                self._epoch(crash_after=self._rng.randint(0, 30))
                self._recover()
                self._store.restart()
                continue
            self._epoch()
            self._store.close_epoch()
            saved = {key: pickle.dumps(bucket.snapshot()) for key, bucket in self._buckets.items()} if crashes else {}
            self._saved.append(_Saved(list(self._read), saved))

    def _done(self) -> bool:
        return self._read == [len(records) for records in self._log]

    def _recover(self) -> None:
        # Without its own state a flow goes on at what the store says, or at the beginning of the log.
        lost = self._loses_state and self._rng.random() < 0.4
        at = self._rng.randrange(len(self._saved)) if self._loses_state else len(self._saved) - 1
        saved = self._saved[at]
        del self._saved[at + 1 :]
        self._read = list(saved.read)
        self._buckets = {}
        for key, state in {} if lost else saved.buckets.items():
            self._bucket(key).resume(_unpickled(state))

    def _bucket(self, key: str) -> OrderBucket:
        if key not in self._buckets:
            self._buckets[key] = self._make()
        return self._buckets[key]

    def _epoch(self, crash_after: int | None = None) -> None:
        """Read a part of the log and carry it to the store; or crash after some steps and leave the rest behind."""
        rng = self._rng
        workers = rng.randint(1, 3)
        goals = [rng.randint(read, len(records)) for read, records in zip(self._read, self._log, strict=True)]
        between: dict[tuple[int, int], deque[tuple[str, list[tuple[str, Change | Truncation]]]]] = {}
        leaving: dict[int, list[Change | Truncation]] = {}
        steps = 0
        while True:
            able: list[tuple[str, int, int]] = [
                ("read", partition, 0) for partition, goal in enumerate(goals) if self._read[partition] < goal
            ]
            able += [("step", *pair) for pair, queue in between.items() if queue]
            able += [("sink", worker, 0) for worker, events in leaving.items() if events]
            if not able or steps == crash_after:
                return
            steps += 1
            kind, one, other = rng.choice(able)
            if kind == "read":
                for key, items in self._batch(one, goals[one]):
                    pair = (one % workers, hash_of(key) % workers)
                    between.setdefault(pair, deque()).append((key, items))
            elif kind == "step":
                key, items = between[one, other].popleft()
                leaving.setdefault(other, []).extend(self._bucket(key).take(items))
            else:
                size = rng.randint(1, len(leaving[one]))
                self._store.write(leaving[one][:size])
                del leaving[one][:size]

    def _batch(self, partition: int, goal: int) -> list[tuple[str, list[tuple[str, Change | Truncation]]]]:
        begin = self._read[partition]
        end = self._read[partition] = self._rng.randint(begin + 1, goal)
        records = self._log[partition][begin:end]
        events = [(record_of(event), event) for record in records for event in self._decode(record)]
        return [group for group in group_by_bucket(events, concerns_all) if group[0] in self._used]


def hash_of(key: str) -> int:
    """Stand for the engine's own distribution of keys over workers."""
    return int(key) * 2_654_435_761 >> 7


def _unpickled(state: bytes) -> Snapshot:
    snapshot: Snapshot = pickle.loads(state)  # noqa: S301  # as the engine does
    return snapshot
