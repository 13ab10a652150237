"""Vectors for what is new, in one call of the model; what is overtaken at once is not embedded."""

from __future__ import annotations

from collections.abc import Sequence

from events.documents import DocumentUpdate
from operators.documents.diff import DocumentDiff
from operators.documents.embed import fold, with_vectors
from tests.property.test_diff import document


class Model:
    """Writes down what it is asked; a vector is the text's length."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[bytes]:
        self.calls.append(list(texts))
        return [bytes([len(text)]) for text in texts]


def updates(*versions: list[int] | None) -> list[DocumentUpdate]:
    bucket = DocumentDiff()
    return bucket.take([("docs/a.md", document(number, version)) for number, version in enumerate(versions, 1)])


def test_only_fresh_chunks_are_embedded_in_one_call() -> None:
    model = Model()
    done = with_vectors(updates([1, 2], [1, 2, 30])[1:], model)
    assert model.calls == [["text 30"]]
    assert done[0].vectors == {f"{30:032x}": bytes([7])}


def test_nothing_fresh_asks_the_model_nothing() -> None:
    model = Model()
    with_vectors(updates([1, 2], [2, 1])[1:], model)
    assert model.calls == []


def test_versions_of_one_document_in_a_batch_become_the_last_with_all_that_is_fresh() -> None:
    folded = fold(updates([1], [1, 2], [2, 3])[1:])
    assert len(folded) == 1
    assert [int(id_, 16) for id_ in folded[0].fresh] == [2, 3]
    assert folded[0].document.change.position == 3


def test_text_that_is_gone_again_within_the_batch_is_not_embedded() -> None:
    model = Model()
    with_vectors(updates([1, 2], [3], None), model)
    assert model.calls == []
