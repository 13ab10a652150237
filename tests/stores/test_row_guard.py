"""The mass-delete guard: what it counts, and what it holds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.changes import Decision, Sighting
from stores.rows.base import GONE, HELD, LIVE, StoredRow, Tally
from stores.rows.guard import Guard, Verdict
from stores.rows.holds import HOLD, holds_of
from tests.stores.row_events import LIVE_NAME, SOURCE, Item, change, gone, intake, key_of, settings, truncation

WINDOW = 10
NUMBERS = range(8)


def guard(live: int, *, share: float = 0.5, rows: int = 2, newest: int | None = None) -> Guard:
    return Guard(share=share, rows=rows, window=WINDOW, tally=Tally(live), newest=newest)


def test_a_slice_is_held_when_more_than_the_share_is_deleted_in_it() -> None:
    watched = guard(10)
    for at in range(5):
        watched.disappear(at)
    assert watched.settle() == []
    watched.disappear(5)
    assert [(due.slice, due.old, due.state) for due in watched.settle()] == [(0, GONE, HELD)]
    assert watched.rows_of(0) == (6, 10)


def test_few_deletes_are_never_held() -> None:
    watched = guard(3, rows=4)
    watched.disappear(0, 3)
    assert watched.settle() == []


def test_a_share_of_one_turns_the_guard_off() -> None:
    watched = guard(1000, share=1)
    watched.disappear(0, 1000)
    assert watched.settle() == []


def test_deletes_of_different_slices_do_not_add_up() -> None:
    watched = guard(10, share=0.4)
    watched.disappear(9, 3)
    watched.disappear(10, 2)
    assert watched.settle() == []


def test_an_open_slice_is_let_go_when_the_counts_allow_it_and_a_closed_one_is_not() -> None:
    for newest, expected in ((20, [(0, HELD, GONE)]), (21, [])):
        watched = guard(2)
        watched.disappear(5, 2)
        watched.settle()
        watched.advance(newest)
        watched.appear(10)
        assert [(due.slice, due.old, due.state) for due in watched.settle()] == expected


def test_late_deletes_can_make_a_closed_slice_held() -> None:
    watched = guard(4, newest=1000)
    watched.disappear(5, 3)
    assert [due.state for due in watched.settle()] == [HELD]


def test_a_closed_slice_stays_held_though_late_deletes_find_more_rows() -> None:
    watched = guard(3)
    watched.disappear(5, 2)
    watched.settle()
    watched.advance(1000)
    watched.appear(100)
    watched.disappear(6)
    assert watched.statuses == {0: "held"}


def test_a_decided_slice_is_not_judged_by_what_is_deleted_in_others() -> None:
    watched = guard(8, share=0.3)
    watched.disappear(5, 2)
    watched.decide(0, "release")
    watched.disappear(15, 2)
    watched.settle()
    assert 0 not in watched.statuses
    watched.disappear(6)
    assert watched.statuses[0] == "released"


def test_a_decision_counts_once_and_for_the_deletes_that_follow() -> None:
    watched = guard(4)
    watched.disappear(5, 3)
    watched.settle()
    assert watched.decide(0, "discard")
    assert not watched.decide(0, "release")
    assert {(due.old, due.state) for due in watched.settle()} == {(HELD, LIVE), (GONE, LIVE)}
    assert watched.live == 4
    assert watched.keeps(6)
    assert not watched.keeps(10)


def test_a_decision_that_comes_first_takes_effect_when_the_slice_would_be_held() -> None:
    watched = guard(4)
    assert watched.decide(0, "discard")
    watched.disappear(5, 2)
    assert watched.settle() == []
    watched.disappear(6)
    assert watched.statuses == {0: "discarded"}
    assert watched.live == 4


# Through the store. The guard's words to the store are few, so that all of them are tried by random histories.

_numbers = st.sampled_from(NUMBERS)
_verdicts: tuple[Verdict, ...] = ("release", "discard")


@st.composite
def sequences(draw: st.DrawFn) -> list[Item]:
    """Items whose positions and event times mostly grow, with decisions and now and then a truncation."""
    items: list[Item] = [change(number, 1, {"a": 0}) for number in NUMBERS[:-2]]
    time = 1
    for at in range(2, draw(st.integers(3, 30))):
        time = max(0, time + draw(st.sampled_from([0, 0, 1, 3, 12, -8])))
        what = draw(st.integers(0, 19))
        if what < 11:
            items.append(gone(draw(_numbers), at, time=time))
        elif what < 17:
            silent = draw(st.sampled_from(["", "a"]))
            items.append(change(draw(_numbers), at, {} if silent else {"a": at}, silent=silent, time=time))
        elif what == 17:
            items.append(truncation(at, time=time, offset=at))
        else:
            verdict = draw(st.sampled_from(_verdicts))
            items.append(Decision(LIVE_NAME, time // WINDOW, verdict))
    late = draw(st.lists(st.sampled_from(items), max_size=5))
    return [*items, *late]


def cut(items: Sequence[Item], places: Sequence[int]) -> list[list[Item]]:
    ends = [0, *sorted(place % (len(items) + 1) for place in places), len(items)]
    return [list(items[begin:end]) for begin, end in itertools.pairwise(ends)]


def taken(path: Path, batches: Sequence[Sequence[Item]]) -> tuple[dict[str, StoredRow], dict[int, str]]:
    """Return rows and statuses of slices after these batches; the counts are compared with the store's after each."""
    path.unlink(missing_ok=True)
    tables = settings(share=0.3, rows=2, window=1)
    opened, writer = intake(path, tables)
    for batch in batches:
        opened.write([stretched(item) for item in batch])
        watched = opened._tables[LIVE_NAME]._guard
        tally = writer.tally(LIVE_NAME, watched.window)
        deleted = {
            slice_: tally.gone.get(slice_, 0) + tally.held.get(slice_, 0) for slice_ in {*tally.gone, *tally.held}
        }
        assert (watched.live, watched.deleted) == (tally.live, deleted)
        held = {slice_ for slice_, status in watched.statuses.items() if status == "held"}
        assert set(tally.held) <= held
        assert not held & set(tally.gone)
    rows = writer.fetch(LIVE_NAME, [(SOURCE, key_of(number)) for number in NUMBERS])
    statuses = {hold.slice: hold.status for hold in holds_of(writer.facts(HOLD))}
    opened.close()
    return {key: row for (_, key), row in rows.items()}, {k: v for k, v in statuses.items() if v != "dissolved"}


def stretched(item: Item) -> Item:
    """Return `item` with its time as if the window of a second were WINDOW milliseconds."""
    if isinstance(item, Decision | Sighting):
        return item
    return msgspec.structs.replace(item, event_time=item.event_time * 1000 // WINDOW)


@given(items=sequences(), places=st.lists(st.integers(0, 100), max_size=6))
def test_however_items_are_cut_into_batches_the_same_rows_are_held(
    tmp_path_factory: pytest.TempPathFactory, items: list[Item], places: list[int]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "t.sqlite3"
    one_by_one = taken(path, [[item] for item in items])
    assert taken(path, cut(items, places)) == one_by_one


@given(items=sequences())
def test_an_open_slice_is_held_exactly_if_the_store_counts_too_many_deletes_in_it(
    tmp_path_factory: pytest.TempPathFactory, items: list[Item]
) -> None:
    items = [item for item in items if not isinstance(item, Decision)]
    rows, statuses = taken(tmp_path_factory.mktemp("rows") / "t.sqlite3", [items])
    live = sum(row.state == LIVE for row in rows.values())
    newest = max(item.event_time for item in items if not isinstance(item, Decision | Sighting)) // WINDOW
    for slice_ in (newest - 1, newest):
        lost = sum(row.state != LIVE and row.image is not None and row.as_of // 1000 == slice_ for row in rows.values())
        assert (statuses.get(slice_) == "held") == (lost >= 2 and lost > 0.3 * (live + lost))
