"""A vector store against a plain dictionary: random updates in random portions, and what the store must hold then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

from events.documents import DocumentUpdate
from events.log import Mark
from stores.vectors.base import Query, VectorReader, VectorWriter
from tests.stores.vector_samples import MODEL, chunk_id, delete, upsert

WORDS = ["alpha", "beta", "gamma", "delta", "omega"]


class Step(NamedTuple):
    """One update: of a document, at a position, to these texts, or None for a delete."""

    uri: str
    position: int
    texts: list[str] | None
    audience: tuple[str, ...]
    language: str
    vectors: bool


History = list[tuple[list[Step], int] | None]
"""Calls of the writer."""


class Truth(NamedTuple):
    """What the store should hold of one document."""

    step: Step
    since: dict[tuple[str, int], int]


steps = st.builds(
    Step,
    uri=st.sampled_from(["a", "b", "it's/c"]),
    position=st.integers(1, 12),
    texts=st.none() | st.lists(st.sampled_from(WORDS), max_size=5),
    audience=st.sampled_from([("public",), ("staff",), ("public", "staff"), ()]),
    language=st.sampled_from(["en", "de"]),
    vectors=st.booleans(),
)
# One call of the writer: updates and an offset; None in its place closes the writer and opens it again.
calls: st.SearchStrategy[History] = st.lists(
    st.none() | st.tuples(st.lists(steps, max_size=5), st.integers(0, 9)), max_size=5
)


def to_update(step: Step) -> DocumentUpdate:
    if step.texts is None:
        return delete(step.uri, position=step.position)
    return upsert(
        step.uri,
        *step.texts,
        position=step.position,
        audience=step.audience,
        language=step.language,
        vectors=step.vectors,
    )


def occurrences(texts: list[str]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    numbered = []
    for text in texts:
        numbered.append((text, seen[text]))
        seen[text] += 1
    return numbered


def apply(truth: dict[str, Truth], step: Step) -> bool:
    """Bring the dictionary on by one update; false if it is stale."""
    before = truth.get(step.uri)
    if before is not None and step.position <= before.step.position:
        return False
    known = before.since if before is not None else {}
    moment = 1_000 * step.position
    truth[step.uri] = Truth(step, {piece: known.get(piece, moment) for piece in occurrences(step.texts or [])})
    return True


def check(history: History, open_writer: Callable[[], VectorWriter], reader: VectorReader) -> None:
    """Let a store that is empty take all calls, and compare it with a dictionary after each."""
    truth: dict[str, Truth] = {}
    offset: int | None = None
    writer = open_writer()
    for call in history:
        if call is None:
            writer.close()
            writer = open_writer()
            continue
        portion, offset = call
        applied = [apply(truth, step) for step in portion]
        mark = Mark("docs", "0", offset, None, 5, caught_up=False)
        report = writer.write([to_update(step) for step in portion], [mark])
        assert report.stale == applied.count(False)
        compare(reader, truth, offset)
    writer.close()
    compare(reader, truth, offset)


def compare(reader: VectorReader, truth: dict[str, Truth], offset: int | None) -> None:
    alive = {uri: one for uri, one in sorted(truth.items()) if one.step.texts is not None}
    assert [applied.offset for applied in reader.applied()] == ([] if offset is None else [offset])
    documents = [(held.uri, held.position, held.audience, held.language) for held in reader.documents()]
    assert documents == [(uri, one.step.position, one.step.audience, one.step.language) for uri, one in alive.items()]
    for uri, one in truth.items():
        chunks = reader.chunks("docs", uri)
        assert [(item.id, item.text, item.since) for item in chunks] == [
            (chunk_id(f"docs/{uri}", *piece), piece[0], since) for piece, since in one.since.items()
        ]
        assert {(item.position, item.as_of) for item in chunks} <= {(one.step.position, 1_000 * one.step.position)}
        assert [item.ordinal for item in chunks] == list(range(len(chunks)))
    for audience in ("public", "staff"):
        expected = Counter(
            (uri, text) for uri, one in alive.items() if audience in one.step.audience for text, _ in one.since
        )
        hits = reader.search(Query(text=" ".join(WORDS), k=100, audiences=(audience,)))
        assert Counter((item.uri, item.text) for item in hits) == expected
        near = reader.search(Query(vector=[1.0] * MODEL.dimension, k=100, audiences=(audience,)))
        assert Counter((item.uri, item.text) for item in near) == expected
