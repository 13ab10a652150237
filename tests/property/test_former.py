"""What rows were before is a function of the set of their events, whatever these went through on their way."""

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

from events.changes import Change, Truncation
from operators.buckets import bucket_of
from operators.changes.order import OrderBucket, concerns_all, order, record_of
from stores.rows.base import Former, RowId
from stores.rows.intake import RowIntake
from stores.rows.sqlite import SqliteRows
from stores.rows.sqlite_reader import SqliteRowReader
from stores.sink import StoreSink
from tests.property.former_world import IDS, KINDS, LIVE_TABLES, NOW, Event, delivered, expected, made_of, some_events

EXAMPLES = 20_000 if settings().max_examples > 1_000 else 1_000

rows = st.dictionaries(st.sampled_from("abc"), st.sampled_from([1, 2, None, True]), max_size=3)
silent = st.one_of(st.just(frozenset[str]()), st.frozensets(st.sampled_from("abc"), max_size=2))
events = st.tuples(st.sampled_from([*KINDS, None]), st.integers(0, 1), rows, silent)


def told(path: Path) -> dict[RowId, list[Former]]:
    with closing(SqliteRowReader(path)) as reader:
        return reader.former("flights", IDS, 0)


def opened(path: Path) -> RowIntake:
    return RowIntake(SqliteRows(path, lambda: NOW), LIVE_TABLES, lambda: NOW, lambda hold: None)


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(
    st.lists(events, max_size=24),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([None, 1, 16]),
)
def test_what_is_told_is_what_the_set_of_events_tells(
    drawn: list[Event], seed: int, mess: float, ordered: int | None
) -> None:
    rng = Random(seed)
    made = made_of(drawn)
    arriving = delivered(made, rng, mess)
    if ordered is not None:
        arriving = through_buckets(arriving, ordered, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tables.sqlite3"
        intake = opened(path)
        while arriving:
            size = rng.choice((1, 2, 5, 100))
            intake.write(arriving[:size])
            arriving = arriving[size:]
            if rng.random() < 0.1:
                intake.close()
                intake = opened(path)
        intake.close()
        assert told(path) == expected(made)


def through_buckets(arriving: Sequence[Change | Truncation], keep: int, rng: Random) -> list[Change | Truncation]:
    buckets: dict[str, OrderBucket] = {}
    homes = sorted({bucket_of(record_of(event)) for event in arriving})
    passed: list[Change | Truncation] = []
    for event in arriving:
        id_ = record_of(event)
        for key in homes if concerns_all(event) else (bucket_of(id_),):
            bucket = buckets.setdefault(key, OrderBucket(keep, late=True))
            passed += bucket.take([(id_ if key == bucket_of(id_) else "", event)])
        if rng.random() < 0.02:
            buckets.clear()
    return passed


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_in_the_engine_workers_do_not_matter(workers: int, tmp_path: Path) -> None:
    rng = Random(20260115)
    made = some_events(rng, 200)
    arriving = delivered(made, rng, 0.05)
    path = tmp_path / "tables.sqlite3"

    flow = Dataflow("tables")
    ups = [op.input(f"in{number}", flow, TestingSource(arriving[number::2], 7)) for number in range(2)]
    changes = order("order", op.merge("log", *ups), keep=2, late=True)
    op.output("store", op.key_on("key", changes, lambda event: "store"), StoreSink(lambda: opened(path)))
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert told(path) == expected(made)
    assert len(told(path)) == len(IDS)
