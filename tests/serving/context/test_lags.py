"""How far behind a store was: by its own marks alone, never less than is true."""

from __future__ import annotations

import pytest

from events.context import Cut
from events.log import Applied
from operators.feedback.configure import Objectives
from serving.context.lags import HANDED, HERE, Lags, StoreLag
from tests.serving.context.samples import NOW


def mark(
    stream: str, partition: int, ago: int, *, caught_up: bool = True, event: int | None = 0, of: tuple[str, ...] = ()
) -> Applied:
    """Return a mark that was read `ago` milliseconds ago; its newest event happened `event` milliseconds before."""
    read_at = NOW - ago
    positions: dict[str, tuple[int, ...]] = dict.fromkeys(of, (0, 1))
    return Applied(
        stream, str(partition), 10 + partition, None if event is None else read_at - event, read_at, caught_up, read_at,
        positions, dict.fromkeys(of, read_at),
    )  # fmt: skip


MARKS = [
    mark("operations", 0, 100, of=("ops-db",)),
    mark("operations", 1, 700),
    mark("prices", 0, 30, of=("shop-db",)),
    mark("slow", 0, 60_000, caught_up=False, event=5_000, of=("old-db",)),
    mark("replay.tables", 0, 0, of=("ops-db",)),
]
PARTITIONS = {"operations": [0, 1], "prices": [0], "slow": [0]}


@pytest.mark.parametrize(
    ("source", "lag"),
    [
        ("prices", 30),
        ("shop-db", 30),
        # Another partition of the same stream may hold its changes too.
        ("ops-db", 700),
        ("operations", 700),
        # What is behind is as old as its newest event.
        ("old-db", 65_000),
        # Of what nobody knows the origin, the whole store says it.
        ("elsewhere", 65_000),
    ],
)
def test_a_source_is_as_far_behind_as_the_streams_that_bring_it(source: str, lag: int) -> None:
    assert StoreLag("tables", MARKS, PARTITIONS, NOW).of(source) == lag


def test_a_partition_that_has_not_been_read_leaves_the_lag_unknown() -> None:
    lag = StoreLag("tables", MARKS, {**PARTITIONS, "prices": [0, 1]}, NOW)
    assert lag.of("shop-db") is None
    assert lag.of("ops-db") == 700
    assert lag.age is None


@pytest.mark.parametrize("partitions", [{}, {"prices": []}])
def test_where_nothing_is_read_nothing_can_be_told(partitions: dict[str, list[int]]) -> None:
    lag = StoreLag("tables", MARKS, partitions, NOW)
    assert (lag.age, lag.of("shop-db")) == (None, None)


def test_the_cut_says_up_to_which_offsets_everything_is_in() -> None:
    found = StoreLag("tables", MARKS[:3], {"operations": [0, 1], "prices": [0]}, NOW).cut()
    assert found == Cut("tables", {"operations/0": 10, "operations/1": 11, "prices/0": 10}, 700)


def test_stale_is_what_is_above_its_objective_or_not_known() -> None:
    stores = {"tables": StoreLag("tables", MARKS, PARTITIONS, NOW)}
    lags = Lags(stores, Objectives(600, {"ops-db": 700, "old-db": 64_999}))
    assert lags.of("tables", "ops-db") == (700, False)
    assert lags.of("tables", "operations") == (700, True)
    assert lags.of("tables", "old-db") == (65_000, True)
    assert lags.of("tables", "shop-db") == (30, False)
    assert lags.of("tables", "shop-db", whole=True) == (65_000, True)
    assert lags.of("profiles", "shop-db") == (None, True)
    assert lags.of(HERE, "desk") == (0, False)
    assert lags.of(HANDED, "desk") == (None, True)
