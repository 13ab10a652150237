"""How a row and an event are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.changes import Change, Standing
from stores.rows.base import GONE, HELD, LIVE, Known, StoredRow
from stores.rows.join import Emptied, emptied_gaps, join, needs_image
from tests.stores.row_events import NOW, change, gone


def joined(events: Sequence[Change], row: StoredRow | None = None) -> StoredRow | None:
    for event in events:
        row = join(row, event, NOW) or row
    return row


def newest_words(events: Sequence[Change]) -> dict[str, Any] | None:
    """Return what each column is by its newest event that says anything of it; None for a deleted row."""
    by_age = sorted(events, key=lambda event: event.position)
    if by_age[-1].after is None:
        return None
    image: dict[str, Any] = {}
    for column in ("id", "a", "b"):
        saying = [event for event in by_age if column not in event.unavailable]
        if saying and saying[-1].after is not None and column in saying[-1].after:
            image[column] = saying[-1].after[column]
    return image


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Events of one row at distinct positions, in any order, some more than once."""
    events = []
    for at in range(draw(st.integers(1, 7))):
        if draw(st.integers(0, 4)) == 0:
            events.append(gone(1, at))
            continue
        what = {column: draw(st.sampled_from(["said", "silent", "absent"])) for column in "ab"}
        after = {column: f"{column}{at}" for column in "ab" if what[column] == "said"}
        events.append(change(1, at, after, silent=[column for column in "ab" if what[column] == "silent"]))
    again = draw(st.lists(st.sampled_from(events), max_size=3))
    return draw(st.permutations([*events, *again]))


@given(histories())
@example([change(1, 3, silent="a"), gone(1, 2), change(1, 1, {"a": "before the delete"})])
@example([change(1, 3, silent="a"), change(1, 2), change(1, 1, {"a": "before there was none"})])
def test_a_row_is_what_the_newest_events_say_of_each_column_in_any_order(events: list[Change]) -> None:
    row = joined(events)
    assert row is not None
    expected = newest_words(events)
    assert row.state == (GONE if expected is None else LIVE)
    if expected is not None:
        assert row.image == expected
        unknown = {column for column in row.gaps if column not in expected}
        newest = max(events, key=lambda event: event.position)
        assert unknown == set(newest.unavailable) - expected.keys()
    assert row.standing.position == max(event.position for event in events)


@given(histories(), st.data())
def test_taking_any_part_in_again_changes_nothing(events: list[Change], data: st.DataObject) -> None:
    row = joined(events)
    again = data.draw(st.lists(st.sampled_from(events)))
    assert [join(row, event, NOW + 1) for event in again] == [None] * len(again)


@given(histories())
def test_what_is_known_of_a_row_is_enough_unless_the_image_is_needed(events: list[Change]) -> None:
    row: StoredRow | None = None
    for event in events:
        whole = join(row, event, NOW)
        if row is not None:
            known = Known(row.state, row.standing, row.as_of, row.image is not None, row.gaps)
            if not needs_image(event, known):
                assert join(known, event, NOW) == whole
        row = whole or row


def test_an_event_without_a_position_leaves_the_one_that_the_row_has() -> None:
    row = joined([change(1, 5, {"a": 1}), change(1, (), {"a": 2}, offset=9)])
    assert row is not None
    assert row.standing == Standing((0, 5), "changes", 0, 9)
    assert joined([change(1, 4, {"a": 3}, offset=10)], row) == row


def test_without_positions_the_log_decides() -> None:
    events = [change(1, (), {"a": offset}, offset=offset) for offset in (1, 2, 3)]
    row = joined([*events, *events[:2]])
    assert row is not None
    assert row.image == {"id": 1, "a": 3}


def test_a_deleted_row_keeps_its_last_image_and_when_it_first_went() -> None:
    row = joined([change(1, 1, {"a": 1}), gone(1, 2), gone(1, 3)])
    assert row is not None
    assert (row.state, row.image, row.as_of, row.standing.position) == (GONE, {"id": 1, "a": 1}, 2, (0, 3))


def test_a_row_that_was_never_seen_is_deleted_without_an_image() -> None:
    row = joined([gone(1, 2), change(1, 1, {"a": 1})])
    assert row is not None
    assert (row.state, row.image) == (GONE, None)


def test_a_held_row_that_is_created_anew_forgets_what_was_known() -> None:
    row = joined([change(1, 1, {"a": "old"}), gone(1, 2)])
    assert row is not None
    held = StoredRow(row.source, row.key, row.image, HELD, row.standing, row.as_of, NOW)
    anew = join(held, change(1, 3, silent="a"), NOW)
    assert anew is not None
    assert (anew.state, anew.image, anew.gaps) == (LIVE, {"id": 1}, {"a": (0, 2)})


@pytest.mark.parametrize("state", [GONE, HELD])
def test_a_deleted_row_stays_what_it_last_was(state: int) -> None:
    standing = Standing((0, 5), "changes", 0, 5)
    row = StoredRow("operations", '{"id":1}', {"id": 1}, state, standing, 5, NOW, gaps={"a": None})
    assert join(row, change(1, 3, {"a": "late"}), NOW) is None


class TestTruncations:
    emptied = Emptied(Standing((0, 5), "changes", 0, 50), 5)

    def test_an_event_from_before_it_is_ignored(self) -> None:
        assert join(None, change(1, 4), NOW, self.emptied) is None
        assert join(None, change(1, 6), NOW, self.emptied) is not None

    def test_without_positions_only_what_came_before_it_in_its_partition_is_older(self) -> None:
        emptied = Emptied(Standing((), "changes", 0, 50), 5)
        assert join(None, change(1, (), offset=49), NOW, emptied) is None
        assert join(None, change(1, (), offset=51), NOW, emptied) is not None
        assert join(None, change(1, (), offset=49, partition=1), NOW, emptied) is not None

    def test_a_row_that_came_after_it_knows_nothing_from_before(self) -> None:
        row = join(None, change(1, 6, silent="a"), NOW, self.emptied)
        assert row is not None
        assert row.gaps == {"a": (0, 5)}

    def test_a_row_that_outlives_it_loses_what_was_said_before(self) -> None:
        row = joined([change(1, 3, {"a": "before", "b": 1}), change(1, 9, {"b": 2}, silent="a")])
        assert row is not None
        cleared = emptied_gaps(row, self.emptied, NOW)
        assert cleared is not None
        assert (cleared.image, cleared.gaps) == ({"id": 1, "b": 2}, {"a": (0, 5)})
        assert emptied_gaps(cleared, self.emptied, NOW) is None


def test_a_missing_image_that_is_needed_is_a_mistake_of_the_caller() -> None:
    known = Known(LIVE, Standing((0, 1), "changes", 0, 1), 1, imaged=True)
    with pytest.raises(TypeError):
        join(known, gone(1, 2), NOW)
