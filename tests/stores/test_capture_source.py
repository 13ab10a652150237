"""From a tap onto the log: nothing is skipped, whatever ends when."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
from stores.capture.places import Place, Places
from stores.capture.source import LogIntake, TapSource
from stores.log.files import FileLog
from stores.sink import StoreSink


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
    op.output(
        "log", op.key_on("key", drawn, lambda batch: "log"), StoreSink(lambda: LogIntake(log, places, system_clock))
    )
    run_main(flow, epoch_interval=None)


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
