"""How changes enter the row store."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from events.changes import Change, Decision, Position, Sighting, Truncation
from events.erasure import Erasure
from events.log import Applied, Mark
from stores.rows.base import GONE, HELD, LIVE, RowQuery, StoredRow, Tally
from stores.rows.change_intake import applied_after
from stores.rows.columns import COLUMNS, kinds_of, seen_of
from stores.rows.holds import HOLD, Hold, holds_of
from stores.rows.intake import ERASED, RowIntake
from stores.rows.sqlite import SqliteRows
from stores.rows.sqlite_reader import SqliteRowReader
from stores.rows.table import Counts
from tests.stores.row_events import (
    LIVE_NAME,
    NOW,
    SOURCE,
    TABLE,
    Item,
    change,
    gone,
    intake,
    key_of,
    settings,
    truncation,
)


class Store:
    """An intake, its writer, and what it has said."""

    def __init__(self, path: Path, **settings_: float) -> None:
        self.path = path
        self.alerts: list[Hold] = []
        self.counts = Counts()
        self.settings = settings(**settings_)  # type: ignore[arg-type]  # numbers only
        self.intake: RowIntake
        self.writer: SqliteRows
        self.open()

    def open(self) -> None:
        self.intake, self.writer = intake(self.path, self.settings, self.alerts.append, observe=self._observe)

    def reopen(self) -> None:
        self.intake.close()
        self.open()

    def rows(self) -> dict[int, StoredRow]:
        found = self.writer.fetch(LIVE_NAME, [(SOURCE, key_of(number)) for number in range(50)])
        return {int(key[6:-1]): row for (_, key), row in found.items()}

    def states(self) -> dict[int, int]:
        return {number: row.state for number, row in sorted(self.rows().items())}

    def holds(self) -> dict[int, str]:
        return {hold.slice: hold.status for hold in holds_of(self.writer.facts(HOLD))}

    def _observe(self, counts: Counts, marks: Sequence[Mark]) -> None:
        del marks
        self.counts = counts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "tables.sqlite3")
    yield opened
    opened.intake.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Store]:
    """Ten rows, of which at most half may go within a second."""
    opened = Store(tmp_path / "tables.sqlite3", share=0.5, window=1, rows=3)
    opened.intake.write([change(number, 1, {"a": number}) for number in range(10)])
    yield opened
    opened.intake.close()


def mark(offset: int, *, caught_up: bool = False, time: int | None = None, read_at: int = 5, at: int = 0) -> Mark:
    positions: dict[str, Position] = {SOURCE: (0, at)} if at else {}
    return Mark("changes", "0", offset, time, read_at, caught_up, positions=positions, seen_at=read_at)


def test_a_batch_is_joined_in_order_and_each_row_written_once(store: Store) -> None:
    store.intake.write(
        [change(1, 2, {"a": "newer"}), change(1, 1, {"a": "older"}), change(2, 1), gone(2, 2), gone(3, 1)]
    )
    rows = store.rows()
    assert rows[1].image == {"id": 1, "a": "newer"}
    assert store.states() == {1: LIVE, 2: GONE, 3: GONE}
    assert (rows[2].image, rows[3].image) == ({"id": 2}, None)
    assert store.counts == Counts(changed=4, older=1)


def test_what_came_late_or_twice_is_counted_and_changes_nothing(store: Store) -> None:
    store.intake.write([change(1, 5), change(2, (), offset=7)])
    before = store.rows()
    store.intake.write([change(1, 5), change(1, 4), change(2, (), offset=7), change(2, (), offset=3)])
    assert store.rows() == before
    assert store.counts == Counts(older=2, duplicates=2)


def test_a_column_left_out_keeps_its_value_or_gets_it_late(store: Store) -> None:
    store.intake.write([change(1, 1, {"text": "long"}), change(2, 5, silent=["text"])])
    store.intake.write([change(1, 2, {"a": 1}, silent=["text"])])
    store.intake.write([change(2, 3, {"text": "late"})])
    assert store.counts == Counts(changed=1, filled=1)
    rows = store.rows()
    assert rows[1].image == {"id": 1, "a": 1, "text": "long"}
    assert rows[2].image == {"id": 2, "text": "late"}
    assert (rows[2].standing.position, rows[2].gaps) == ((0, 5), {"text": (0, 3)})


def test_a_truncation_deletes_what_is_older_and_keeps_out_what_comes_late(store: Store) -> None:
    store.intake.write([change(1, 1), change(2, 9), truncation(5), change(3, 4), change(4, 6)])
    assert store.states() == {1: GONE, 2: LIVE, 4: LIVE}
    store.reopen()
    store.intake.write([change(5, 3), truncation(2)])
    assert store.states() == {1: GONE, 2: LIVE, 4: LIVE}


def test_a_truncation_that_comes_late_takes_what_was_said_before_it_from_the_rows_that_outlive_it(store: Store) -> None:
    store.intake.write([change(1, 3, {"text": "before"}), change(1, 9, {"a": 1}, silent=["text"])])
    store.intake.write([truncation(5)])
    row = store.rows()[1]
    assert (row.state, row.image, row.gaps) == (LIVE, {"id": 1, "a": 1}, {"text": (0, 5)})


@st.composite
def _histories(draw: st.DrawFn) -> list[Change | Truncation]:
    """Events of a source in its own order: after a delete or a truncation a row begins anew with all its columns."""
    there: set[int] = set()
    items: list[Change | Truncation] = []
    for at in range(1, draw(st.integers(2, 25))):
        number, what = draw(st.integers(0, 3)), draw(st.integers(0, 9))
        if what == 0:
            items.append(truncation(at))
            there.clear()
        elif what < 3 and number in there:
            items.append(gone(number, at))
            there.remove(number)
        elif what < 6 and number in there:
            items.append(change(number, at, {"a": at}, silent=["b"]))
        else:
            items.append(change(number, at, {"a": at, "b": at}))
            there.add(number)
    return items


def _replayed(items: Sequence[Change | Truncation]) -> dict[int, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    for item in items:
        if isinstance(item, Truncation):
            rows.clear()
        elif item.after is None:
            rows.pop(item.key, None)
        else:
            kept = {"b": rows[item.key]["b"]} if item.unavailable else {}
            rows[item.key] = {**item.after, **kept}
    return {row["id"]: row for row in rows.values()}


@examples(max_examples=300)
@given(items=_histories(), data=st.data())
def test_the_table_ends_as_its_source_whatever_the_order_the_batches_and_the_repeats(
    tmp_path_factory: pytest.TempPathFactory, items: list[Change | Truncation], data: st.DataObject
) -> None:
    arriving = data.draw(st.permutations([*items, *data.draw(st.lists(st.sampled_from(items), max_size=4))]))
    ends = sorted({0, *data.draw(st.lists(st.integers(0, len(arriving)), max_size=4)), len(arriving)})
    batches = [arriving[begin:end] for begin, end in itertools.pairwise(ends)]
    store = Store(tmp_path_factory.mktemp("rows") / "t.sqlite3")
    for batch in batches:
        store.intake.write(batch)
    expected = _replayed(items)
    assert {number: row.image for number, row in store.rows().items() if row.state == LIVE} == expected
    before = store.rows()
    for batch in batches[data.draw(st.integers(0, len(batches))) :]:
        store.intake.write(batch)
    assert store.rows() == before
    assert store.writer.tally(LIVE_NAME, 1000).live == len(expected)
    store.intake.close()


# The guard


def test_a_mass_delete_in_one_batch_is_never_seen(guarded: Store) -> None:
    reader = SqliteRowReader(guarded.path)
    guarded.intake.write([gone(number, 100) for number in range(8)])
    assert len(reader.select(RowQuery(table=LIVE_NAME))) == 10
    assert guarded.states() == dict.fromkeys(range(8), HELD) | {8: LIVE, 9: LIVE}
    assert guarded.alerts == holds_of(guarded.writer.facts(HOLD))
    assert guarded.alerts == [Hold(LIVE_NAME, 0, 0, 1000, "held", 8, 10, since=NOW, changed_at=NOW)]
    reader.close()


def test_deletes_that_had_gone_through_come_back_when_their_slice_is_held(guarded: Store) -> None:
    for number in range(5):
        guarded.intake.write([gone(number, 100 + number)])
    assert set(guarded.states().values()) == {LIVE, GONE}
    guarded.intake.write([gone(5, 110)])
    assert guarded.states() == dict.fromkeys(range(6), HELD) | dict.fromkeys(range(6, 10), LIVE)
    guarded.intake.write([gone(6, 120)])
    assert guarded.states()[6] == HELD
    assert len(guarded.alerts) == 1


def test_a_hold_says_how_many_deletes_it_holds_by_now(guarded: Store) -> None:
    for numbers in (range(6), range(6, 9)):
        guarded.intake.write([gone(number, 2) for number in numbers])
    (hold,) = holds_of(guarded.writer.facts(HOLD))
    assert (hold.deleted, hold.rows) == (9, 10)
    assert len(guarded.alerts) == 1


def test_a_hold_dissolves_when_rows_are_created_anew_in_time(guarded: Store) -> None:
    guarded.intake.write([gone(number, 100) for number in range(8)])
    guarded.intake.write([change(number, 200) for number in range(4)])
    assert guarded.holds() == {0: "dissolved"}
    assert guarded.states() == {number: GONE if 4 <= number < 8 else LIVE for number in range(10)}


@pytest.mark.parametrize(("verdict", "state", "live"), [("release", GONE, 2), ("discard", LIVE, 10)])
def test_the_user_decides_on_held_deletes_and_those_that_follow(
    guarded: Store, verdict: str, state: int, live: int
) -> None:
    deletes = [gone(number, 100) for number in range(8)]
    guarded.intake.write(deletes)
    decision = Decision(LIVE_NAME, 0, verdict)  # type: ignore[arg-type]  # a text of the table above
    guarded.intake.write([decision])
    expected = {number: state if number < 8 else LIVE for number in range(10)}
    assert guarded.states() == expected
    assert guarded.writer.tally(LIVE_NAME, 1000).live == live
    guarded.reopen()
    guarded.intake.write([decision, *deletes])
    assert guarded.states() == expected
    guarded.intake.write([gone(9, 150)])
    assert guarded.states() == expected | {9: state}
    guarded.intake.write([gone(8, 5000)])
    assert guarded.states()[8] == GONE


def test_a_decision_may_come_before_the_deletes(guarded: Store) -> None:
    guarded.intake.write([Decision(LIVE_NAME, 0, "discard")])
    guarded.intake.write([gone(number, 100) for number in range(10)])
    assert set(guarded.states().values()) == {LIVE}
    assert guarded.alerts == []
    assert guarded.holds() == {0: "discarded"}


def test_a_decision_on_a_table_that_is_not_live_is_ignored(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.intake.write([Decision("nowhere", 0, "release")])
    assert "'nowhere'" in caplog.text


def test_a_truncation_is_guarded_as_deletes_are(guarded: Store) -> None:
    guarded.intake.write([truncation(100)])
    assert set(guarded.states().values()) == {HELD}
    guarded.intake.write([Decision(LIVE_NAME, 0, "release")])
    assert set(guarded.states().values()) == {GONE}


def test_deletes_that_are_discarded_are_still_subject_to_a_later_truncation(guarded: Store) -> None:
    guarded.intake.write([gone(number, 100) for number in range(8)])
    guarded.intake.write([truncation(5000)])
    guarded.intake.write([Decision(LIVE_NAME, 0, "discard")])
    assert guarded.states() == dict.fromkeys(range(10), HELD)
    assert guarded.holds() == {0: "discarded", 5: "held"}


def test_counts_survive_a_restart(guarded: Store) -> None:
    guarded.intake.write([gone(number, 100) for number in range(5)])
    guarded.reopen()
    guarded.intake.write([gone(5, 110)])
    assert guarded.states() == dict.fromkeys(range(6), HELD) | dict.fromkeys(range(6, 10), LIVE)


def test_after_a_failed_commit_the_intake_goes_on_from_what_is_stored(
    guarded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = guarded.rows()

    def full(hold: Hold) -> None:
        del hold
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(guarded.intake._tables[LIVE_NAME]._holds, "_alert", full)
        with pytest.raises(OSError):  # noqa: PT011  # raised above
            guarded.intake.write([gone(number, 100) for number in range(8)])
    assert guarded.rows() == before
    guarded.intake.write([gone(number, 100) for number in range(8)])
    assert guarded.states() == dict.fromkeys(range(8), HELD) | {8: LIVE, 9: LIVE}
    assert guarded.writer.tally(LIVE_NAME, 1000) == Tally(2, {}, {0: 8})
    assert [(hold.status, hold.deleted, hold.rows) for hold in guarded.alerts] == [("held", 8, 10)]
    assert guarded.holds() == {0: "held"}


# Columns


def sighting(time: int, **kinds: str) -> Sighting:
    return Sighting(SOURCE, TABLE, {(name, kind): (time, time) for name, kind in kinds.items()}, time, time)  # type: ignore[misc]


def test_a_new_column_is_readable_with_the_commit_that_brings_it(store: Store) -> None:
    reader = SqliteRowReader(store.path)
    assert reader.sql("SELECT count(*) FROM flights", rows=1, seconds=5).rows == [(0,)]
    store.intake.write([sighting(1, id="int"), change(1, 1)])
    assert reader.sql("SELECT id FROM flights", rows=1, seconds=5).rows == [(1,)]
    store.intake.write([sighting(2, id="int", gate="text"), change(1, 2, {"gate": "A1"})])
    assert reader.sql("SELECT id, gate FROM flights", rows=1, seconds=5).rows == [(1, "A1")]
    store.reopen()
    store.intake.write([sighting(1, id="decimal")])
    assert kinds_of(seen_of(store.writer.facts(COLUMNS)[LIVE_NAME])) == {"id": "decimal", "gate": "text"}
    reader.close()


def test_when_columns_were_seen_last_is_noted_when_the_epoch_closes(store: Store) -> None:
    store.intake.write([sighting(1, id="int")])
    store.intake.write([sighting(9, id="int")])
    store.intake.close_epoch([])
    seen = seen_of(store.writer.facts(COLUMNS)[LIVE_NAME])
    assert seen is not None
    assert (seen.first, seen.last) == (1, 9)


# Epochs


def test_marks_are_applied_when_their_epoch_closes(store: Store) -> None:
    reader = SqliteRowReader(store.path)
    store.intake.write([change(1, 7)])
    assert reader.applied() == []
    store.intake.close_epoch([mark(3, time=7, at=7)])
    assert reader.applied() == [
        Applied(
            "changes", "0", 3, 7, 5, caught_up=False, applied_at=NOW, positions={SOURCE: (0, 7)}, reached={SOURCE: 5}
        )
    ]
    reader.close()


def test_an_epoch_in_which_nothing_happened_commits_nothing(store: Store) -> None:
    store.intake.close_epoch([mark(3)])
    version = store.writer._db.execute("PRAGMA data_version").fetchone(), store.writer._db.total_changes
    store.intake.close_epoch([])
    store.intake.close_epoch([mark(3)])
    assert (store.writer._db.execute("PRAGMA data_version").fetchone(), store.writer._db.total_changes) == version


def test_reading_again_from_earlier_takes_no_claim_back() -> None:
    before = applied_after(None, mark(10, caught_up=True, time=7, read_at=100, at=9), NOW)
    assert applied_after(before, mark(4, time=3, read_at=200, at=5), NOW + 1) == before
    later = applied_after(before, mark(12, time=5, read_at=200, at=11), NOW + 1)
    assert (later.offset, later.event_time, later.read_at, later.caught_up) == (12, 7, 200, False)
    assert (later.positions, later.reached) == ({SOURCE: (0, 11)}, {SOURCE: 200})


def test_a_log_that_ends_earlier_by_now_is_believed() -> None:
    before = applied_after(None, mark(10, read_at=100), NOW)
    assert applied_after(before, mark(4, caught_up=True, read_at=200), NOW).offset == 4


def test_deletes_are_forgotten_in_event_time(tmp_path: Path) -> None:
    day = 86_400_000
    store = Store(tmp_path / "t.sqlite3", window=60, tombstone_days=1)
    store.intake.write([change(1, 1, time=0), change(2, 1, time=0), gone(1, 2, time=1000)])
    store.intake.close_epoch([])
    assert store.rows()[1].image is not None
    store.intake.write([change(2, 3, time=240_000)])
    store.intake.close_epoch([])
    assert (store.rows()[1].state, store.rows()[1].image) == (GONE, None)
    store.intake.write([change(2, 4, time=day + 300_000)])
    store.intake.close_epoch([])
    assert set(store.rows()) == {2}
    store.intake.close()


def test_nothing_is_forgotten_ahead_of_a_partition_that_is_catching_up(tmp_path: Path) -> None:
    store = Store(tmp_path / "t.sqlite3", window=60)
    store.intake.write([change(1, 1, time=0), gone(1, 2, time=1000), change(2, 3, time=10_000_000)])
    store.intake.close_epoch([mark(3, time=2000)])
    assert store.rows()[1].image is not None
    store.intake.close_epoch([mark(9, time=10_000_000, caught_up=True)])
    assert store.rows()[1].image is None
    store.intake.close()


def test_events_of_a_table_that_is_not_live_are_ignored_and_told(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Change("other", "public.nowhere", "{}", "read", None, {}, 1)
    with caplog.at_level(logging.WARNING):
        items: list[Item] = [stranger, stranger, change(1, 1)]
        store.intake.write(items)
    assert caplog.text.count("public.nowhere") == 1
    assert store.states() == {1: LIVE}


def test_an_erasure_removes_rows_and_keeps_out_what_is_under_way(tmp_path: Path) -> None:
    erased: set[str] = set()
    kept, writer = intake(
        tmp_path / "tables.sqlite3",
        settings(share=0.5, window=1, rows=2),
        barred=lambda change: change.record in erased,
    )
    kept.write([change(number, 1, {"a": number}) for number in range(4)])
    records = tuple(change(number).record for number in (1, 2, 3))
    erasure = Erasure("e1", "default", "p", (*records, "crm/customers/{}"), (), NOW)
    erased.update(records)
    kept.write([change(0, 2, {"a": "before"}), erasure, change(1, 3, {"a": "late"})])
    kept.close_epoch([])
    # The same again, as after a crash, and then a delete that the guard counts.
    kept.write([erasure, change(2, 4, {"a": "late"}), gone(0, 5)])
    found = writer.fetch(LIVE_NAME, [(SOURCE, key_of(number)) for number in range(4)])
    assert {row.key: row.state for row in found.values()} == {key_of(0): GONE}
    assert writer.facts(ERASED) == {"e1": b'{"entries":3}'}
    assert not holds_of(writer.facts(HOLD))
    kept.close()
