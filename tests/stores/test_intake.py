"""Document updates into the vector store: a rename in one commit, whatever comes first, and nothing held for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from events.log import Mark
from stores.vectors.base import VectorWriter, WriteReport
from stores.vectors.intake import DocumentIntake

if TYPE_CHECKING:
    import pytest


class Commits(VectorWriter):
    """Keeps what each commit held."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []

    def write(self, updates: Sequence[DocumentUpdate], marks: Sequence[Mark] = ()) -> WriteReport:
        names = [f"{update.document.change.op} {update.document.change.uri}" for update in updates]
        self.commits.append(names + [f"mark {mark.offset}" for mark in marks])
        return WriteReport(written=len(updates))

    def identity(self) -> str:
        return "commits"

    def close(self) -> None:
        self.commits.append(["closed"])


def update(op: Literal["upsert", "delete"], uri: str, moved: str = "", language: str = "en") -> DocumentUpdate:
    change = DocumentChange("docs", uri, op, 1, 1, moved=moved)
    chunks = (Chunk("0" * 32, (), "text", 1),) if op == "upsert" else ()
    return DocumentUpdate(ChunkedDocument(change, uri, language, chunks))


MARK = Mark("docs", "0", 9, None, 0, caught_up=True)


def test_a_rename_is_one_commit_when_the_upsert_comes_first() -> None:
    store = Commits()
    DocumentIntake(store).write([update("upsert", "new.md", "old.md"), update("delete", "old.md", "new.md")])
    assert store.commits == [["upsert new.md", "delete old.md"]]


def test_a_rename_is_one_commit_when_the_delete_comes_first() -> None:
    store = Commits()
    intake = DocumentIntake(store)
    intake.write([update("delete", "old.md", "new.md"), update("upsert", "other.md")])
    intake.write([update("upsert", "new.md", "old.md")])
    assert store.commits == [["upsert other.md"], ["upsert new.md", "delete old.md"]]


def test_a_delete_whose_upsert_never_comes_is_written_when_the_epoch_closes() -> None:
    store = Commits()
    intake = DocumentIntake(store)
    intake.write([update("delete", "old.md", "new.md")])
    assert store.commits == []
    intake.close_epoch([MARK])
    assert store.commits == [["delete old.md", "mark 9"]]


def test_a_delete_after_its_upsert_is_not_held() -> None:
    store = Commits()
    intake = DocumentIntake(store)
    intake.write([update("upsert", "new.md", "old.md")])
    intake.write([update("delete", "old.md", "new.md")])
    assert store.commits == [["upsert new.md"], ["delete old.md"]]


def test_a_held_document_that_comes_back_keeps_its_order() -> None:
    store = Commits()
    intake = DocumentIntake(store)
    intake.write([update("delete", "old.md", "new.md")])
    intake.write([update("upsert", "old.md")])
    intake.close_epoch([])
    assert store.commits == [["delete old.md", "upsert old.md"]]


def test_an_epoch_without_anything_makes_no_commit() -> None:
    store = Commits()
    DocumentIntake(store).close_epoch([])
    assert store.commits == []


def test_a_language_that_the_model_does_not_know_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    intake = DocumentIntake(Commits(), languages=["en"])
    for _ in range(3):
        intake.write([update("upsert", "regeln.md", language="de"), update("upsert", "rules.md")])
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["docs/regeln.md"]


def test_what_was_committed_is_observed() -> None:
    seen: list[tuple[int, int]] = []
    intake = DocumentIntake(Commits(), observe=lambda report, marks: seen.append((report.written, len(marks))))
    intake.write([update("upsert", "a.md")])
    intake.close_epoch([MARK])
    assert seen == [(1, 0), (0, 1)]
