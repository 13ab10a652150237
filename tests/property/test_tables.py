"""A live table equals the final state of its source, whatever its events went through on their way.

Random histories in every format; shuffled as far as the format can stand it, repeated, read again by snapshots, cut
into any batches and epochs, carried by any number of workers, with crashes after which an earlier epoch is read again
and buckets may have lost all they knew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSource, cluster_main, run_main
from hypothesis import given, settings
from hypothesis import strategies as st

from events.changes import Change, Row, Standing, Truncation, merged_position, supersedes
from operators.changes.decode import decoder
from operators.changes.keys import canonical_key
from operators.changes.order import OrderBucket, order
from stores.rows.base import LIVE
from stores.rows.intake import RowIntake
from stores.rows.sqlite import SqliteRows
from stores.settings import GuardSettings, LiveTableSettings, TablesSettings
from stores.sink import StoreSink
from tests.operators.changes.histories import FORMATS
from tests.property.changes_journey import Journey
from tests.property.changes_model import (
    BEGIN,
    KEYS,
    MOVES,
    Changes,
    History,
    Move,
    Rows,
    key_of,
    moves,
    partitioned,
    row_key,
)


class ByLastPart(TablesSettings):
    """The live tables, whatever schema or database a format puts before their names."""

    def live_of(self, source: str, table: str) -> LiveTableSettings | None:
        return super().live_of(source, table.rpartition(".")[2])


LIVE_TABLES = ByLastPart(
    live=(LiveTableSettings(name="flights", table="flights"), LiveTableSettings(name="seats", table="seats")),
    guard=GuardSettings(share=1),
)

DECODERS = {name: decoder(encoder.rules) for name, encoder in FORMATS.items()}
EXAMPLES = 50_000 if settings().max_examples > 1_000 else 2_000
formats = st.sampled_from(sorted(FORMATS))
seeds = st.integers(0, 2**32)


class WholeSet:
    """A store that keeps every event that it is given, and says at the end, from the set of them, what each row is."""

    def __init__(self) -> None:
        self.arrived: dict[str, list[Change | Truncation]] = {}

    def write(self, items: Changes) -> None:
        for item in items:
            self.arrived.setdefault(item.table, []).append(item)

    def close_epoch(self) -> None:
        pass

    def restart(self) -> None:
        pass

    def rows(self) -> Rows:
        rows: Rows = {}
        for events in self.arrived.values():
            keys = {key_of(event) for event in events if isinstance(event, Change)}
            for key in keys:
                row = _row([event for event in events if isinstance(event, Truncation) or key_of(event) == key])
                if row is not None:
                    rows[key] = row
        return rows


def _row(events: Sequence[Change | Truncation]) -> Row | None:
    newest, place = events[0], _standing(events[0])
    for event in events:
        if supersedes(_standing(event), place):
            newest, place = event, _standing(event, place)
    if isinstance(newest, Truncation) or newest.after is None:
        return None
    row = dict(newest.after)
    older = sorted((event for event in events if _age(event) <= _age(newest)), key=_age)
    for column in newest.unavailable:
        said = [event for event in older if isinstance(event, Truncation) or column not in event.unavailable]
        last = said[-1] if said else None
        if isinstance(last, Change) and last.after is not None and column in last.after:
            row[column] = last.after[column]
    return row


def _age(event: Change | Truncation) -> tuple[tuple[int, ...], int]:
    # Only formats in which all events have a position, or none, leave values out.
    return event.position, 0 if event.position else event.offset


def _standing(event: Change | Truncation, old: Standing | None = None) -> Standing:
    position = merged_position(event.position, old.position) if old else event.position
    return Standing(position, event.stream, event.partition, event.offset)


class RowStore:
    """The real store under the real intake."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._writer = SqliteRows(self._path, lambda: BEGIN)
        self.intake = RowIntake(self._writer, LIVE_TABLES, lambda: BEGIN, lambda hold: None)

    def write(self, items: Changes) -> None:
        self.intake.write(items)

    def close_epoch(self) -> None:
        self.intake.close_epoch(())

    def restart(self) -> None:
        self.intake.close()
        self._open()

    def rows(self) -> Rows:
        rows: Rows = {}
        for table, key in KEYS:
            id_ = "travel", canonical_key(key)
            stored = self._writer.fetch(table, [id_]).get(id_)
            if stored is not None and stored.state == LIVE and stored.image is not None:
                rows[row_key(table, key)] = stored.image
        return rows

    def close(self) -> None:
        self.intake.close()


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(moves, formats, seeds, st.sampled_from([0, 1, 2, 16]))
def test_what_buckets_let_pass_makes_the_final_state(steps: list[Move], name: str, seed: int, keep: int) -> None:
    rng, encoder, decode = Random(seed), FORMATS[name], DECODERS[name]
    history = History(steps, encoder.lacks)
    store = WholeSet()
    log = partitioned(history, encoder, decode, rng)
    Journey(log, lambda: OrderBucket(keep), store, rng).run()
    assert store.rows() == history.rows


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(moves, formats, seeds, st.sampled_from([0, 1, 2, 16]))
def test_the_live_table_is_the_final_state(steps: list[Move], name: str, seed: int, keep: int) -> None:
    rng, encoder, decode = Random(seed), FORMATS[name], DECODERS[name]
    history = History(steps, encoder.lacks)
    log = partitioned(history, encoder, decode, rng)
    with tempfile.TemporaryDirectory() as folder, closing(RowStore(Path(folder) / "tables.sqlite3")) as store:
        Journey(log, lambda: OrderBucket(keep), store, rng).run()
        assert store.rows() == history.rows


@pytest.mark.parametrize("name", ["debezium", "dms", "headrace-offsets"])
@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_in_the_engine_neither_workers_nor_batches_matter(workers: int, batch: int, name: str, tmp_path: Path) -> None:
    rng, encoder = Random(20260115), FORMATS[name]
    steps = [(rng.choice(MOVES), rng.randrange(5), rng.randrange(32)) for _ in range(300)]
    history = History(steps, encoder.lacks)
    log = partitioned(history, encoder, DECODERS[name], rng)
    path = tmp_path / "tables.sqlite3"

    flow = Dataflow("tables")
    ups = [op.input(f"in{number}", flow, TestingSource(records, batch)) for number, records in enumerate(log)]
    changes = op.flat_map("changes", op.merge("log", *ups), lambda events: events)
    ordered = order("order", changes, keep=2)
    keyed = op.key_on("key", ordered, lambda event: "store")
    op.output("store", keyed, StoreSink(lambda: RowStore(path).intake))
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    with closing(RowStore(path)) as store:
        assert store.rows() == history.rows
