"""The lake's writer: what it keeps, amends, refuses, forgets and leaves on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from events.errors import RejectedError, StoreError
from events.feedback import FeedbackEvent, Point, Rating, Said, ShownContext, ShownItem, Turn
from events.log import Mark
from stores.compaction import compact
from stores.lake.choose import open_lake
from stores.lake.intake import LakeIntake
from stores.lake.reader import LakeReader
from stores.lake.rows import check_event, conversation_row, events_of
from stores.lake.schema import schema
from stores.lake.working_size import read_working
from stores.settings import Settings
from stores.sink import StoreSink
from tests.dataflows.lake_content import BEGIN, DAY, HOUR, OBJECTIVE, expected, rows_in, story


def objective(source: str) -> float:
    del source
    return OBJECTIVE


class Home:
    """A lake in a folder of its own, with a clock that stands still."""

    def __init__(self, folder: Path, **lake: Any) -> None:
        self.settings = Settings.model_validate({"data_dir": folder, "lake": lake})
        self.now = BEGIN

    def open(self) -> LakeIntake:
        return open_lake(self.settings, lambda: self.now, objective)

    def take(self, *events: Said | Point, offset: int = 0) -> None:
        """Take events in, in one epoch of one run."""
        intake = self.open()
        intake.write(events)
        intake.close_epoch([Mark("chat", "0", offset, BEGIN, BEGIN, caught_up=True)] if offset else [])
        intake.close()

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return rows_in(self.settings.lake_dir)

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(str(self.settings.lake_dir))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a lake that is not there yet, in a folder whose name is hard to quote."""
    return Home(tmp_path / "it's 100 % ours")


def turn(conversation: str = "c", id_: str = "1", time: int = BEGIN, text: str = "hello", **more: Any) -> Turn:
    return Turn(conversation, id_, time, "assistant", text, **more)


def some_events(seed: int = 2, conversations: int = 60) -> list[Said]:
    return [event for event in story(seed, conversations) if not isinstance(event, Point)]


def test_an_absent_lake_is_empty(tmp_path: Path) -> None:
    reader = LakeReader(tmp_path / "lake")
    assert reader.count() == 0
    assert list(reader.rows()) == []
    assert read_working(tmp_path / "none.sqlite3").kept == 0


def test_what_did_not_change_is_not_written_again(home: Home) -> None:
    home.take(turn(), offset=3)
    version = home.table.version()
    home.take(turn(), offset=5)
    assert home.table.version() == version
    [applied] = read_working(home.settings.conversations_path).applied
    assert applied.offset == 5


def test_a_commit_says_up_to_which_offset_it_goes_and_never_less_than_before(home: Home) -> None:
    home.take(turn(), offset=7)
    assert home.table.transaction_version("chat/0") == 7
    home.take(turn(time=BEGIN + 1), offset=4)
    assert home.table.transaction_version("chat/0") == 7


def test_a_conversation_moves_to_the_day_of_its_first_turn(home: Home) -> None:
    home.take(turn(time=BEGIN + 2 * DAY, id_="2"))
    first = home.rows["c"]["day"]
    home.take(turn(time=BEGIN))
    assert (first - home.rows["c"]["day"]).days == 2
    assert home.table.partitions() == [{"day": "2026-01-01"}]


def test_metric_points_are_of_no_conversation(home: Home) -> None:
    home.take(Point("p", BEGIN, "load", 0.5))
    assert home.rows == {}


def test_the_files_are_the_content_without_deletion_vectors(home: Home) -> None:
    events = some_events()
    for begin in range(0, len(events), 40):
        home.take(*events[begin : begin + 40])
    assert home.table.deletion_vectors().read_all().num_rows == 0
    from urllib.parse import unquote

    files = [unquote(uri) for uri in home.table.file_uris()]
    [(count, distinct)] = duckdb.read_parquet(files).aggregate("count(*), count(DISTINCT id)").fetchall()
    assert count == distinct == len(expected(events)) == LakeReader(home.settings.lake_dir).count()


def test_conversations_that_have_left_the_working_state_are_amended_all_the_same(tmp_path: Path) -> None:
    home = Home(tmp_path, keep_days=1)
    old, new, late = turn("old"), turn("new", time=BEGIN + 10 * DAY), Rating("old", "r", BEGIN + HOUR, "thumbs", 1.0)
    home.take(old)
    home.take(new)
    assert read_working(home.settings.conversations_path).kept == 1
    home.take(late)
    assert home.rows == expected([old, new, late])


def mark(stream: str, time: int, *, caught_up: bool, offset: int = 1) -> Mark:
    return Mark(stream, "0", offset, time, BEGIN, caught_up)


def test_feedback_waits_for_the_stream_that_is_the_furthest_behind(tmp_path: Path) -> None:
    home = Home(tmp_path, keep_days=1)
    rating = Rating("c", "r", BEGIN + HOUR, "thumbs", 1.0)
    intake = home.open()
    # Both are read at the same time; what was rated is 30 days behind the ratings.
    intake.write([rating, Rating("d", "r", BEGIN + 30 * DAY, "thumbs", 1.0)])
    intake.close_epoch([mark("ratings", BEGIN + 30 * DAY, caught_up=False), mark("chat", BEGIN, caught_up=False)])
    intake.close()
    # That a stream is behind is known from the time before.
    intake = home.open()
    intake.flush()
    intake.write([turn("c")])
    intake.close_epoch([])
    assert home.rows == expected([turn("c"), rating])
    assert read_working(home.settings.conversations_path).kept == 2
    # It is over with the event times that it has come to.
    intake.close_epoch([mark("chat", BEGIN + 3 * DAY, caught_up=False, offset=2)])
    assert read_working(home.settings.conversations_path).kept == 1
    intake.close()


def test_a_partition_that_will_be_read_is_behind_until_it_is_heard_of(tmp_path: Path) -> None:
    home = Home(tmp_path, keep_days=1)
    awaited = [("ratings", "0"), ("chat", "0")]
    intake = open_lake(home.settings, lambda: home.now, objective, awaited=awaited)
    intake.write([Rating("c", "r", BEGIN, "thumbs", 1.0), Rating("d", "r", BEGIN + 30 * DAY, "thumbs", 1.0)])
    intake.close_epoch([mark("ratings", BEGIN + 30 * DAY, caught_up=False)])
    assert read_working(home.settings.conversations_path).kept == 2
    # What has caught up holds nobody up, however old its newest event is.
    intake.close_epoch([mark("chat", BEGIN, caught_up=True)])
    assert read_working(home.settings.conversations_path).kept == 1
    intake.close()


def test_a_clock_that_goes_back_does_not_keep_the_flow_from_starting(home: Home) -> None:
    sink = StoreSink(home.open)
    part = sink.build_part("store", "store", None)
    states = []
    for offset in (1, 2):
        part.write_batch([turn(id_=str(offset)), mark("chat", BEGIN, caught_up=True, offset=offset)])
        states.append(part.snapshot())
        home.now -= HOUR
    part.close()
    # The process ended before the engine had noted the second epoch.
    sink.build_part("store", "store", states[0]).close()
    ahead = states[1][0], states[1][1] + 1
    with pytest.raises(StoreError, match="older than the recovery folder"):
        sink.build_part("store", "store", ahead)


@pytest.mark.parametrize("name", ["a[1]b", "a%41b", "day=2", "a^b", "a\\b"])
def test_a_folder_that_cannot_hold_a_lake_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    with pytest.raises(StoreError, match="a lake cannot lie in"):
        home.open()
    home.settings.lake_dir.mkdir(parents=True)
    with pytest.raises(StoreError, match="a lake cannot lie in"):
        LakeReader(home.settings.lake_dir).count()
    assert list(home.settings.lake_dir.iterdir()) == []


@pytest.mark.parametrize("name", ["x=1", "a*b?", "{a}", "ä ö#", "50%", "today=fine"])
def test_a_lake_may_lie_in_folders_of_most_names(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    home.take(turn("c"))
    home.take(turn("d", time=BEGIN + DAY))
    assert list(home.rows) == ["c", "d"]


def test_without_its_working_state_a_lake_loses_nothing(home: Home) -> None:
    events = some_events()
    home.take(*events[: len(events) // 2])
    home.settings.conversations_path.unlink()
    home.take(*events[len(events) // 2 :])
    assert home.rows == expected(events)


def test_another_lake_in_its_place_is_refused(home: Home) -> None:
    home.take(turn())
    shutil.rmtree(home.settings.lake_dir)
    with pytest.raises(StoreError, match="the lake is another one"):
        home.open()
    home.settings.conversations_path.unlink()
    home.take(turn())
    assert list(home.rows) == ["c"]


def test_a_second_writer_is_refused(home: Home) -> None:
    intake = home.open()
    with pytest.raises(StoreError, match="has a writer already"):
        home.open()
    intake.close()
    home.open().close()


def test_a_folder_of_something_else_is_left_alone(home: Home) -> None:
    home.settings.lake_dir.mkdir(parents=True)
    (home.settings.lake_dir / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="something else than a lake"):
        home.open()


def test_compaction_leaves_fewer_files_and_the_same_rows(tmp_path: Path) -> None:
    home = Home(tmp_path, compact_every=10_000, retain_hours=0)
    # Each in a file of its own: what is only added is not merged with what is there.
    events = [turn(f"c{number}", time=BEGIN + number) for number in range(30)]
    for event in events:
        home.take(event)
    assert len(home.table.file_uris()) == 30
    intake = home.open()
    assert intake.compact() == 29
    assert intake.vacuum() == 30
    intake.close()
    assert home.rows == expected(events)
    assert len(list(home.settings.lake_dir.rglob("day=*/*.parquet"))) == 1


def test_the_writer_compacts_and_removes_what_was_replaced_by_itself(tmp_path: Path) -> None:
    home = Home(tmp_path, compact_every=10, retain_hours=0)
    intake = home.open()
    events = [turn(f"c{number}", time=BEGIN + number) for number in range(95)]
    for event in events:
        intake.write([event])
        intake.close_epoch([])
    intake.close()
    assert len(list(home.settings.lake_dir.rglob("day=*/*.parquet"))) < 20
    assert home.rows == expected(events)


def test_a_large_lake_is_written_seldom(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ticks = iter(range(BEGIN, BEGIN + 10_000_000, 100))  # whatever is done takes a tenth of a second
    intake = open_lake(home.settings, ticks.__next__, objective)
    versions = set()
    for number in range(40):
        intake.write([turn(f"c{number}")])
        intake.close_epoch([Mark("chat", "0", number, BEGIN, BEGIN, caught_up=True)])
        versions.add(home.table.version())
    assert 2 < len(versions) < 25
    intake.close()
    assert len(home.rows) == 40
    assert home.table.transaction_version("chat/0") == 39


THEIRS = "Erika-Geheim"


def mentions(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_nothing_of_an_erased_person_is_left_in_any_file(tmp_path: Path) -> None:
    home = Home(tmp_path)
    others = some_events()
    theirs = [
        turn(f"{THEIRS}-{number}", time=BEGIN + number * HOUR, text=THEIRS * 3, person=person)
        for number, person in enumerate([f"crm/{THEIRS}", "", f"crm/{THEIRS}"])
    ]
    rated = Rating(theirs[1].conversation, "r", BEGIN, "thumbs", 1.0, person=f"crm/{THEIRS}")
    waiting = Rating(f"{THEIRS}-no-turn", "r", BEGIN, "thumbs", 1.0, person=f"crm/{THEIRS}")
    mine: list[FeedbackEvent] = [*theirs, rated, waiting]
    for event in mine:
        home.take(event, *others[::7])
    home.take(*others)
    assert mentions(tmp_path, THEIRS)
    intake = home.open()
    assert intake.erase([f"crm/{THEIRS}", "crm/nobody"]) == 4
    intake.close()
    assert [done.fault for done in compact([home.settings.conversations_path], 0.0, patience=5.0)] == [""]
    assert mentions(tmp_path, THEIRS) == []
    assert home.rows == expected(others)


def test_a_row_is_fresh_if_nothing_that_was_shown_was_out_of_date() -> None:
    def fresh(*items: ShownItem, shown: str = "x") -> bool | None:
        events: list[Said] = [turn(context="x"), *([ShownContext("c", shown, BEGIN, items)] if shown else [])]
        row = conversation_row("c", events, lambda source: 10.0 if source == "prices" else OBJECTIVE)
        assert row is not None
        found: bool | None = row["fresh"]
        return found

    assert fresh(ShownItem("docs", lag=59_000.0)) is True
    assert fresh(ShownItem("docs", lag=61_000.0)) is False
    assert fresh(ShownItem("prices", lag=11.0), ShownItem("docs")) is False
    assert fresh(ShownItem("docs", stale=True)) is False
    assert fresh(shown="") is None
    assert fresh(ShownItem("docs"), shown="another") is None


def test_whose_data_were_shown_is_among_the_persons_of_a_row_however_often_it_is_made_again() -> None:
    shown = [ShownContext("c", name, BEGIN, (), person) for name, person in (("x", "anna"), ("y", ""), ("z", "ben"))]
    row = conversation_row("c", [turn(person="carla"), *shown], lambda source: OBJECTIVE)
    assert row is not None
    assert (row["person"], row["persons"]) == ("carla", ["anna", "ben", "carla"])
    [read] = pa.Table.from_pylist([row], schema()).to_pylist()
    assert conversation_row("c", events_of(read), lambda source: OBJECTIVE) == row


@pytest.mark.parametrize(
    "event",
    [
        turn(time=-1),
        turn(time=253_402_300_800_000),
        turn(tokens_in=2**63),
        ShownContext("c", "1", BEGIN, (ShownItem("a", as_of=10**18),)),
    ],
)
def test_what_no_column_can_hold_is_rejected(event: Said) -> None:
    with pytest.raises(RejectedError):
        check_event(event)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a lake of some days."""
    home = Home(tmp_path_factory.mktemp("filled"))
    home.take(*some_events())
    return home


def test_rows_come_in_the_order_of_their_begin_and_within_the_span_that_is_asked_for(filled: Home) -> None:
    reader = LakeReader(filled.settings.lake_dir)
    wanted = sorted((row["begin"], id_) for id_, row in filled.rows.items())
    batches = list(reader.rows(batch_size=7))
    found = [(row["begin"], row["id"]) for batch in batches for row in batch.to_pylist()]
    assert found == wanted
    assert {batch.num_rows for batch in batches[:-1]} == {7}
    day = {id_ for begin, id_ in wanted if begin.day == 2}
    assert day
    only = [row for batch in reader.rows(BEGIN + DAY, BEGIN + 2 * DAY, columns=["id"]) for row in batch.to_pylist()]
    assert [row.keys() for row in only] == [{"id"}] * len(day)
    assert {row["id"] for row in only} == day


def test_the_size_of_a_lake_is_known_from_its_log(filled: Home) -> None:
    size = LakeReader(filled.settings.lake_dir).size()
    days = {row["day"] for row in filled.rows.values()}
    assert (size.rows, size.days, size.first, size.last) == (
        len(filled.rows), len(days), str(min(days)), str(max(days)),
    )  # fmt: skip
    assert size.size == sum(path.stat().st_size for path in filled.settings.lake_dir.rglob("day=*/*.parquet"))
