from __future__ import annotations

import itertools
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tables, tables_loop
from benchmarks.tables_delay import delays, load
from benchmarks.tables_log import PARTITIONS, PROBES, Workload, is_final, partition_of, probes, write
from benchmarks.tables_report import Speed, median_rate
from benchmarks.tables_systems import Loop
from benchmarks.tables_watch import Run
from events.log import LogRecord
from stores.log.files import FileLog


def events(seed: int, count: int, rows: int = 50) -> tuple[list[LogRecord], Workload]:
    workload = Workload(seed, rows)
    return [*workload.snapshot(), *workload.changes(count)], workload


def lsn(record: LogRecord) -> int:
    return int(json.loads(record.value or b"")["source"]["lsn"])


def folded(records: list[LogRecord]) -> list[tuple[str, str, dict[str, Any]]]:
    """Replay the events in the order of their positions."""
    rows = {}
    for record in sorted(records, key=lsn):
        event = json.loads(record.value or b"")
        rows[event["source"]["table"], (record.key or b"").decode()] = event["after"]
    return [(table, key, row) for (table, key), row in rows.items() if row is not None]


def test_the_same_seed_gives_the_same_events_and_another_one_others() -> None:
    assert events(1, 300)[0] == events(1, 300)[0]
    assert events(1, 300)[0] != events(2, 300)[0]


def test_the_final_rows_are_those_of_a_replay_by_position() -> None:
    records, workload = events(3, 5_000)
    assert is_final(folded(records), workload.final)


def test_some_events_come_twice_some_late_and_some_rows_are_deleted() -> None:
    records, workload = events(4, 5_000)
    order = [lsn(record) for record in records]
    assert len(order) == pytest.approx(len(set(order)) * 1.02, rel=0.01)
    assert sum(later < earlier for earlier, later in itertools.pairwise(order)) > 100
    assert 0 < len(workload.final) < 50


def test_a_missing_an_extra_and_a_different_row_are_each_not_final() -> None:
    records, workload = events(5, 100)
    rows = folded(records)
    table, key, row = rows[0]
    assert is_final(rows, workload.final)
    assert not is_final(rows[1:], workload.final)
    assert not is_final([*rows, ("flights", '{"id":999}', row)], workload.final)
    assert not is_final([(table, key, {**row, "gate": "Z9"}), *rows[1:]], workload.final)


def test_the_plain_loop_ends_in_the_final_rows_also_when_it_reads_on(tmp_path: Path) -> None:
    workload = Workload(6, 40)
    database = tmp_path / "rows.sqlite3"
    for name in ("first", "second"):
        write(tmp_path / "log" / name, workload.changes(2_500))
        tables_loop.run(tmp_path / "log" / name, database)
    connection = sqlite3.connect(database)
    found = connection.execute("SELECT name, key, image FROM rows WHERE image IS NOT NULL").fetchall()
    connection.close()
    assert is_final([(table, key, json.loads(image)) for table, key, image in found], workload.final)


def test_there_is_one_probe_for_each_partition_of_the_log(tmp_path: Path) -> None:
    assert [partition_of(number) for number in probes()] == list(range(PARTITIONS))
    workload = Workload(7, 10)
    log = FileLog(tmp_path, partitions=PARTITIONS)
    log.append("live", [workload.probe(number, 1) for number in probes()])
    for partition, number in enumerate(probes()):
        [record], _ = log.read("live", partition, 0, 10)
        assert record.key == b'{"id":%d}' % number
    log.close()


@pytest.mark.parametrize("rate", [1_000.0, 10_000.0])
def test_a_load_has_the_rate_that_is_asked_for_and_a_probe_in_each_tick(rate: float) -> None:
    ticks = list(load(Workload(8, 10), rate, 400))
    made = [record for _, records in ticks for record in records]
    assert len(made) == pytest.approx(2 * rate)
    assert all(json.loads(records[-1].value or b"")["source"]["table"] == PROBES for _, records in ticks)
    versions: dict[int, list[int]] = {}
    for (probe, version), _ in ticks:
        versions.setdefault(probe, []).append(version)
    assert versions == {probe: list(range(1, 101)) for probe in probes()}


def test_a_version_that_was_passed_over_counts_when_a_later_one_is_seen_and_one_never_seen_does_not() -> None:
    sent = [(1, 1, 10.0), (2, 1, 10.1), (1, 2, 10.2), (1, 3, 10.3)]
    seen = [(1, 2, 10.5), (2, 1, 10.6)]
    assert delays(sent, seen) == pytest.approx([500.0, 300.0, 500.0])


def test_a_rate_counts_from_the_first_commit_to_the_last_and_the_median_of_the_rounds() -> None:
    speeds = [Speed("loop", 300_000, Run(9.0, seconds, 2.0)) for seconds in (6.0, 3.0, 1.0)]
    assert [speed.rate for speed in speeds] == [50_000, 100_000, 300_000]
    assert median_rate([*speeds, Speed("peer", 1, Run(1.0, 1.0, None))], "loop") == 100_000


def test_the_watch_over_a_store_sees_when_the_events_of_a_run_begin_and_the_table_is_right(tmp_path: Path) -> None:
    workload, loop = Workload(9, 20), Loop()
    for number in (1, 2):
        stream = tmp_path / "log" / f"run-{number}"
        write(stream, itertools.chain(workload.begin(number), workload.changes(3_000)))
        run = loop.take_in(stream, tmp_path / "store", number)
        assert run.start > 0
        assert 0 <= run.seconds < 60
    assert is_final(loop.rows(tmp_path / "store"), workload.final)


def test_quick_makes_small_what_is_not_given() -> None:
    usual, quick = tables.parse([]), tables.parse(["--quick", "--rounds", "2"])
    assert quick.events < usual.events
    assert max(quick.growth) < max(usual.growth)
    assert quick.rounds == 2
