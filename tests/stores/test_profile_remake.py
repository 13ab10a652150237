"""How the profile store follows its settings: it ends as if it had been made by them from the beginning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from events.changes import Change
from events.profiles import Profile
from operators.identity.configure import profile_rules
from stores.profiles import remake
from stores.profiles.base import ProfileWriter
from stores.profiles.intake import Item
from stores.profiles.sqlite import SqliteProfiles
from stores.profiles.sqlite_reader import SqliteProfileReader
from stores.rows.base import RowId, StoredRow
from tests.stores.profile_events import NOW, PLACES, booking, change, gone, intake, member, own, record, settings
from tests.stores.test_profile_intake import mark

BOOKINGS: dict[str, Any] = {"name": "bookings", "references": "users", "by": {"user": "id"}}
TICKETS: dict[str, Any] = {"name": "tickets", "references": "people", "by": {"person": "id"}}
ANA, BO = own("people", 1), own("users", 2)
Tables = dict[str, dict[str, Any] | None]

BEFORE: list[Item] = [
    change("people", 1, 1, {"name": "Ana", "city": "Bonn"}),
    change("users", 1, 2, {"name": "Ana B.", "city": "Bern"}),
    change("users", 2, 3, {"name": "Bo"}),
    *(booking(number, 10 + number, 1 + number % 3, "100", "open", silent=()) for number in range(30)),
    change("bookings", 50, 60, {"user": 1, "person": 2, "price": "50", "status": "open", "at": "nonsense"}),
    change("tickets", 1, 61, {"person": 1, "subject": "lost bag"}),
    member("people", 1, ANA, "email:a@x", since=1),
    member("users", 1, ANA, "email:a@x", since=2),
    member("users", 2, BO, "email:b@x", since=3),
]
AFTER: list[Item] = [
    booking(3, 70, 1, "120", "done"),
    gone("bookings", 0, 71),
    gone("bookings", 6, 72),
    booking(4, 73, 1, "7", "open"),
    change("bookings", 50, 74, {"user": 2, "person": 1, "price": "3", "at": "1971-01-01"}),
    # Whose these are comes after them.
    member("users", 3, own("users", 3), "email:c@x", since=9),
    change("people", 2, 75, {"name": "Cy"}),
    member("people", 2, own("people", 2), since=10),
]


class Failing(SqliteProfiles):
    """A writer that is lost when it has read so many batches of rows, or of persons."""

    left = 10**9

    def live_rows(self, table: str, after: RowId, limit: int) -> list[StoredRow]:
        self._count()
        return super().live_rows(table, after, limit)

    def person_ids(self, after: str, limit: int) -> list[str]:
        self._count()
        return super().person_ids(after, limit)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


class Flow:
    """A store that a flow runs into, again and again, by different settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.erased: set[str] = set()

    def run(
        self,
        items: Sequence[Item] = (),
        *,
        lost_after: int | None = None,
        fields: Sequence[dict[str, Any]] = (),
        **tables: dict[str, Any] | None,
    ) -> None:
        """Run the flow until there is nothing left to read.

        :arg lost_after: Batches after which the process is lost while it starts.
        :arg tables: Settings beside the plain ones, by table; None leaves the table out.
        """
        by = settings_of(fields, tables)
        writer = Failing(self.path, lambda: NOW)
        if lost_after is not None:
            writer.left = lost_after
        opened = intake(
            writer,
            by,
            is_erased=lambda key, owner: bool({key, owner} & self.erased),
            rules=profile_rules(by),
        )
        opened.write(list(items))
        opened.close_epoch([mark(100)])
        opened.close()

    def content(self) -> tuple[list[Profile], object]:
        reader, writer = SqliteProfileReader(self.path), SqliteProfiles(self.path, lambda: NOW)
        records = [record(name, number) for name in ("people", "users") for number in range(4)]
        places = [(one, name, writer.activities(name, one)) for one in records for name in ("bookings", "tickets")]
        found = reader.persons("", 100), (places, sorted(writer.summaries(records)))
        reader.close()
        writer.close()
        return found

    def profiles(self) -> dict[str, Profile]:
        return {profile.person: profile for profile in self.content()[0]}


def settings_of(fields: Sequence[dict[str, Any]], more: Tables) -> Any:
    tables: list[dict[str, Any]] = [
        {"name": name, "identifiers": {"email": ["email"]}, "source": PLACES[name][0], "table": PLACES[name][1]}
        for name in ("people", "users")
    ]
    for plain in (BOOKINGS, TICKETS):
        name = plain["name"]
        given = more.get(name, {})
        if given is not None:
            tables.append({**plain, "source": PLACES[name][0], "table": PLACES[name][1], **given})
    return settings(tables=tables, fields=list(fields))


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return Flow(tmp_path / "profiles.sqlite3")


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., Flow]:
    def make(*runs: list[Item], **by: Any) -> Flow:
        made = Flow(tmp_path / f"fresh{len(list(tmp_path.iterdir()))}.sqlite3")
        for items in runs:
            made.run(items, **by)
        return made

    return make


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remake, "AT_ONCE", 1)
    monkeypatch.setattr(remake, "_COMMIT_EVERY", 1)


CHANGES: list[dict[str, Any]] = [
    {"bookings": {"sums": ["price"]}},
    {"bookings": {"time": "at"}},
    {"bookings": {"open": {"status": ["open"]}}},
    {"bookings": {"last": 20, "show": ["status"]}},
    {"bookings": {"by": {"person": "id"}}},
    {"bookings": {"references": "people", "by": {"user": "id"}}},
    {"bookings": {"sums": ["price"], "time": "at"}, "tickets": {"time": "at", "last": 0}},
    {"fields": [{"name": "town", "columns": {"people": "city", "users": "city"}, "rule": "union"}]},
    {"bookings": None},
]


@pytest.mark.parametrize("by", CHANGES)
def test_a_store_made_by_other_settings_becomes_as_if_made_by_these(
    flow: Flow, fresh: Callable[..., Flow], by: dict[str, Any]
) -> None:
    flow.run(BEFORE)
    unlike = flow.content()
    flow.run(**by)
    expected = fresh(BEFORE, **by)
    assert flow.content()[0] == expected.content()[0] != unlike[0]
    if by != {"bookings": None}:
        assert flow.content()[1] == expected.content()[1]
    flow.run(AFTER, **by)
    assert flow.profiles() == fresh(BEFORE, AFTER, **by).profiles()
    # And back again, but for what was told of a table while it was left out.
    flow.run()
    missed = {PLACES[name] for name, one in by.items() if one is None}
    read = [one for one in AFTER if not (isinstance(one, Change) and (one.source, one.table) in missed)]
    assert flow.profiles() == fresh(BEFORE, read).profiles()


def test_totals_are_right_when_a_sum_is_asked_for_later(flow: Flow) -> None:
    flow.run([*BEFORE[:3], *BEFORE[-3:], booking(1, 10, 1, "100"), booking(2, 11, 1, "50")])
    flow.run([booking(1, 12, 1, "120")], bookings={"sums": ["price"]})
    assert flow.profiles()[ANA].collections["bookings"].sums == {"price": "170"}


@pytest.mark.parametrize("lost_after", [0, 1, 17, 31, 32, 33, 34])
@pytest.mark.parametrize("reverted", [False, True])
def test_a_remaking_that_was_interrupted_begins_again_whatever_the_settings_are_by_then(
    flow: Flow, fresh: Callable[..., Flow], lost_after: int, reverted: bool
) -> None:
    by: dict[str, Any] = {
        "bookings": {"by": {"person": "id"}},
        "fields": [{"name": "town", "columns": {"people": "city"}}],
    }
    flow.run(BEFORE)
    with pytest.raises(KeyboardInterrupt):
        flow.run(**by, lost_after=lost_after)
    then: dict[str, Any] = {} if reverted else by
    flow.run(AFTER, **then)
    assert flow.content() == fresh(BEFORE, AFTER, **then).content()


def test_a_table_left_out_while_it_was_remade_is_whole_when_it_is_named_again(flow: Flow) -> None:
    flow.run(BEFORE)
    before = flow.content()
    with pytest.raises(KeyboardInterrupt):
        flow.run(bookings=None, lost_after=1)
    flow.run()
    assert flow.content() == before


def test_the_same_settings_cost_nothing(flow: Flow, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        flow.run(BEFORE)
        flow.run(lost_after=0)
    assert caplog.records == []


def test_the_log_tells_how_far_a_remaking_is_and_warns_of_nothing(
    flow: Flow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remake, "AT_ONCE", 4)
    monkeypatch.setattr(remake, "_COMMIT_EVERY", 8)
    flow.run(BEFORE)
    with caplog.at_level(logging.INFO):
        flow.run(bookings={"sums": ["price"]})
    placed = [one.getMessage() for one in caplog.records]
    assert placed[0] == "the settings of bookings have changed: 8 of 31 activities placed anew"
    assert placed[3] == "the settings of bookings have changed: 31 of 31 activities placed anew"
    assert placed[4] == "the settings of profiles have changed: 2 persons merged anew"
    assert {one.levelno for one in caplog.records} == {logging.INFO}


def test_a_table_that_is_added_is_told_to_lack_what_was_read_before(
    flow: Flow, caplog: pytest.LogCaptureFixture
) -> None:
    flow.run(BEFORE[:3], bookings=None)
    assert caplog.records == []
    flow.run(BEFORE[3:])
    said = (
        "[[profiles.tables]] 'bookings' has been added: events that were read before are not in it; to read them "
        "again, stop the flow and remove the profile store, the identity folder and the recovery folder"
    )
    assert [one.getMessage() for one in caplog.records] == [said]
    caplog.clear()
    flow.run(bookings=None)
    assert caplog.records == []
    flow.run()
    assert [one.getMessage() for one in caplog.records] == [said]
    assert flow.profiles()[BO].collections["bookings"].count == 10


def test_what_only_reading_again_could_change_is_told(flow: Flow, caplog: pytest.LogCaptureFixture) -> None:
    flow.run(BEFORE)
    flow.run(bookings={"columns": {"at": "date-days"}, "initiator": "by"})
    flow.run(bookings={"table": "reservations", "columns": {"at": "date-days"}, "initiator": "by"})
    decoded, another = (one.getMessage() for one in caplog.records)
    assert "settings of [[profiles.tables]] 'bookings' have changed (columns, initiator): rows that" in decoded
    assert "'bookings' is made of another table than before" in another


def test_activities_that_come_to_be_of_an_erased_record_go(flow: Flow) -> None:
    flow.run(BEFORE)
    flow.erased.add(record("users", 2))
    flow.run(bookings={"by": {"person": "id"}})
    assert "bookings" not in flow.profiles()[BO].collections
    flow.run()
    assert flow.profiles()[ANA].collections["bookings"].count == 10


def test_an_addition_merges_nobody(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flow.run(BEFORE[:3], bookings=None)

    def touched(writer: ProfileWriter, persons: object) -> None:
        pytest.fail("persons are merged")

    monkeypatch.setattr(remake, "_merge", touched)
    flow.run()
