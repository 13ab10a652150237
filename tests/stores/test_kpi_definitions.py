"""Values of whole windows stay until a whole one takes their place, whatever becomes of the settings and the log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import duckdb
import pytest

from events.kpis import Frontier, KpiValue
from events.log import LogRecord
from stores.kpis.reader import KpiReader
from stores.log.files import FileLog
from tests.stores.kpi_samples import BEGIN, MINUTE, Store, answer, new

HOUR = 60 * MINUTE
MINE: dict[str, Any] = {"name": "mine"}
ANEW: dict[str, Any] = {"name": "mine", "where": {"application": "shop"}}


def of(kpi: str, start: int, number: float, window: str = "1h", size: int = HOUR, **group: str) -> KpiValue:
    return KpiValue(kpi, window, start, start + size, tuple(group.items()), number, int(number))


def found(store: Store, kpi: str = "mine", window: str = "1h") -> dict[tuple[int, str], float | None]:
    """Return values by the hour they begin in and their topic."""
    values = store.reader.values(kpi, window=window)
    return {((one.start - BEGIN) // HOUR, dict(one.group).get("topic", "")): one.value for one in values}


def filled(folder: Path, log: FileLog | None = None, **feedback: Any) -> Store:
    """Return a store that has taken in two hours and a half."""
    store = Store(folder, log=log, **feedback)
    store.commit(
        *(of("mine", BEGIN + hour * HOUR, 100.0) for hour in range(3)),
        of("answers", BEGIN + 2 * HOUR, 100.0),
        new(answer("c1", BEGIN + 2 * HOUR + 30 * MINUTE)),
        offset=100,
    )
    return store


def later(store: Store) -> None:
    """Take in parts of all hours, and the third whole."""
    parts = [of("mine", BEGIN + hour * HOUR, 1.0 + hour) for hour in range(4)]
    store.commit(*parts, of("answers", BEGIN + 2 * HOUR, 101.0), offset=200)


def test_a_kpi_that_is_defined_anew_counts_from_the_first_whole_window(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path, kpis=[MINE])
    with caplog.at_level(logging.INFO):
        store.reopen(resumed=True, kpis=[ANEW])
    assert [record.getMessage() for record in caplog.records] == [
        "the KPI 'mine' is new or defined anew: windows that begin at 2026-01-01T02:30:00.001Z or later count; older "
        "ones stay as they are, unless recovery/feedback is removed and everything counted anew"
    ]
    later(store)
    assert found(store) == {(0, ""): 100.0, (1, ""): 100.0, (2, ""): 100.0, (3, ""): 4.0}
    assert found(store, "answers") == {(2, ""): 101.0}
    # It lasts, and a window that begins no value anew goes no more than it comes.
    store.reopen(resumed=True, kpis=[ANEW])
    store.commit(of("mine", BEGIN + HOUR, 0.0), of("mine", BEGIN + 3 * HOUR, 5.0), offset=201)
    assert found(store) == {(0, ""): 100.0, (1, ""): 100.0, (2, ""): 100.0, (3, ""): 5.0}


def test_so_do_a_new_kpi_a_new_kind_of_window_and_a_new_grouping(tmp_path: Path) -> None:
    store = filled(tmp_path, kpis=[{**MINE, "windows": ["1h"], "by": [[]]}])
    more = {**MINE, "windows": ["1h", "2h", "session:10m"], "by": [[], ["topic"]]}
    store.reopen(resumed=True, kpis=[more, {"name": "other"}])
    store.commit(
        of("mine", BEGIN + 2 * HOUR, 101.0),
        of("mine", BEGIN + 2 * HOUR, 1.0, topic="a"),
        of("mine", BEGIN + 3 * HOUR, 2.0, topic="a"),
        of("mine", BEGIN + 2 * HOUR, 3.0, "2h", 2 * HOUR),
        of("mine", BEGIN + 4 * HOUR, 4.0, "2h", 2 * HOUR),
        of("mine", BEGIN + 2 * HOUR + 35 * MINUTE, 5.0, "session:10m", 1),
        of("mine", BEGIN + 2 * HOUR + 41 * MINUTE, 6.0, "session:10m", 1),
        of("other", BEGIN + 2 * HOUR, 7.0),
        of("other", BEGIN + 3 * HOUR, 8.0),
        offset=200,
    )
    assert found(store) == {(0, ""): 100.0, (1, ""): 100.0, (2, ""): 101.0, (3, "a"): 2.0}
    assert found(store, window="2h") == {(4, ""): 4.0}
    assert list(found(store, window="session:10m").values()) == [6.0]
    assert found(store, "other") == {(3, ""): 8.0}


def test_values_of_kpis_that_the_settings_have_no_more_go(tmp_path: Path) -> None:
    store = filled(tmp_path, kpis=[MINE])
    store.reopen(resumed=True)
    assert found(store) == {}
    assert found(store, "answers") == {(2, ""): 100.0}


def test_a_flow_that_begins_anew_counts_everything_by_the_new_definition(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "log", partitions=1)
    log.append("chat", [LogRecord("chat", 0, 0, BEGIN, None, b"x" * 200)])
    store = filled(tmp_path / "data", log, kpis=[MINE])
    store.reopen(resumed=True, kpis=[ANEW])
    store.log = None
    store.reopen(resumed=False, kpis=[ANEW])
    later(store)
    assert found(store) == {(0, ""): 1.0, (1, ""): 2.0, (2, ""): 3.0, (3, ""): 4.0}


def shortened(folder: Path) -> FileLog:
    """Return a log of four hours whose first is gone."""
    log = FileLog(folder, partitions=1, segment_bytes=1024)
    for minutes in range(0, 4 * 60, 10):
        log.append("chat", [LogRecord("chat", 0, 0, BEGIN + minutes * MINUTE, None, b"x" * 900)])
    assert log.retain("chat", BEGIN + HOUR) > 0
    assert log.bounds("chat", 0)[0] > 0
    return log


def test_what_the_log_has_no_more_is_not_overwritten_when_everything_is_read_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path / "data", kpis=[MINE])
    store.log = shortened(tmp_path / "log")
    store.reopen(resumed=False, kpis=[MINE])
    assert "the log does not go back to where the store begins" in caplog.text
    later(store)
    assert found(store) == {(0, ""): 100.0, (1, ""): 100.0, (2, ""): 3.0, (3, ""): 4.0}
    # The state that goes on from there knows no more of the first hours.
    store.reopen(resumed=True, kpis=[MINE])
    store.commit(of("mine", BEGIN, 7.0), offset=201)
    assert found(store)[0, ""] == 100.0


@pytest.mark.parametrize("partitions", [0, 1])
def test_a_log_that_is_gone_or_another_one_overwrites_nothing_of_what_had_been_read(
    tmp_path: Path, partitions: int
) -> None:
    store = filled(tmp_path / "data", kpis=[MINE])
    (mark,) = store.reader.applied()
    store.log = FileLog(tmp_path / "log", partitions=1)
    if partitions:
        store.log.append("chat", [LogRecord("chat", 0, 0, BEGIN, None, b"{}")])
    store.reopen(resumed=False, kpis=[MINE])
    kept, next_one = (mark.event_time or 0) // MINUTE * MINUTE, BEGIN + HOUR
    store.commit(of("mine", kept, 1.0), of("mine", next_one, 2.0), offset=1, caught_up=True)
    assert (found(store)[0, ""], found(store)[1, ""]) == (100.0, 2.0)


def test_a_store_of_before_takes_its_definitions_to_be_those_of_the_settings(tmp_path: Path) -> None:
    store = filled(tmp_path, kpis=[MINE])
    with duckdb.connect(str(tmp_path / "kpis.duckdb")) as db:
        db.execute("DROP TABLE definitions")
        db.execute("ALTER TABLE kpi_values DROP COLUMN amended")
        db.execute("CREATE OR REPLACE VIEW kpis AS SELECT *, 'early' AS stage FROM kpi_values")
    store.reopen(resumed=True, kpis=[MINE])
    later(store)
    assert found(store)[2, ""] == 3.0
    store.commit(Frontier(BEGIN + 9 * HOUR, -1), offset=201)
    store.commit(of("mine", BEGIN, 9.0), offset=202)
    stages = [one.stage for one in KpiReader(store.settings.kpis_path).values("mine")]
    assert stages == ["corrected", "final", "final", "final"]
