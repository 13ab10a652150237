"""How fresh a stream can be that a capture fills."""

from __future__ import annotations

from pathlib import Path

from events.log import Applied
from serving.captured import Captured, is_capture, stream_of
from serving.freshness import age, has_reached
from stores.capture.places import Place, Places, with_history
from stores.settings import Settings

NOW = 1_000_000


def captured(home: Path, *names: str, stream: str = "") -> Captured:
    taps = [{"name": name, "stream": stream, "dsn": "host=db", "tables": [f"public.{name}"]} for name in names]
    return Captured(Settings.model_validate({"data_dir": home, "capture": {"postgres": taps}}))


def mark(stream: str, read_at: int, **more: object) -> Applied:
    return Applied(stream, "0", 7, read_at, read_at, True, read_at, **more)  # type: ignore[arg-type]  # of the test


def written(home: Path, tap: str, *history: tuple[int, int]) -> None:
    place = Place({"end": 1}, None, True, history[-1][1], 3, history)
    Places(home / "capture.sqlite3").write({tap: place})


def of(found: Captured, applied: list[Applied], *streams: str) -> int | None:
    partitions = {stream: [0] for stream in streams}
    return age([*applied, *found.marks(applied)], partitions | found.partitions(partitions), NOW)


def test_a_stream_without_a_capture_is_as_old_as_its_look_at_the_log(tmp_path: Path) -> None:
    assert of(captured(tmp_path), [mark("shop", NOW - 400)], "shop") == 400
    assert of(captured(tmp_path, "other"), [mark("shop", NOW - 400)], "shop") == 400


def test_a_captured_stream_is_no_fresher_than_what_was_on_the_log_when_it_was_read(tmp_path: Path) -> None:
    found = captured(tmp_path, "shop")
    written(tmp_path, "shop", (NOW - 3000, NOW - 3900), (NOW - 1000, NOW - 1700), (NOW - 100, NOW - 200))
    # The last word came after the look at the log, and may be of changes that were not there yet.
    assert of(found, [mark("shop", NOW - 400)], "shop") == 1700
    assert of(found, [mark("shop", NOW - 100)], "shop") == 200
    assert of(found, [mark("shop", NOW - 2000)], "shop") == 3900


def test_the_age_cannot_be_told_before_the_capture_has_said_anything(tmp_path: Path) -> None:
    found = captured(tmp_path, "shop")
    assert of(found, [mark("shop", NOW)], "shop") is None
    written(tmp_path, "shop", (NOW - 10, NOW - 20))
    assert of(found, [mark("shop", NOW - 400)], "shop") is None


def test_of_several_captures_the_oldest_counts_and_other_streams_are_not_touched(tmp_path: Path) -> None:
    found = captured(tmp_path, "one", "two", stream="all")
    written(tmp_path, "one", (NOW - 10, NOW - 20))
    written(tmp_path, "two", (NOW - 10, NOW - 900))
    marks = [mark("all", NOW), mark("desk", NOW - 5)]
    assert of(found, marks, "all", "desk") == 900
    assert of(found, marks, "desk") == 5


def test_positions_are_reached_by_what_the_log_brought_alone(tmp_path: Path) -> None:
    found = captured(tmp_path, "shop")
    marks = [mark("shop", NOW, positions={"shop": (9,)}, reached={"shop": NOW})]
    partitions = {"shop": [0]} | found.partitions(["shop"])
    assert has_reached(marks, partitions, "shop", (9,))
    assert [stream_of(name) for name in partitions] == ["shop", "shop"]
    assert [is_capture(name) for name in partitions] == [False, True]


def test_a_long_history_keeps_what_is_new_and_never_claims_more() -> None:
    place, every = None, []
    for second in range(500):
        now = second * 1000
        every.append((now, now - 150))
        place = with_history(Place(second, None, True, now, second, whole_at=now - 150), place, now)
    assert place is not None
    assert len(place.history) <= 64
    assert set(place.history) <= set(every)
    assert place.history[-20:] == tuple(every[-20:])
    for moment in range(0, 500_000, 777):
        claimed = place.true_at(moment)
        assert claimed is None or claimed <= max(true for at, true in every if at <= moment)


def test_a_capture_that_is_behind_counts_with_what_it_has_given_whole_not_with_the_newest_that_it_has_seen() -> None:
    behind = with_history(Place(1, 990, False, 1000, 3, whole_at=500), None, 1000)
    assert behind.true_at(2000) == 500
    silent = with_history(Place(1, 1090, False, 1090, 3), behind, 1100)
    assert silent.true_at(2000) == 500
    assert with_history(Place(1, 990, False, 1000, 3), None, 1000).true_at(2000) is None


def test_a_clock_at_the_source_that_is_ahead_makes_nothing_fresher() -> None:
    ahead = with_history(Place(1, 9_000_000, False, 1000, 3, whole_at=9_000_000), None, 1010)
    after = with_history(Place(1, 2000, True, 2000, 3, whole_at=2000), ahead, 2010)
    assert (ahead.true_at(5000), after.true_at(5000)) == (1000, 2000)
