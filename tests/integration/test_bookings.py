"""119,390 real bookings through the tables flow, read while it runs: whole rows, never older ones, the right end."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from events.changes import Row
from stores.log.files import FileLog
from stores.rows.base import Condition, RowQuery, RowReader
from stores.rows.choose import open_row_reader
from stores.settings import load
from tests.integration.bookings import STREAM, Event, arrivals, history, proof_of, read_lines, records

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
APPEND = 5_000
SECONDS = 240.0
TABLE = "bookings"
WINDOW = 250
WINDOWS = 12


def settings_variables(data: Path) -> dict[str, str]:
    return {
        "HEADRACE_MODE": "replay",
        "HEADRACE_DATA_DIR": str(data),
        "HEADRACE_TABLES__STREAMS": json.dumps([{"name": STREAM, "format": "debezium"}]),
        "HEADRACE_TABLES__LIVE": json.dumps([{"name": TABLE, "table": "public.bookings", "index": ["id"]}]),
    }


@contextmanager
def running(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the flow as users do, with recovery; it ends by itself."""
    recovery = data / "recovery"
    recovery.mkdir(parents=True)
    init_db_dir(recovery, 4)
    command = [sys.executable, "-m", "bytewax.run", "dataflows.tables", "-r", str(recovery), "-s", "1", "-b", "0"]
    with (data / "flow.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **settings_variables(data)}, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def fill(log: FileLog, lines: list[dict[str, str]], events: list[Event], order: list[int]) -> None:
    log.create(STREAM, PARTITIONS)
    pending = records(lines, events, order)
    while batch := list(itertools.islice(pending, APPEND)):
        log.append(STREAM, batch)


class Expectations:
    """For each booking, which version a store must have that says it has read a partition up to some offset."""

    def __init__(self, log: FileLog) -> None:
        self._versions: dict[int, list[tuple[int, int]]] = {}
        self._partition: dict[int, str] = {}
        for partition in range(PARTITIONS):
            offset = 0
            while True:
                found, offset = log.read(STREAM, partition, offset, APPEND)
                if not found:
                    break
                for record in found:
                    row = json.loads(record.value or b"{}")["after"]
                    self._versions.setdefault(row["id"], []).append((record.offset, row["version"]))
                    self._partition[row["id"]] = str(partition)

    def version(self, number: int, applied: dict[str, int]) -> int:
        """Return the newest version among the events before the applied offset; -1 if there is none."""
        offset = applied.get(self._partition[number], 0)
        return max((version for at, version in self._versions[number] if at < offset), default=-1)

    def went_back(self) -> int:
        """Count the bookings of which an event arrived after a newer one."""
        return sum(
            any(later < earlier for (_, earlier), (_, later) in itertools.pairwise(sorted(arrived)))
            for arrived in self._versions.values()
        )


class Watch:
    """What a reader has seen of some rows so far; asserts of each look that it is whole and not older."""

    def __init__(self, reader: RowReader, expectations: Expectations, bookings: int) -> None:
        self._reader = reader
        self._expectations = expectations
        step = bookings // WINDOWS
        self._windows = itertools.cycle(range(1, bookings - WINDOW, step))
        self._seen: dict[int, int] = {}
        self.advanced = 0
        self.whole = 0

    def look(self) -> None:
        """Read one window of bookings, by rows and by SQL."""
        first = next(self._windows)
        applied = {mark.partition: mark.offset for mark in self._reader.applied() if mark.source == STREAM}
        between = (Condition("id", ">=", first), Condition("id", "<", first + WINDOW))
        stored = self._reader.select(RowQuery(table=TABLE, where=between, limit=WINDOW))
        rows = {row.image["id"]: row.image for row in stored if row.image is not None}
        self._check(rows)
        for number in range(first, first + WINDOW):
            promised = self._expectations.version(number, applied)
            assert promised <= (rows[number]["version"] if number in rows else -1), "applied says more than is there"
        if rows:
            self._check(self._by_sql(first))

    def look_at_all(self) -> None:
        """Ask one question over the whole table that only a row half replaced could answer otherwise."""
        bookings, _, _ = self._reader.counts().get(TABLE, (0, 0, None))
        if not bookings:
            return
        torn = "SELECT count(*) FROM bookings WHERE (status = 'Booked') <> (closed_on IS NULL) OR version < changes"
        assert self._reader.sql(torn, rows=1, seconds=SECONDS).rows == [(0,)]

    def _by_sql(self, first: int) -> dict[int, Row]:
        statement = f"SELECT * FROM bookings WHERE id >= {first:d} AND id < {first + WINDOW:d}"  # noqa: S608 - numbers
        answer = self._reader.sql(statement, rows=WINDOW, seconds=SECONDS)
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        return {row["id"]: {name: row[name] for name in row if not name.startswith("_")} for row in rows}

    def _check(self, rows: dict[int, Row]) -> None:
        for number, row in rows.items():
            assert row["proof"] == proof_of(row), f"booking {number} is mixed: {row}"
            before = self._seen.get(number, -1)
            assert row["version"] >= before, f"booking {number} went back from {before} to {row['version']}"
            self.advanced += 0 <= before < row["version"]
            self._seen[number] = row["version"]
            self.whole += 1


@pytest.mark.realdata("hotel_bookings")
def test_real_bookings_end_in_their_final_status_and_no_reader_sees_a_mixed_or_older_row(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = real_data / "hotel_bookings.csv.gz"
    lines = read_lines(path)
    events = history(lines)
    log = FileLog(tmp_path / "data" / "log", partitions=PARTITIONS)
    fill(log, lines, events, arrivals(events, seed=3))
    expectations = Expectations(log)
    assert expectations.went_back() > 1_000

    for name, value in settings_variables(tmp_path / "data").items():
        monkeypatch.setenv(name, value)
    reader = open_row_reader(load())
    watch = Watch(reader, expectations, len(lines))
    deadline = time.monotonic() + SECONDS
    with running(tmp_path / "data") as flow:
        for turn in itertools.count():
            ended = flow.poll() is not None
            watch.look()
            if turn % (2 * WINDOWS) == 0:
                watch.look_at_all()
            if ended:
                break
            assert time.monotonic() < deadline, f"the flow took longer than {SECONDS:.0f} s"
        assert flow.returncode == 0, (tmp_path / "data" / "flow.log").read_text(encoding="utf-8")
    assert watch.whole > 10_000
    assert watch.advanced > 100

    ends = "SELECT id, status, closed_on, changes FROM bookings"
    answer = reader.sql(ends, rows=len(lines) + 1, seconds=SECONDS)
    assert not answer.cut
    assert {row[0]: row[1:] for row in answer.rows} == final_statuses(path)
    # Antonio, de Almeida and Nunes (2019), "Hotel booking demand datasets": 37.04 % were cancelled or never came.
    share = "SELECT round(avg(status <> 'Check-Out'), 4) FROM bookings"
    assert reader.sql(share, rows=1, seconds=SECONDS).rows == [(0.3704,)]
    reader.close()


def final_statuses(path: Path) -> dict[int, tuple[str, str, int]]:
    """Read off the data set how each booking ended, knowing nothing of events."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        status, day, changes = map(header.index, ("reservation_status", "reservation_status_date", "booking_changes"))
        return {number: (row[status], row[day], int(row[changes])) for number, row in enumerate(rows, start=1)}


def test_a_history_has_one_event_for_the_start_the_end_and_each_change(tmp_path: Path) -> None:
    path = tmp_path / "two.csv.gz"
    columns = {
        "arrival_date_year": "2015",
        "arrival_date_month": "July",
        "arrival_date_day_of_month": "10",
        "lead_time": "9",
        "booking_changes": "2",
        "reservation_status_date": "2015-07-04",
    }
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(",".join(columns) + "\n" + ",".join(columns.values()) + "\n")
        file.write(",".join({**columns, "booking_changes": "0"}.values()) + "\n")
    events = history(read_lines(path))
    assert Counter(event.number for event in events) == {1: 4, 2: 2}
    day = 24 * 3600
    made = 1_435_737_600  # 2015-07-01 08:00 UTC
    assert [event.millis // 1000 - made for event in events if event.number == 1] == [
        0,
        (3 * day + day // 2) // 3,
        2 * (3 * day + day // 2) // 3,
        3 * day + day // 2,
    ]


def test_arrivals_are_late_and_double_as_often_as_said_and_none_is_missing() -> None:
    events = [Event(number, number, 0) for number in range(10_000)]
    order = arrivals(events, seed=1, reach=500)
    assert set(order) == set(range(10_000))
    assert len(order) == pytest.approx(10_300, abs=60)
    assert order == arrivals(events, seed=1, reach=500)
    assert order != arrivals(events, seed=2, reach=500)
