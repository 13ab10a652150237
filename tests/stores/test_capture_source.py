"""From a tap onto the log: nothing is skipped, whatever ends when."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from events.clock import system_clock
from events.errors import StoreError
from events.log import LogRecord
from stores.capture.base import Drawn, Tap
from stores.capture.kept import KeptTap
from stores.capture.places import Place, Places
from stores.capture.source import Batch, LogIntake, TapSource
from stores.dead_letters import DeadLetters
from stores.log.files import FileLog
from stores.sink import StoreSink

EPOCH = timedelta(milliseconds=100)


class Numbers(Tap):
    """Numbers up to `count`, from the place on; it ends the flow behind the last one, or fails at one."""

    def __init__(self, place: Any, count: int, fails_at: int | None = None) -> None:
        self.at = 0 if place is None else place
        self.count = count
        self.fails_at = fails_at
        self.confirmed: list[Any] = []
        self.closed = False

    def draw(self, limit: int) -> Drawn | None:
        if self.at == self.fails_at:
            detail = "the source has gone"
            raise StoreError(detail, "bring it back")
        begin, self.at = self.at, min(self.at + limit, self.count)
        if begin == self.count:
            if self.confirmed and self.confirmed[-1] == self.count:
                raise StopIteration  # which ends a flow
            return None
        records = tuple(
            LogRecord("numbers" if n % 3 else "thirds", 0, 0, n, b"%d" % n, b"%d" % n) for n in range(begin, self.at)
        )
        return Drawn(records, self.at, event_time=self.at, caught_up=self.at == self.count)

    def confirm(self, place: Any) -> None:
        self.confirmed.append(place)

    def close(self) -> None:
        self.closed = True


def run(home: Path, opened: list[Numbers], make: Callable[[Any], Numbers]) -> None:
    def open_tap(place: Any) -> Numbers:
        opened.append(make(place))
        return opened[-1]

    places = Places(home / "capture.sqlite3")
    flow = Dataflow("capture")
    source = TapSource("numbers", open_tap, places, batch_size=7, clock=system_clock)
    drawn = op.input("tap", flow, source)
    log = FileLog(home / "log", partitions=1)
    bury = DeadLetters(home / "letters.sqlite3", system_clock).write
    intake = StoreSink[Batch](lambda: LogIntake(log, places, system_clock, bury))
    op.output("log", op.key_on("key", drawn, lambda batch: "log"), intake)
    run_main(flow, epoch_interval=EPOCH)


def on_log(home: Path, stream: str) -> list[int]:
    log = FileLog(home / "log")
    return [int(record.value or b"") for record in log.read(stream, 0, 0, 10_000)[0]]


def test_what_is_drawn_is_appended_in_order_then_noted_then_confirmed(tmp_path: Path) -> None:
    opened: list[Numbers] = []
    run(tmp_path, opened, lambda place: Numbers(place, 100))
    assert on_log(tmp_path, "numbers") == [n for n in range(100) if n % 3]
    assert on_log(tmp_path, "thirds") == list(range(0, 100, 3))
    place = Places(tmp_path / "capture.sqlite3").read()["numbers"]
    assert (place.place, place.records, place.caught_up) == (100, 100, True)
    (tap,) = opened
    assert tap.closed
    assert tap.confirmed[-1] == 100
    assert tap.confirmed == sorted(tap.confirmed)


def test_another_run_goes_on_behind_what_was_noted(tmp_path: Path) -> None:
    opened: list[Numbers] = []
    for count in (50, 90):
        run(tmp_path, opened, functools.partial(Numbers, count=count))
    assert on_log(tmp_path, "numbers") == [n for n in range(90) if n % 3]
    assert Places(tmp_path / "capture.sqlite3").read()["numbers"].records == 90


def test_a_source_that_fails_loses_nothing_and_is_confirmed_nothing_that_is_not_on_the_log(tmp_path: Path) -> None:
    opened: list[Numbers] = []
    with pytest.raises(RuntimeError, match="error calling"):
        run(tmp_path, opened, lambda place: Numbers(place, 100, fails_at=49))
    noted = Places(tmp_path / "capture.sqlite3").read()
    known = noted["numbers"].place if noted else 0
    assert all(place <= known for place in opened[0].confirmed)
    run(tmp_path, opened, lambda place: Numbers(place, 100))
    found = on_log(tmp_path, "numbers")
    assert sorted(set(found)) == [n for n in range(100) if n % 3]
    assert opened[1].confirmed[-1] == 100


def test_places_are_one_commit_and_can_be_forgotten(tmp_path: Path) -> None:
    places = Places(tmp_path / "somewhere" / "capture.sqlite3")
    assert places.read() == {}
    places.write({})
    assert not (tmp_path / "somewhere").exists()
    one, two = Place({"lsn": 2**63}, 5, True, 6, 7), Place(["x"], None, False, 8, 9, ((1, 2),))
    places.write({"one": one, "two": two})
    assert Places(tmp_path / "somewhere" / "capture.sqlite3").read() == {"one": one, "two": two}
    places.remove("one")
    assert list(places.read()) == ["two"]


def test_a_damaged_file_of_places_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "capture.sqlite3").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    with pytest.raises(StoreError, match="places of captures") as caught:
        Places(tmp_path / "capture.sqlite3").read()
    assert caught.value.hint


def letter(number: int) -> LogRecord:
    return LogRecord("letters", 0, 0, number, b"k", b"%d" % number)


@pytest.fixture
def intake(tmp_path: Path) -> LogIntake:
    """Append to a log whose lines are short, with the time standing still."""
    log = FileLog(tmp_path / "log", partitions=1, max_line_bytes=1000)
    bury = DeadLetters(tmp_path / "letters.sqlite3", lambda: 1000).write
    return LogIntake(log, Places(tmp_path / "capture.sqlite3"), lambda: 1000, bury)


def test_what_the_log_refuses_becomes_a_dead_letter_and_all_else_goes_on_in_order(
    tmp_path: Path, intake: LogIntake
) -> None:
    # Two of one key, and one without: each is kept for itself.
    large = {3: b"k", 4: b"k", 9: None}
    records = [letter(n) for n in range(12)]
    for n, key in large.items():
        records[n] = LogRecord("letters", 0, 0, n, key, b"%d" % n + b"x" * 2000)
    intake.write([Batch("one", Drawn(tuple(records), 12), 900)])
    kept = DeadLetters(tmp_path / "letters.sqlite3", system_clock).list("capture")
    intake.close_epoch([])
    found = FileLog(tmp_path / "log").read("letters", 0, 0, 100)[0]
    assert [record.value for record in found] == [records[n].value for n in range(12) if n not in large]
    assert {one.letter.record.value for one in kept} == {records[n].value for n in large}
    assert {one.letter.record.stream for one in kept} == {"letters"}
    assert Places(tmp_path / "capture.sqlite3").read()["one"].place == 12
    # Once more, as after a crash: the same letters.
    intake.write([Batch("one", Drawn(tuple(records), 12), 900)])
    assert len(DeadLetters(tmp_path / "letters.sqlite3", system_clock).list("capture")) == 3


@pytest.mark.parametrize(
    ("drawn", "known"),
    [
        (Drawn((), 1, event_time=880), None),
        (Drawn((), 1, event_time=880, caught_up=True), 900),
        (Drawn((), 1, event_time=880, true_at=400), 400),
        (Drawn((), 1, event_time=880, caught_up=True, true_at=400), 400),
        (Drawn((), 1, event_time=5000, true_at=5000), 900),
    ],
)
def test_the_log_is_as_true_as_the_tap_says_and_never_more_than_when_it_was_looked_at(
    tmp_path: Path, intake: LogIntake, drawn: Drawn, known: int | None
) -> None:
    intake.write([Batch("one", drawn, 900)])
    intake.close_epoch([])
    assert Places(tmp_path / "capture.sqlite3").read()["one"].true_at(2000) == known


def test_a_word_of_being_whole_outlives_what_comes_in_the_same_epoch_but_not_a_new_beginning(
    tmp_path: Path, intake: LogIntake
) -> None:
    places = Places(tmp_path / "capture.sqlite3")
    intake.write([Batch("one", Drawn((), 1, caught_up=True), 900), Batch("one", Drawn((letter(1),), 2), 950)])
    intake.close_epoch([])
    assert places.read()["one"].true_at(2000) == 900
    # Nor is a source whose clock is ahead whole as of a later look.
    intake.write([Batch("one", Drawn((), 3, true_at=5000), 960), Batch("one", Drawn((letter(1),), 4), 980)])
    intake.close_epoch([])
    assert places.read()["one"].true_at(2000) == 960
    intake.write([Batch("one", Drawn((letter(1),), 1), 990, anew=True)])
    intake.close_epoch([])
    again = places.read()["one"]
    assert (again.true_at(2000), again.records) == (None, 1)


class Story:
    """A tap among several, that is drawn from while time passes as it is told."""

    def __init__(self, home: Path) -> None:
        self.places = Places(home / "capture.sqlite3")
        self.now = 0
        self.begun_at: list[Any] = []
        self.kept = KeptTap("numbers", self._open, self.places, lambda: self.now, alone=False)

    def _open(self, place: Any) -> Numbers:
        self.begun_at.append(place)
        if len(self.begun_at) == 1:
            detail = "wrong password"
            raise StoreError(detail, "correct it")
        return Numbers(place, 100, fails_at=7 if len(self.begun_at) == 2 else None)

    def drawn_until(self, done: Callable[[], bool]) -> list[Drawn]:
        found: list[Drawn] = []
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline
            one = self.kept.draw(7)
            if one is not None:
                found.append(one[0])
                return found
        return found


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = Story(tmp_path)
    yield made
    made.kept.close()


def test_among_several_a_tap_that_fails_says_so_once_and_is_opened_again_at_its_place(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    story.drawn_until(lambda: bool(story.places.faults()))
    assert story.places.faults() == {"numbers": "wrong password (correct it)"}
    for _ in itertools.repeat(None, 50):
        assert story.kept.draw(7) is None
    assert len(story.begun_at) == 1  # not before its pause is over
    story.now += 1000
    [first] = story.drawn_until(lambda: False)
    assert first.place == 7
    story.drawn_until(lambda: story.places.faults() == {"numbers": "the source has gone (bring it back)"})
    story.now += 2000
    for _ in itertools.repeat(None, 50):
        assert story.kept.draw(7) is None
    assert story.begun_at == [None, None]  # not before what was drawn is behind the place
    story.places.write({"numbers": Place(7, None, False, 0, 7)})
    [second] = story.drawn_until(lambda: False)
    assert (story.begun_at, second.place) == ([None, None, 7], 14)
    story.now += 60_000
    story.drawn_until(lambda: False)
    assert story.places.faults() == {}
    assert [caplog.text.count(said) for said in ("wrong password", "has gone", "goes on")] == [1, 1, 1]


def test_alone_a_tap_that_fails_ends_the_flow_and_why_is_kept_until_it_is_open_again(tmp_path: Path) -> None:
    places = Places(tmp_path / "capture.sqlite3")

    def fails(place: Any) -> Tap:
        detail = "wrong password"
        raise StoreError(detail, "correct it")

    with pytest.raises(StoreError, match="wrong password"):
        KeptTap("numbers", fails, places, system_clock, alone=True)
    assert places.faults() == {"numbers": "wrong password (correct it)"}
    kept = KeptTap("numbers", lambda place: Numbers(place, 100, fails_at=7), places, system_clock, alone=True)
    assert places.faults() == {}
    kept.draw(7)
    with pytest.raises(StoreError, match="has gone"):
        kept.draw(7)
    assert places.faults() == {"numbers": "the source has gone (bring it back)"}


def test_one_that_fails_holds_up_no_other(tmp_path: Path) -> None:
    places = Places(tmp_path / "capture.sqlite3")
    log = FileLog(tmp_path / "log", partitions=1)
    flow = Dataflow("capture")

    def fails(place: Any) -> Tap:
        detail = "wrong password"
        raise StoreError(detail, "correct it")

    class Ending(Numbers):
        def draw(self, limit: int) -> Drawn | None:
            if self.confirmed and self.confirmed[-1] == self.count and places.faults():
                detail = "all is there"
                raise KeyError(detail)
            return Numbers.draw(self, limit) if self.at < self.count else None

    drawn = [
        op.input(name, flow, TapSource(name, opened, places, batch_size=7, clock=system_clock, alone=False))
        for name, opened in (("bad", fails), ("numbers", functools.partial(Ending, count=50)))
    ]
    bury = DeadLetters(tmp_path / "letters.sqlite3", system_clock).write
    intake = StoreSink[Batch](lambda: LogIntake(log, places, system_clock, bury))
    op.output("log", op.key_on("key", op.merge("all", *drawn), lambda batch: "log"), intake)
    # What is no error of a source ends the flow, and this test.
    with pytest.raises(RuntimeError, match="error calling"):
        run_main(flow, epoch_interval=EPOCH)
    assert places.faults() == {"bad": "wrong password (correct it)"}
    assert on_log(tmp_path, "numbers") == [n for n in range(50) if n % 3]
