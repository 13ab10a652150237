"""The diff against a plain model: newest position wins, fresh is what the last version did not have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from operators.documents.diff import DocumentDiff

Version = tuple[int, "list[int] | None"]


def document(position: int, texts: list[int] | None) -> ChunkedDocument:
    op = "delete" if texts is None else "upsert"
    chunks = tuple(Chunk(f"{text:032x}", (), f"text {text}", 2) for text in texts or [])
    change = DocumentChange("docs", "a.md", "delete" if op == "delete" else "upsert", position, position * 10, b"spent")
    return ChunkedDocument(change, "a", "en", chunks)


versions = st.lists(
    st.tuples(st.integers(1, 30), st.none() | st.lists(st.integers(0, 8), max_size=6, unique=True)), max_size=30
)


@given(versions)
def test_updates_are_what_a_plain_model_says(history: list[Version]) -> None:
    bucket = DocumentDiff()
    newest = 0
    texts: dict[int, int] = {}
    for position, version in history:
        updates: list[DocumentUpdate] = bucket.take([("docs/a.md", document(position, version))])
        if position <= newest:
            assert updates == []
            continue
        newest = position
        (update,) = updates
        assert update.document.change.content is None
        assert [int(chunk.id, 16) for chunk in update.document.chunks] == (version or [])
        assert [int(id_, 16) for id_ in update.fresh] == [text for text in version or [] if text not in texts]
        texts = {text: texts.get(text, position * 10) for text in version or []}
        assert list(update.since) == [texts[text] for text in version or []]
