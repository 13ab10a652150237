"""What the diff promises beyond the plain model: redeliveries, deletes, forgetting."""

from __future__ import annotations

from operators.documents.diff import DAY, DocumentDiff
from tests.property.test_diff import document


def test_the_same_change_twice_is_dropped() -> None:
    bucket = DocumentDiff()
    first = document(1, [1, 2])
    assert len(bucket.take([("docs/a.md", first)])) == 1
    assert bucket.take([("docs/a.md", first)]) == []


def test_a_late_change_cannot_bring_a_deleted_document_back() -> None:
    bucket = DocumentDiff()
    bucket.take([("docs/a.md", document(1, [1])), ("docs/a.md", document(3, None))])
    assert bucket.take([("docs/a.md", document(2, [1, 2]))]) == []


def test_a_delete_of_an_unknown_document_still_reaches_the_store() -> None:
    (update,) = DocumentDiff().take([("docs/a.md", document(1, None))])
    assert update.document.change.op == "delete"
    assert update.fresh == ()


def test_deleted_documents_are_forgotten_after_the_horizon_and_living_ones_never() -> None:
    bucket = DocumentDiff()
    bucket.take([("docs/gone.md", document(1, None)), ("docs/here.md", document(1, [1]))])
    bucket.take([("docs/other.md", document(8 * DAY // 10, [1]))])
    assert set(bucket.entries) == {"docs/here.md", "docs/other.md"}


def test_a_reordered_document_has_nothing_fresh() -> None:
    bucket = DocumentDiff()
    (update,) = bucket.take([("docs/a.md", document(1, [1, 2, 3])), ("docs/a.md", document(2, [3, 1, 2]))])[1:]
    assert update.fresh == ()
    assert len(update.document.chunks) == 3
