"""What is particular to the journal of an identity graph in SQLite."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from events.errors import StoreError
from events.log import Mark
from operators.identity.journal import Journal
from stores.journal.sqlite import SqliteJournal, journal_applied

KEEP = 60.0
SECOND = 1_000


class SetClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now

    def go_on(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "identity" / "default.sqlite3"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def journal(path: Path, clock: SetClock) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(path, clock, keep_seconds=KEEP)
    yield opened
    opened.close()


def content(journal: Journal) -> dict[str, bytes]:
    return dict(journal.load())


def counted(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608  # our own names


def mark(offset: int, *, caught_up: bool = False, read_at: int = 5) -> Mark:
    return Mark("customers", "0", offset, 7, read_at, caught_up)


# The file


def test_a_second_writer_is_told_which_process_writes(path: Path, clock: SetClock, journal: SqliteJournal) -> None:
    del journal
    with pytest.raises(StoreError, match=rf"identity journal .*process {os.getpid()}"):
        SqliteJournal(path, clock)


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_refused_with_the_remedy(path: Path, clock: SetClock, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for use in (lambda: SqliteJournal(path, clock), lambda: journal_applied(path)):
        for _ in range(2):  # the first failure has let go of the lock
            with pytest.raises(StoreError, match="move it aside with the flow's recovery folder"):
                use()
    assert path.read_bytes() == content


def test_a_database_of_another_kind_is_refused(path: Path, clock: SetClock) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
    for use in (lambda: SqliteJournal(path, clock), lambda: journal_applied(path)):
        with pytest.raises(StoreError, match="another kind"):
            use()


def test_a_journal_of_another_layout_is_refused(path: Path, clock: SetClock, journal: SqliteJournal) -> None:
    journal.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="layout 99"):
        SqliteJournal(path, clock)


def test_a_journal_keeps_the_id_that_it_was_made_with(path: Path, clock: SetClock) -> None:
    ids = iter(["first", "second"])
    for _ in range(2):
        journal = SqliteJournal(path, clock, identity=lambda: next(ids))
        assert journal.identity == "first"
        journal.close()
    assert list(ids) == ["second"]


def test_journals_of_different_realms_have_different_ids(tmp_path: Path, clock: SetClock) -> None:
    journals = [SqliteJournal(tmp_path / f"{realm}.sqlite3", clock) for realm in ("north", "south")]
    assert len({journal.identity for journal in journals}) == 2
    for journal in journals:
        journal.close()


def test_it_goes_on_while_another_process_packs_the_file(path: Path, journal: SqliteJournal) -> None:
    journal.put({"a": b"1", "b": b"1"})
    first = journal.close_epoch([])
    journal.put({"a": b"2", "c": b"2"})
    journal.close_epoch([])
    with closing(sqlite3.connect(path)) as other:
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    journal.put({"d": b"3"})
    journal.close_epoch([])
    assert content(journal) == {"a": b"2", "b": b"1", "c": b"2", "d": b"3"}
    assert journal.roll_back(first) == {"a", "c", "d"}
    assert content(journal) == {"a": b"1", "b": b"1"}


def test_what_was_forgotten_is_in_no_file_once_it_is_packed(path: Path, journal: SqliteJournal) -> None:
    for number in range(4):
        journal.put({f"record-of-anna-{number % 2}": b"anna@one.example %d" % number, "other": b"%d" % number})
        journal.close_epoch([])
    journal.put({"record-of-anna-1": None})
    assert journal.forget(["record-of-anna-0", "record-of-anna-1", "never-was"]) == 2
    with closing(sqlite3.connect(path)) as other:
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert {file.name for file in path.parent.iterdir() if b"anna" in file.read_bytes()} == set()
    assert content(journal) == {"other": b"3"}


# Sequences


def test_a_value_that_is_put_twice_in_a_sequence_is_kept_once(path: Path, journal: SqliteJournal) -> None:
    for number in range(5):
        journal.put({"a": b"%d" % number})
    assert (counted(path, "entries"), counted(path, "former")) == (1, 0)
    journal.close_epoch([])
    for number in range(5):
        journal.put({"a": b"%d" % number})
    assert (counted(path, "entries"), counted(path, "former")) == (1, 1)


def test_idle_epochs_are_one_sequence_and_write_nothing(path: Path, clock: SetClock, journal: SqliteJournal) -> None:
    journal.put({"a": b"1"})
    sequence = journal.close_epoch([mark(3)])
    written = path.with_name(f"{path.name}-wal").stat().st_size
    for _ in range(1_000):
        clock.go_on(1)
        journal.put({})
        journal.put({"never was": None})
        assert journal.close_epoch([mark(3)]) == sequence
        assert journal.close_epoch([]) == sequence
    assert path.with_name(f"{path.name}-wal").stat().st_size - written < 20_000  # the first epoch of all has gone
    assert counted(path, "epochs") == 1
    assert journal.roll_back(sequence) == set()


def test_idle_epochs_whose_marks_go_on_note_that_and_do_not_grow(path: Path, journal: SqliteJournal) -> None:
    journal.put({"a": b"1"})
    sequence = journal.close_epoch([mark(3)])
    for second in range(1, 51):
        assert journal.close_epoch([mark(3 + second, caught_up=True, read_at=second)]) == sequence
    assert counted(path, "epochs") == 2
    (applied,) = journal_applied(path)
    assert (applied.offset, applied.read_at, applied.caught_up) == (53, 50, True)


def test_an_hour_of_epochs_is_kept_and_not_more(path: Path, clock: SetClock, journal: SqliteJournal) -> None:
    sequences = []
    for number in range(200):
        clock.go_on(1)
        journal.put({"a": b"%d" % number, f"b{number}": b"x", f"b{number - 3}": None})
        sequences.append(journal.close_epoch([]))
    assert counted(path, "epochs") == KEEP + 1
    assert counted(path, "former") == 2 * KEEP
    with pytest.raises(StoreError, match=r"older than what .* keeps: 1 minutes \(remove the recovery folder"):
        journal.roll_back(sequences[138])
    for number in (199, 170, 139):
        journal.roll_back(sequences[number])
        assert content(journal) == {"a": b"%d" % number, **{f"b{number - back}": b"x" for back in range(3)}}


def test_the_state_of_a_long_quiet_time_is_kept_after_it(clock: SetClock, journal: SqliteJournal) -> None:
    journal.put({"a": b"1"})
    quiet = journal.close_epoch([])
    clock.go_on(1_000 * KEEP)
    journal.put({"a": b"2"})
    journal.close_epoch([])
    clock.go_on(KEEP - 1)
    journal.close_epoch([])
    assert journal.roll_back(quiet) == {"a"}
    assert content(journal) == {"a": b"1"}


def test_old_generations_go_a_few_at_a_time_also_while_nothing_happens(
    path: Path, clock: SetClock, journal: SqliteJournal
) -> None:
    for number in range(2):
        journal.put({f"r{record}": b"%d" % number for record in range(12_000)})
        journal.close_epoch([])
    clock.go_on(KEEP)
    left = []
    for _ in range(4):
        journal.close_epoch([])
        left.append(counted(path, "former"))
    assert left == [7_000, 2_000, 0, 0]


def test_a_clock_that_is_set_back_removes_nothing_too_early(clock: SetClock, journal: SqliteJournal) -> None:
    journal.put({"a": b"1"})
    first = journal.close_epoch([])
    clock.go_on(-10 * KEEP)
    for number in (2, 3):
        journal.put({"a": b"%d" % number})
        journal.close_epoch([])
    assert journal.roll_back(first) == {"a"}
    assert content(journal) == {"a": b"1"}


def test_a_sequence_that_was_given_up_is_never_taken_for_a_later_one(journal: SqliteJournal) -> None:
    journal.put({"a": b"1"})
    first = journal.close_epoch([])
    journal.put({"a": b"2"})
    given_up = journal.close_epoch([])
    journal.roll_back(first)
    journal.put({"a": b"3"})
    for _ in range(2):
        with pytest.raises(StoreError, match="a copy from before"):
            journal.roll_back(given_up)
        assert journal.close_epoch([]) > given_up


def test_a_journal_that_is_behind_the_recovery_folder_refuses(
    path: Path, clock: SetClock, journal: SqliteJournal, tmp_path: Path
) -> None:
    journal.put({"a": b"1"})
    journal.close_epoch([])
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as copy:
        db.backup(copy)
    journal.put({"a": b"2"})
    later = journal.close_epoch([])
    older = SqliteJournal(tmp_path / "copy.sqlite3", clock)
    with pytest.raises(StoreError, match=r"is older than the recovery folder.*remove the recovery folder"):
        older.roll_back(later)
    assert content(older) == {"a": b"1"}
    older.close()


def test_what_came_and_went_since_is_named_in_a_roll_back(journal: SqliteJournal) -> None:
    sequence = journal.close_epoch([])
    journal.put({"a": b"1"})
    journal.put({"a": None})
    assert journal.roll_back(sequence) == {"a"}


# What is still to be told


def test_what_a_roll_back_has_named_is_named_at_every_start_until_it_has_been_told(
    path: Path, clock: SetClock, journal: SqliteJournal
) -> None:
    journal.put({"a": b"1"})
    sequence = journal.close_epoch([])
    journal.put({"a": b"2", "b": b"2"})
    for _ in range(3):
        assert journal.roll_back(sequence) == {"a", "b"}
        journal.close()
        journal = SqliteJournal(path, clock, keep_seconds=KEEP)
    assert journal.roll_back(sequence) == {"a", "b"}
    assert journal.close_epoch([]) == sequence  # nothing came
    assert journal.roll_back(sequence) == {"a", "b"}
    journal.told()
    later = journal.close_epoch([])
    assert later > sequence
    journal.close()
    journal = SqliteJournal(path, clock, keep_seconds=KEEP)
    assert journal.roll_back(later) == set()
    assert journal.close_epoch([]) == later
    # Whoever goes back to before it was told has to tell it again, and so has whoever knows nothing.
    assert journal.roll_back(sequence) == {"a", "b"}
    assert journal.roll_back(None) == {"a", "b"}
    journal.close()


def test_whoever_does_not_know_what_was_told_is_told_what_has_been_removed(journal: SqliteJournal) -> None:
    journal.put({"a": b"1", "b": b"1", "c": b"1"})
    sequence = journal.close_epoch([])
    journal.put({"a": b"2", "b": None})
    journal.close_epoch([])
    assert journal.roll_back(None) == {"b"}
    assert content(journal) == {"a": b"2", "c": b"1"}
    assert journal.roll_back(sequence) == {"a", "b"}


def test_names_go_once_nobody_can_go_back_to_before_they_were_told(
    path: Path, clock: SetClock, journal: SqliteJournal
) -> None:
    sequence = journal.close_epoch([])
    journal.put({"a": b"1"})
    journal.roll_back(sequence)
    journal.told()
    journal.close_epoch([])
    for seconds in (KEEP - 1, 1):
        assert counted(path, "untold") == 1
        clock.go_on(seconds)
        journal.close_epoch([])
    assert counted(path, "untold") == 0


def test_a_name_that_is_forgotten_is_not_told_any_more(journal: SqliteJournal) -> None:
    sequence = journal.close_epoch([])
    journal.put({"a": b"1", "b": b"1"})
    journal.roll_back(sequence)
    journal.forget(["a"])
    assert journal.roll_back(sequence) == {"b"}


# How far it has come


def test_a_roll_back_takes_back_how_far_it_has_come(path: Path, journal: SqliteJournal) -> None:
    assert journal_applied(path.with_name("absent.sqlite3")) == []
    assert journal_applied(path) == []
    for number in (1, 2):
        journal.put({"a": b"%d" % number})
        sequence = journal.close_epoch([mark(10 * number)])
    assert [one.offset for one in journal_applied(path)] == [20]
    journal.roll_back(sequence - 1)
    assert [one.offset for one in journal_applied(path)] == [10]
    assert journal.applied() == journal_applied(path)


def test_marks_of_an_epoch_that_is_read_again_take_nothing_back(journal: SqliteJournal) -> None:
    journal.close_epoch([mark(20)])
    journal.close_epoch([mark(10)])
    assert [one.offset for one in journal.applied()] == [20]
