"""What is particular to profiles in SQLite; the contract is in tests/contract/test_profiles.py."""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from events.errors import StoreError
from events.persons import Shared
from stores.profiles.base import Place
from stores.profiles.choose import open_profile_reader, open_profile_writer
from stores.profiles.sqlite import SqliteProfiles
from stores.profiles.sqlite_reader import SqliteProfileReader
from stores.rows.base import GONE
from stores.rows.sqlite import SqliteRows
from stores.rows.sqlite_reader import SqliteRowReader
from stores.settings import Settings
from tests.contract.profile_samples import REALM, gone, member, own, profile
from tests.contract.row_samples import NOW, SOURCE, key_of, row

P = own("a")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profiles.sqlite3"


@pytest.fixture
def writer(path: Path) -> Iterator[SqliteProfiles]:
    opened = opened_at(path)
    yield opened
    opened.close()


@pytest.fixture
def reader(path: Path) -> Iterator[SqliteProfileReader]:
    opened = SqliteProfileReader(path)
    yield opened
    opened.close()


def opened_at(path: Path) -> SqliteProfiles:
    return SqliteProfiles(path, lambda: NOW)


def filled(writer: SqliteProfiles) -> None:
    """Use each verb of the writer."""
    writer.put("t", [row(1), row(2, state=GONE)])
    writer.put_members([member("a", P, "email:x", held=("device",)), member("b", P, "email:x"), gone("c")])
    writer.put_members([member("a", P, "email:y", held=("device",))])
    writer.members(["a"])
    writer.members_of([P])
    writer.put_former({"p-1": "a"})
    writer.put_shared([Shared("email:x", REALM, 20, 10), Shared("email:y", REALM, 2, 10)])
    place = Place("orders", "a", 5, (SOURCE, key_of(1)))
    writer.place([place], [place])
    writer.activities("orders", "a")
    writer.put_summaries({("orders", "a"): b"1", ("orders", "b"): None})
    writer.summaries(["a"])
    writer.put_profiles({P: profile(P), "p-2": None})
    list(writer.ids("t", SOURCE))


# The file


def test_profiles_are_kept_in_a_file_of_their_own_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    reader = open_profile_reader(settings)
    assert reader.totals() == (0, 0)
    assert not settings.data_dir.exists()
    writer = open_profile_writer(settings, lambda: NOW)
    writer.put_members([member("a", P)])
    writer.close()
    assert reader.members_of(P) == [member("a", P)]
    reader.close()
    assert settings.profiles_path.exists()
    assert not settings.tables_path.exists()


def test_live_tables_are_not_taken_for_profiles(path: Path) -> None:
    SqliteRows(path, lambda: NOW).close()
    for use in (opened_at, lambda path: SqliteProfileReader(path).totals()):
        with pytest.raises(StoreError, match="another kind, not a profile store"):
            use(path)
    SqliteRows(path, lambda: NOW).close()


def test_profiles_are_not_taken_for_live_tables(path: Path) -> None:
    opened_at(path).close()
    for use in (lambda path: SqliteRows(path, lambda: NOW), lambda path: SqliteRowReader(path).counts()):
        with pytest.raises(StoreError, match="another kind, not a row store"):
            use(path)
    opened_at(path).close()


def test_profiles_of_another_layout_are_refused(path: Path) -> None:
    opened_at(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    for use in (opened_at, lambda path: SqliteProfileReader(path).totals()):
        with pytest.raises(StoreError, match=r"the profile store .* has layout 99"):
            use(path)


def vacuum(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=20)) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def free_pages(writer: SqliteProfiles) -> int:
    return int(writer._db.execute("PRAGMA freelist_count").fetchone()[0])


def test_the_file_is_rewritten_by_another_process_between_two_transactions(
    path: Path, writer: SqliteProfiles, reader: SqliteProfileReader
) -> None:
    expected = []
    for number in range(3):
        many = [member(f"r{number}-{one}", own(f"r{number}-{one}"), f"email:{one}") for one in range(500)]
        with writer.transaction():
            writer.put("t", [row(number)])
            writer.put_members(many)
            writer.put_profiles({one.person: profile(one.person) for one in many})
        expected.append(row(number))
        writer.forget_persons([one.record for one in many[5:]], [one.person for one in many[5:]], [])
        assert free_pages(writer) > 10
        process = multiprocessing.get_context("spawn").Process(target=vacuum, args=(path,))
        process.start()
        process.join(30)
        assert process.exitcode == 0
        assert free_pages(writer) == 0
        assert list(writer.fetch("t", [one.id for one in expected]).values()) == expected
        assert reader.totals() == (5 * len(expected), 5 * len(expected))
        assert len(reader.holders(REALM, "email:3", 9)) == len(expected)
    assert writer._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_no_byte_of_what_was_forgotten_is_left_once_the_file_is_rewritten(path: Path, writer: SqliteProfiles) -> None:
    name = "Wilhelmina"
    person = own(name)
    writer.put("t", [row(1, called=name), row(2)])
    writer.put_members([member(name, person, f"email:{name}"), member("b", own("b"), "email:b")])
    writer.put_former({person: "b", "p-1": name})
    writer.put_shared([Shared(f"email:{name}", REALM, 20, 10)])
    writer.place([], [Place("orders", name, 5, (SOURCE, name))])
    writer.put_summaries({("orders", name): name.encode()})
    writer.put_profiles({person: profile(person, name)})
    everywhere = (path, path.with_name(f"{path.name}-wal"))
    assert any(name.encode() in file.read_bytes() for file in everywhere)
    writer.drop_rows("t", [(SOURCE, key_of(1))])
    assert writer.forget_persons([name], [person], [f"email:{name}"]) == 7
    vacuum(path)
    left = b"".join(file.read_bytes() for file in everywhere)
    assert name.encode() not in left
    assert person.encode() not in left
    assert own("b").encode() in left


def test_nothing_is_kept_of_identifiers_that_are_not_carried_any_more(writer: SqliteProfiles) -> None:
    def kept() -> list[str]:
        return [record for (record,) in writer._db.execute("SELECT record FROM headrace_identifiers ORDER BY record")]

    writer.put_members([member("a", P, "email:x", "email:y"), member("b", P, "email:x"), member("c", P, "email:x")])
    assert kept() == ["a", "a", "b", "c"]
    writer.put_members([member("a", P, "email:y"), gone("b")])
    assert kept() == ["a", "c"]
    writer.forget_persons(["c"], [], [])
    assert kept() == ["a"]
    writer.forget_persons([], [P], [])
    assert kept() == []


def test_a_forked_reader_opens_the_store_for_itself(
    writer: SqliteProfiles, reader: SqliteProfileReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_by: list[int] = []
    monkeypatch.setattr("stores.rows.sqlite_snapshot.register", lambda _: opened_by.append(os.getpid()))
    filled(writer)
    assert reader.person_of("p-1") == P
    assert opened_by == [os.getpid()]

    def read() -> None:
        sys.exit(7 if reader.person_of("p-1") == P and opened_by[1:] == [os.getpid()] else 1)

    process = multiprocessing.get_context("fork").Process(target=read)
    process.start()
    process.join(20)
    assert process.exitcode == 7
    assert reader.person_of("p-1") == P


# Indexes


def test_every_verb_looks_up_what_it_needs_by_an_index(
    path: Path, writer: SqliteProfiles, reader: SqliteProfileReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    monkeypatch.setattr("stores.rows.sqlite_snapshot.register", lambda db: db.set_trace_callback(statements.append))
    writer._db.set_trace_callback(statements.append)
    filled(writer)
    assert reader.member("a") is not None
    reader.profile(P)
    reader.members_of(P)
    for id_ in (P, own("b"), "p-1", "p-none"):
        reader.person_of(id_)
    reader.holders(REALM, "email:x", 9)
    reader.row("t", SOURCE, key_of(1))
    reader.owned("a", 9)
    reader.persons("", 9)
    writer.drop_rows("t", [(SOURCE, key_of(1))])
    writer.forget_persons(["a"], [P], ["email:x"])
    statements = [one for one in statements if re.match(r"\s*(SELECT|INSERT|DELETE|UPDATE)", one)]
    assert len(statements) > 40
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            for step in plan(db, statement):
                # Realms are a few, and json_each is what was asked for.
                assert not re.match(r"SCAN (?!json_each|headrace_realms|CONSTANT|headrace_tables)", step), statement


def test_a_person_is_found_without_reading_payloads_and_what_is_held_back_without_reading_others(
    path: Path, writer: SqliteProfiles
) -> None:
    from stores.profiles import sqlite_schema as schema

    filled(writer)
    with closing(sqlite3.connect(path)) as db:
        held = plan(db, schema.HELD.replace("?", "9"))
        assert "SCAN headrace_members USING COVERING INDEX headrace_members_held" in held
        assert "SEARCH one USING COVERING INDEX headrace_members_person (person=?)" in held
        (members,) = plan(db, "SELECT count(*) FROM headrace_members")
        (profiles,) = plan(db, "SELECT count(*) FROM headrace_persons")
        assert "USING COVERING INDEX" in members
        assert "USING COVERING INDEX" in profiles


def plan(db: sqlite3.Connection, statement: str) -> list[str]:
    return [str(step[3]) for step in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
