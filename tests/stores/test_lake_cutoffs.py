"""Of one conversation only so much is kept: the oldest, whatever came first, and the rest is counted."""

from __future__ import annotations

import logging
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from events.feedback import Rating, Said, Turn, rank
from stores.lake.cutoffs import MOST, MOST_BYTES
from stores.lake.intake import LakeIntake
from stores.lake.table import LakeTable
from stores.lake.working import Conversations
from stores.lake.working_size import read_working
from tests.dataflows.lake_content import BEGIN, DAY, expected, rows_in
from tests.stores.test_lake import objective, turn


def opened(home: Path, most: int = MOST, *, keep: int = 1000 * DAY) -> LakeIntake:
    return LakeIntake(
        Conversations(home / "conversations.sqlite3", lambda: BEGIN, most=most),
        LakeTable(home / "lake", 24),
        objective,
        lambda: BEGIN,
        keep=keep,
        compact_every=60,
        retain=0,
    )


def some(conversation: str, count: int) -> list[Said]:
    """Return events, half of them at the same moment as another one."""
    events: list[Said] = [turn(conversation, str(number), BEGIN + number // 2) for number in range(count - 1)]
    return [*events, Rating(conversation, "r", BEGIN + 1, "thumbs", 1.0)]


def oldest(events: list[Said], most: int) -> list[Said]:
    """Return the events that are to be kept, in the order that decides which of two amended ones stands."""
    return sorted(events, key=rank)[:most]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_kept_is_the_oldest_whatever_order_it_came_in(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    large, small = some("large", 40), some("small", 7)
    events = [*large, *small, *chance.sample(large, 15)]
    chance.shuffle(events)
    intake = opened(tmp_path, 12)
    while events:
        size = chance.randint(1, 9)
        intake.write(events[:size])
        del events[:size]
        if chance.random() < 0.4:
            intake.close()
            intake = opened(tmp_path, 12)
    intake.close()
    assert rows_in(tmp_path / "lake") == expected([*oldest(large, 12), *small])
    assert read_working(tmp_path / "conversations.sqlite3").left_out >= 40 - 12


def test_a_full_conversation_costs_nothing_more_and_is_told_of_seldom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    intake = opened(tmp_path, 3)
    intake.write([turn(id_=str(number), time=BEGIN + number) for number in range(3)])
    intake.flush()
    assert not caplog.records
    for number in range(3, 120):
        intake.write([turn(id_=str(number), time=BEGIN + number)])
        assert read_working(tmp_path / "conversations.sqlite3").dirty == (1 if number == 3 else 0)
        intake.flush()
    intake.close()
    told = [record.getMessage() for record in caplog.records]
    assert [" 1 of them" in told[0], " 10 of them" in told[1], " 100 of them" in told[2]] == [True] * 3
    assert len(told) == 3
    assert read_working(tmp_path / "conversations.sqlite3").left_out == 117


def test_what_has_left_the_working_state_stays_full(tmp_path: Path) -> None:
    events: list[Said] = [turn(id_=str(number), time=BEGIN + number) for number in range(8)]
    intake = opened(tmp_path, 5, keep=DAY)
    intake.write(events)
    intake.flush()
    intake.write([turn("later", time=BEGIN + 9 * DAY)])
    intake.flush()
    assert read_working(tmp_path / "conversations.sqlite3").kept == 1
    intake.write(events)
    intake.close()
    assert rows_in(tmp_path / "lake") == expected([*events[:5], turn("later", time=BEGIN + 9 * DAY)])
    assert read_working(tmp_path / "conversations.sqlite3").left_out == 6


def test_events_are_few_if_they_are_large(tmp_path: Path) -> None:
    size = 2**20
    texts = [turn(id_=str(number), time=BEGIN + number, text="x" * size) for number in range(MOST_BYTES // size + 2)]
    intake = opened(tmp_path)
    for one in texts:
        intake.write([one])
    intake.close()
    # With what surrounds the text, one less has room than without.
    assert [len(row["turns"]) for row in rows_in(tmp_path / "lake").values()] == [MOST_BYTES // size - 1]


def test_nothing_is_known_any_more_of_a_full_conversation_that_is_erased(tmp_path: Path) -> None:
    intake = opened(tmp_path, 2)
    intake.write([turn(id_=str(number), time=BEGIN + number, person="p") for number in range(4)])
    assert intake.erase(["p"]) == 1
    again = Turn("c", "9", BEGIN + 9, "user", "hello")
    intake.write([again])
    intake.close()
    assert rows_in(tmp_path / "lake") == expected([again])
    with closing(sqlite3.connect(tmp_path / "conversations.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM headrace_facts WHERE kind = 'full'").fetchall() == [(0,)]
