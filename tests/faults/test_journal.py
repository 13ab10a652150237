"""The journal of an identity graph, its process killed at any moment: what `put` has returned is there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from stores.journal.sqlite import SqliteJournal, journal_applied
from tests.contract.journal_model import JournalModel, Past

ROOT = Path(__file__).parents[2]
KILLS = 20
NAMES = 300

# Says what it is about to do and what it has done. What it puts follows from the number of the step alone.
WRITER = """
import sys
from pathlib import Path
from events.clock import system_clock
from stores.journal.sqlite import SqliteJournal
from tests.faults.test_journal import written
journal = SqliteJournal(Path(sys.argv[1]), system_clock)
step = int(sys.argv[2])
while True:
    print("put", step, flush=True)
    journal.put(written(step))
    print("done", step, flush=True)
    if step % 3 == 0:
        print("closed", journal.close_epoch([]), flush=True)
    step += 1
"""


def written(step: int) -> dict[str, bytes | None]:
    """Return what a step puts: forty entries, a fifth of them removed."""
    chance = random.Random(step)
    numbers = chance.sample(range(NAMES), 40)
    return {
        f"r{number}": None if chance.random() < 0.2 else b"%d-" % step + bytes(chance.randrange(400))
        for number in numbers
    }


def test_a_journal_whose_process_is_killed_at_any_moment_loses_nothing_and_can_go_back(tmp_path: Path) -> None:
    path, chance = tmp_path / "default.sqlite3", random.Random(4)
    model = JournalModel([Past(0, 0, {}, 0)])
    step = 1
    for kill in range(KILLS):
        said = killed(path, step, chance.uniform(0, 0.12))
        journal = SqliteJournal(path, lambda: int(time.time() * 1000))
        step = follow(said, model, journal)
        assert dict(journal.load()) == model.entries, f"kill {kill}"
        if kill % 2:
            number = chance.randrange(max(0, len(model.past) - 5), len(model.past))
            there = model.past[number]
            put, real = model.roll_back(number)
            named = journal.roll_back(there.sequence)
            assert real <= named <= put
            model.started(named)
            assert dict(journal.load()) == there.entries
        journal.close()
    assert step > KILLS
    # Each end that is still known is still there.
    journal = SqliteJournal(path, lambda: int(time.time() * 1000))
    for past in reversed(model.past):
        journal.roll_back(past.sequence)
        assert dict(journal.load()) == past.entries
    assert journal._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert journal_applied(path) == []
    journal.close()


def killed(path: Path, step: int, seconds: float) -> list[tuple[str, int]]:
    """Run the writer for some time after its first word, then kill it; return what it said."""
    command = [sys.executable, "-c", WRITER, str(path), str(step)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)  # what is waited for is the moment itself
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
    words = [line.split() for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]
    return [(word, int(number)) for word, number in words]


def follow(said: list[tuple[str, int]], model: JournalModel, journal: SqliteJournal) -> int:
    """Do in the model what the writer has done; return its next step. Its last act may have been done unsaid."""
    step = 0
    for (word, number), later in zip(said, [*said[1:], None], strict=True):
        if word == "put":
            step = number
            if later is None and dict(journal.load()) == model.entries:
                return number
            model.put(written(number))
        elif word == "closed":
            model.close_epoch(number, 0)
    if said[-1][0] != "closed" and step % 3 == 0:
        # Closed by the writer or, as nobody can tell, just here: the end of the same sequence.
        model.close_epoch(journal.close_epoch([]), 0)
    return step + 1
