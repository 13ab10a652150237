"""The store of KPIs with other processes at it: read while it is written, and killed while it commits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stores.kpis.reader import KpiReader
from tests.faults.harness import KILLS, seeded_moments
from tests.faults.writing_kpis import FACTS

ROOT = Path(__file__).parents[2]
SECONDS = 60
WHOLE = f"""SELECT (SELECT count(DISTINCT tokens) FROM answers), (SELECT max(tokens) FROM answers),
    (SELECT count(*) FROM answers) = {FACTS}, (SELECT count(DISTINCT value) FROM kpi_values),
    (SELECT max(value)::BIGINT FROM kpi_values), (SELECT count(*) FROM kpi_values) = {FACTS + 1},
    (SELECT max(position) FROM applied), (SELECT max(progress) FROM headrace_store)"""  # noqa: S608  # a number of ours


@contextmanager
def writing(folder: Path, pause: float) -> Iterator[subprocess.Popen[bytes]]:
    script = ROOT / "tests" / "faults" / "writing_kpis.py"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "writer.log").open("ab") as log:
        program = subprocess.Popen([sys.executable, str(script), str(folder), str(pause)], cwd=ROOT, stderr=log)
    try:
        yield program
    finally:
        program.kill()
        program.wait()


def await_number(reader: KpiReader, above: int, program: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert program.poll() is None, "the writer has ended"
        number = applied(reader)
        if number > above:
            return number
        time.sleep(0.02)
    message = f"the store did not get beyond {above} in {SECONDS} s"
    raise AssertionError(message)


def applied(reader: KpiReader) -> int:
    return max((mark.offset for mark in reader.applied()), default=0)


def test_killed_at_any_moment_the_store_holds_one_commit_whole_and_goes_on(tmp_path: Path) -> None:
    reader = KpiReader(tmp_path / "kpis.duckdb")
    last = 0
    for moment in seeded_moments(seed=11, count=KILLS, longest=0.25):
        with writing(tmp_path, 0.02) as program:
            await_number(reader, last, program)
            time.sleep(moment)
            os.kill(program.pid, signal.SIGKILL)
            program.wait()
        ((kinds, fact, all_facts, values, value, all_values, offset, progress),) = reader.sql(WHOLE).rows
        assert (kinds, values, all_facts, all_values) == (1, 1, True, True)
        assert fact == value == offset == progress
        assert reader.frontier() is not None
        assert offset >= last
        last = offset


def test_readers_of_other_processes_see_whole_commits_while_one_writes(tmp_path: Path) -> None:
    question = f"""
import sys, time
from pathlib import Path
from stores.kpis.reader import KpiReader
reader = KpiReader(Path(sys.argv[1]), 60.0)
seen, begin = [], time.monotonic()
# For four seconds, and on a busy machine for as long as it takes to have seen some commits.
while time.monotonic() < begin + 4 or (len(set(seen)) < 4 and time.monotonic() < begin + 40):
    row = reader.sql({WHOLE!r}).rows[0]
    assert row[0] == row[3] == 1 and row[2] and row[5] and row[1] == row[4] == row[6] == row[7], row
    assert not seen or row[6] >= seen[-1]
    seen.append(row[6])
    time.sleep(0.01)
print(len(set(seen)))
"""
    path = tmp_path / "kpis.duckdb"
    with writing(tmp_path, 0.2) as program:
        await_number(KpiReader(path), 0, program)
        readers = [
            subprocess.Popen([sys.executable, "-c", question, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        outcomes = [(reader.communicate(timeout=SECONDS)[0], reader.returncode) for reader in readers]
        assert program.poll() is None
    assert [code for _, code in outcomes] == [0, 0]
    assert all(int(distinct) > 3 for distinct, _ in outcomes)


def test_a_store_whose_first_commit_was_killed_can_be_opened(tmp_path: Path) -> None:
    reader = KpiReader(tmp_path / "kpis.duckdb")
    with writing(tmp_path, 0.0) as program:
        deadline = time.monotonic() + SECONDS
        while not (tmp_path / "kpis.duckdb").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
    assert applied(reader) in {0, 1}
    with writing(tmp_path, 0.02) as program:
        assert await_number(reader, 1, program) > 1
