"""Profiles equal batch: whatever the order, the batches and the repeats, they are what the final rows make."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.changes import Change, Truncation, position_text
from events.persons import Member, person_id
from events.profiles import Activity, Collection, Field, Profile, RecordRow
from stores.profiles.intake import Item
from stores.profiles.postgres import PostgresProfiles
from stores.profiles.postgres_reader import PostgresProfileReader
from stores.profiles.sqlite import SqliteProfiles
from stores.profiles.sqlite_reader import SqliteProfileReader
from tests.contract.row_samples import postgres_place
from tests.operators.profiles.profile_oracle import Said, expected_collection, expected_field
from tests.servers.postgres import running
from tests.stores.profile_events import (
    NOW,
    PLACES,
    RULES,
    booking,
    change,
    gone,
    intake,
    key_of,
    member,
    own,
    record,
    truncation,
)

EXAMPLES = 20_000 if settings().max_examples > 1_000 else 400

RECORDS = [(table, number) for table in ("people", "users") for number in range(3)]
PERSONS = [own(*record) for record in RECORDS]
Step = tuple[int, int, int, int]

step = st.tuples(st.integers(0, 12), st.integers(0, 2), st.integers(0, 15), st.integers(0, 3))
steps = st.one_of(st.lists(step, max_size=12), st.lists(step, min_size=30, max_size=60))
"""Short histories fail in few words, long ones have persons of several records and activities."""


class Source:
    """The systems themselves: their rows, and the events that they tell of them, oldest first."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.rows: dict[tuple[str, int], RecordRow] = {}
        self.members: dict[str, Member] = {}
        self.events: list[Change | Truncation] = []
        self.told: list[Member] = []
        for at, (what, number, other, value) in enumerate(steps, start=1):
            self._step(at, what, number, other, value)

    def _step(self, at: int, what: int, number: int, other: int, value: int) -> None:
        if what < 2:
            name = ["people", "users"][what]
            columns = {"name": ["Ana", "ANA", "Bo", None][value], "city": ["Bonn", "Bern", "", None][other % 4]}
            self._say(change(name, number, at, {**columns, "news": ["yes", "no", "?", None][value]}), name, number)
        elif what == 2:
            self._say(change("people", number, at, {"name": f"n{value}"}, silent=["city"]), "people", number)
        elif what in {3, 4, 5}:
            owner = [0, 1, 2, None][value]
            status = "open" if what == 3 else "done"
            self._say(booking(other, at, owner, f"{value}.5{what}", status), "bookings", other)
        elif what == 6:
            subject = change("tickets", other, at, {"person": number, "subject": f"s{value}"}, time=value)
            self._say(subject, "tickets", other)
        elif what == 7:
            # The source does not say whose it is, as that has not changed.
            self._say(change("tickets", other, at, {"subject": f"t{value}"}, silent=["person"]), "tickets", other)
        elif what == 8 and value < 3:
            name = ["people", "users", "bookings", "tickets"][value if number else 2]
            self._say(gone(name, other % 4 if value < 2 else other, at), name, other % 4 if value < 2 else other)
        elif what == 9 and number == 0:
            name = ["people", "users", "bookings", "tickets"][value]
            self.events.append(truncation(name, at))
            self.rows = {id_: row for id_, row in self.rows.items() if id_[0] != name}
        else:
            whose = PERSONS[value] if other else ""
            self._tell(member(*RECORDS[(other + value) % len(RECORDS)], whose, f"email:{other}", since=1 + other % 3))

    def _say(self, event: Change, name: str, number: int) -> None:
        known = self.rows.pop((name, number), None)
        if event.after is None:
            self.events.append(event)
            return
        kept = {} if known is None else {column: known.row.get(column) for column in event.unavailable}
        if known is None and event.unavailable:
            # What has just been made is told whole.
            event = change(name, number, event.position[1], event.after, time=event.event_time)
        self.events.append(event)
        columns = {**(event.after or {}), **kept}
        said = RecordRow(record(name, number), name, columns, event.position, event.event_time, NOW)
        self.rows[name, number] = said

    def _tell(self, said: Member) -> None:
        self.told.append(said)
        self.members.pop(said.record, None)
        if said.person:
            self.members[said.record] = said

    def profiles(self) -> dict[str, Profile]:
        persons = {member.person for member in self.members.values()}
        return {
            person: self._profile(person, [one for one in self.members.values() if one.person == person])
            for person in persons
        }

    def _profile(self, person: str, members: list[Member]) -> Profile:
        members.sort(key=lambda one: (one.since, one.record))
        records = [one.record for one in members]
        rows = [row for row in self.rows.values() if row.record in records]
        fields = {rules.name: expected_field(rules, _said(rules.columns, rows)) for rules in RULES.fields}
        emails = sorted({identifier.removeprefix("email:") for one in members for identifier in one.identifiers})
        return Profile(
            person,
            "default",
            members[0].since,
            tuple(person_id("default", each) for each in records[1:]),
            tuple(records),
            {"email": tuple(emails)},
            {name: field for name, field in fields.items() if isinstance(field, Field)},
            dict(self._collections(records)),
        )

    def _collections(self, records: list[str]) -> Iterator[tuple[str, Collection]]:
        for name, table, column in (("bookings", "users", "user"), ("tickets", "people", "person")):
            owned = [
                _activity(number, row)
                for (each, number), row in self.rows.items()
                if each == name and row.row.get(column) is not None and record(table, row.row[column]) in records
            ]
            if owned:
                yield name, expected_collection(RULES.activities[name], owned)


def _said(columns: dict[str, tuple[str, ...]], rows: list[RecordRow]) -> list[Said]:
    found = [(row.row.get(columns[row.table][0]), row) for row in rows if row.table in columns]
    return [Said(value, row.as_of, row) for value, row in found if value]


def _activity(number: int, row: RecordRow) -> Activity:
    if row.table == "tickets":
        shown: dict[str, Any] = {"subject": row.row["subject"]}
        return Activity(row.record, row.as_of, shown, position_text(row.position), row.as_of, NOW)
    is_open, sums = row.row["status"] == "open", {"price": row.row["price"]}
    return Activity(row.record, number * 1000, row.row, position_text(row.position), row.as_of, NOW, is_open, sums)


class Stored:
    """A store, and what it comes to hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = SqliteProfiles(path, lambda: NOW)
        self.intake = intake(self.writer)

    def reopen(self) -> None:
        self.intake.close()
        self.__init__(self.path)  # type: ignore[misc]  # as it was made

    def profiles(self) -> dict[str, Profile]:
        reader = SqliteProfileReader(self.path)
        found = {profile.person: profile for profile in reader.persons("", 1000)}
        reader.close()
        return found


@contextmanager
def stored(path: Path) -> Iterator[Stored]:
    store = Stored(path)
    yield store
    store.intake.close()


def shuffled(source: Source, rng: Random) -> list[Item]:
    """Return all events in any order, some of them twice; of one record it is told in order who it is of."""
    arriving: list[Item] = [*source.events, *rng.sample(source.events, rng.randint(0, min(4, len(source.events))))]
    rng.shuffle(arriving)
    told = source.told[:]
    rng.shuffle(told)
    places = sorted(rng.randint(0, len(arriving)) for _ in told)
    in_order = {each: iter([one for one in source.told if one.record == each]) for each in {m.record for m in told}}
    for shift, (place, one) in enumerate(zip(places, told, strict=True)):
        arriving.insert(place + shift, next(in_order[one.record]))
    return arriving


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(steps=steps, seed=st.integers(0, 2**32))
def test_profiles_are_what_the_final_rows_and_members_make(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step], seed: int
) -> None:
    rng, source = Random(seed), Source(steps)
    arriving = shuffled(source, rng)
    ends = sorted({0, len(arriving), *(rng.randint(0, len(arriving)) for _ in range(rng.randint(0, 6)))})
    batches = [arriving[begin:end] for begin, end in itertools.pairwise(ends)]
    expected = source.profiles()
    with stored(tmp_path_factory.mktemp("profiles") / "p.sqlite3") as store:
        for batch in batches:
            store.intake.write(batch)
            if rng.random() < 0.1:
                store.reopen()
        assert store.profiles() == expected
        for batch in batches[rng.randint(0, len(batches)) :]:
            store.intake.write(batch)
        assert store.profiles() == expected
        summaries = store.writer.summaries([record(*one) for one in RECORDS])
        assert all(_is_known(source, *name) for name in summaries)


def test_profiles_in_postgresql_are_the_same(request: pytest.FixtureRequest) -> None:
    for seed in range(8):
        rng = Random(seed)
        source = Source(
            [(rng.randint(0, 12), rng.randint(0, 2), rng.randint(0, 15), rng.randint(0, 3)) for _ in range(50)]
        )
        arriving = shuffled(source, rng)
        with postgres_place(running(request.config).dsn()) as made:
            store, reader = (
                intake(PostgresProfiles(made.dsn, made.schema)),
                PostgresProfileReader(made.dsn, made.schema),
            )
            for begin in range(0, len(arriving), 13):
                store.write(arriving[begin : begin + 13])
            assert {profile.person: profile for profile in reader.persons("", 1000)} == source.profiles()
            reader.close()
            store.close()


def _is_known(source: Source, table: str, owner: str) -> bool:
    """Tell whether there is an activity of the owner."""
    of, column = {"bookings": ("users", "user"), "tickets": ("people", "person")}[table]
    numbers = {row.row.get(column) for (name, _), row in source.rows.items() if name == table}
    return any(owner == f"{PLACES[of][0]}/{PLACES[of][1]}/{key_of(each)}" for each in numbers if each is not None)
