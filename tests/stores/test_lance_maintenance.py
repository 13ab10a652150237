"""Maintenance of the LanceDB store: it keeps the table small, and nobody notices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from events.errors import StoreError
from stores.embedders.base import Model
from stores.vectors.base import Query
from stores.vectors.lance_folder import connect, read_store
from stores.vectors.lance_maintenance import REMEMBER_DELETED_MILLIS
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from tests.stores.vector_samples import MODEL, delete, embed, upsert, vector_of

DEADLINE_SECONDS = 30.0


class Opened:
    """A store whose writer can be closed and opened again, with a look at the bare table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = LanceReader(path, MODEL)
        self._writers: list[LanceWriter] = []

    def writer(self, *, optimize_every: int = 3, index_above: int = 10**9) -> LanceWriter:
        writer = LanceWriter(
            self.path, MODEL, embed=embed, clock=lambda: 1, optimize_every=optimize_every, index_above=index_above
        )
        self._writers.append(writer)
        return writer

    def table(self) -> Any:
        store = read_store(self.path)
        assert store is not None
        return connect(self.path).open_table(store.table)

    def kinds(self) -> list[str]:
        return sorted(self.table().search().select(["kind"]).to_arrow()["kind"].to_pylist())

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    store = Opened(tmp_path)
    yield store
    store.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"


def test_many_commits_leave_few_fragments_and_no_tombstones(opened: Opened) -> None:
    writer = opened.writer()
    for position in range(1, 40):
        writer.write([upsert("a", "stays", f"text {position}", position=position)])
    writer.write([upsert("a", "stays", "text 40", position=40)])
    writer.close()
    # At the most what came after the last run: fewer than would have called for another one at once.
    assert opened.table().stats()["fragment_stats"]["num_fragments"] < 20
    assert opened.kinds().count("gone") < 20
    assert [item.text for item in opened.reader.chunks("docs", "a")] == ["stays", "text 40"]


def test_a_run_needs_no_further_commit(opened: Opened) -> None:
    writer = opened.writer(optimize_every=4)
    for position in range(1, 5):
        writer.write([upsert("a", f"text {position}", position=position)])
    eventually(lambda: opened.kinds() == ["chunk", "document"])
    assert opened.reader.chunks("docs", "a")[0].text == "text 4"


def test_what_a_former_process_left_is_taken_care_of(opened: Opened) -> None:
    writer = opened.writer(optimize_every=1_000)
    for position in range(1, 11):
        writer.write([upsert("a", f"text {position}", position=position)])
    writer.close()
    assert opened.kinds().count("gone") == 9
    opened.writer()
    eventually(lambda: opened.kinds() == ["chunk", "document"])


def test_a_chunk_that_comes_back_is_not_removed_with_those_that_went(opened: Opened) -> None:
    writer = opened.writer(optimize_every=2)
    for position in range(1, 30):
        writer.write([upsert("a", *(["back"] if position % 2 else []), f"{position}", position=position)])
    writer.close()
    assert [item.text for item in opened.reader.chunks("docs", "a")] == ["back", "29"]
    assert [item.text for item in opened.reader.search(Query(text="back"))] == ["back"]


def test_what_few_commits_left_is_tidied_when_no_more_come(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.vectors.lance_maintenance._QUIET_SECONDS", 0.05)
    writer = opened.writer(optimize_every=1_000)
    for position in range(1, 5):
        writer.write([upsert("a", f"text {position}", position=position)])
    eventually(lambda: opened.kinds() == ["chunk", "document"])
    eventually(lambda: not any(index.num_unindexed_rows for index in opened.table().list_indices()))


def test_many_rows_are_indexed_at_once_and_no_later_than_at_closing(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.vectors.lance_maintenance._ROWS", 50)
    writer = opened.writer(optimize_every=1_000)
    writer.write([upsert("a", *(f"text {number}" for number in range(60)))])
    eventually(lambda: not any(index.num_unindexed_rows for index in opened.table().list_indices()))
    writer.write([upsert("b", *(f"text {number}" for number in range(60)))])
    writer.close()
    assert not any(index.num_unindexed_rows for index in opened.table().list_indices())


def test_a_store_without_the_indices_of_filters_gets_them(opened: Opened) -> None:
    opened.writer().write([upsert("a", "for all"), upsert("b", "for staff", audience=("staff",))])
    opened.close()
    for index in opened.table().list_indices():
        if index.columns in (["audience"], ["uri"]):
            opened.table().drop_index(index.name)
    writer = opened.writer(optimize_every=1)
    writer.write([upsert("c", "for both", audience=("staff", "public"))])
    eventually(lambda: {"audience", "uri"} <= {index.columns[0] for index in opened.table().list_indices()})
    writer.write(
        [upsert("d", "for staff too", audience=("staff",)), upsert("a", "for nobody", position=2, audience=())]
    )
    for labels, uris in ((("staff",), "bcd"), (("public",), "c"), (("staff", "public"), "bcd"), (("x",), "")):
        found = opened.reader.search(Query(text="for both staff nobody", vector=vector_of("for"), audiences=labels))
        assert "".join(sorted(item.uri for item in found)) == uris


def test_a_version_keeps_its_files_for_a_while_after_it_was_the_newest_however_old_it_is(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    retain = timedelta(seconds=0.5)
    monkeypatch.setattr("stores.vectors.lance_maintenance.RETAIN", retain)
    writer = opened.writer(optimize_every=1)
    writer.write([upsert("a", *(f"old {number}" for number in range(20)))])
    committed = time.monotonic()
    eventually(lambda: time.monotonic() - committed > 2 * retain.total_seconds())
    with opened.reader.cut() as cut:
        begun = opened.table().version
        for position in range(2, 8):
            writer.write([upsert("a", f"new {position}", position=position)])
        eventually(lambda: opened.table().version > begun + 6)
        assert len(cut.chunks("docs", "a")) == 20
        assert len(cut.search(Query(text="old", vector=vector_of("old"), k=50))) == 20


def test_a_cut_whose_version_is_gone_says_so_and_never_shows_another(opened: Opened) -> None:
    writer = opened.writer(optimize_every=1_000)
    writer.write([upsert("a", "old")])
    with opened.reader.cut() as cut:
        writer.write([upsert("a", "new", position=2)])
        with pytest.warns(UserWarning, match="concurrent reader"):
            opened.table().optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
        with pytest.raises(StoreError, match=r"cannot be read any more.*begin another one"):
            cut.chunks("docs", "a")
    with opened.reader.cut() as cut:
        assert [item.text for item in cut.chunks("docs", "a")] == ["new"]


def test_deleted_documents_are_forgotten_after_their_time_and_not_before(opened: Opened) -> None:
    writer = opened.writer(optimize_every=1_000)
    late = 10 * REMEMBER_DELETED_MILLIS
    writer.write([delete("old", position=1, event_time=late - REMEMBER_DELETED_MILLIS - 1)])
    writer.write([delete("recent", position=1, event_time=late - REMEMBER_DELETED_MILLIS)])
    writer.write([upsert("a", "text", position=1, event_time=late)])
    writer.close()
    writer = opened.writer(optimize_every=1)
    writer.write([upsert("a", "text", position=2, event_time=late)])
    eventually(lambda: opened.kinds() == ["chunk", "deleted", "document"])
    assert writer.write([upsert("recent", "x", position=1)]).stale == 1


def test_a_vector_index_appears_above_its_threshold_and_finds_the_same(opened: Opened) -> None:
    texts = [f"subject{number} detail{number}" for number in range(400)]
    writer = opened.writer(optimize_every=1, index_above=300)
    writer.write([upsert("a", *texts)])
    eventually(lambda: any(index.columns == ["vector"] for index in opened.table().list_indices()))
    writer.write([upsert("b", "subject7 unindexed")])
    for number in (0, 123, 399):
        items = opened.reader.search(Query(vector=vector_of(texts[number]), k=400))
        assert texts[number] in {item.text for item in items if item.score == items[0].score} | {items[0].text}
    assert "subject7 unindexed" in {
        item.text for item in opened.reader.search(Query(vector=vector_of("subject7 unindexed"), k=20))
    }


def test_maintenance_that_fails_harms_neither_writing_nor_closing(
    opened: Opened, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lancedb.table import LanceTable

    def fail(*_: object, **__: object) -> None:
        message = "no space left on device"
        raise OSError(message)

    monkeypatch.setattr(LanceTable, "optimize", fail)
    writer = opened.writer(optimize_every=1)
    for position in range(1, 8):
        writer.write([upsert("a", f"text {position}", position=position)])
    eventually(lambda: "no space left on device" in caplog.text)
    writer.close()
    assert [item.text for item in opened.reader.chunks("docs", "a")] == ["text 7"]


def test_a_damaged_store_file_is_named_with_a_remedy(opened: Opened) -> None:
    opened.writer().close()
    (opened.path / "store.json").write_text("{}")
    with pytest.raises(StoreError, match=r"store\.json cannot be read.*restore it"):
        opened.reader.search(Query(text="x"))
    with pytest.raises(StoreError, match=r"store\.json cannot be read"):
        opened.writer()


def test_a_store_whose_making_was_interrupted_is_made_anew(opened: Opened) -> None:
    opened.writer().close()
    (opened.path / "store.json").unlink()
    writer = opened.writer()
    writer.write([upsert("a", "text")])
    assert [item.text for item in opened.reader.chunks("docs", "a")] == ["text"]


def test_a_reader_follows_to_another_store_in_the_same_place(opened: Opened) -> None:
    writer = opened.writer()
    writer.write([upsert("a", "first store")])
    assert [item.text for item in opened.reader.search(Query(text="store"))] == ["first store"]
    writer.close()
    for path in sorted(opened.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert opened.reader.search(Query(text="store")) == []
    opened.writer().write([upsert("a", "second store")])
    assert [item.text for item in opened.reader.search(Query(text="store"))] == ["second store"]


def test_a_model_of_the_same_name_and_another_length_is_another_model(opened: Opened) -> None:
    opened.writer().close()
    with pytest.raises(StoreError, match="headrace reindex"):
        LanceWriter(opened.path, Model("words", "1", 8, 254), embed=embed, clock=lambda: 1)
