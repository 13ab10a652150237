"""Documents for the tests of vector stores, with an embedding that a test can reason about."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from stores.embedders.base import Model

DIMENSION = 64
MODEL = Model(name="words", version="1", dimension=DIMENSION, max_tokens=254)


def vector_of(text: str, dimension: int = DIMENSION) -> list[float]:
    """Return the unit vector of the text's words, each of which falls into one of the dimensions."""
    vector = np.zeros(dimension, dtype=np.float32)
    for word in text.lower().split():
        vector[hashlib.blake2b(word.encode(), digest_size=1).digest()[0] % dimension] += 1.0
    norm = float(np.linalg.norm(vector))
    if norm == 0.0:
        vector[0] = norm = 1.0
    return [float(number) for number in vector / norm]


def embed(texts: Sequence[str]) -> list[bytes]:
    """Return the vectors of texts as the store takes them."""
    return [np.asarray(vector_of(text), dtype="<f4").tobytes() for text in texts]


def chunk_id(document: str, text: str, occurrence: int = 0) -> str:
    """Return a chunk's id: a hash of document, text and occurrence."""
    return hashlib.blake2b(
        f"{document}\x00{text}\x00{occurrence}".encode(errors="surrogatepass"), digest_size=16
    ).hexdigest()


def chunks_of(document: str, texts: Sequence[str], heading: tuple[str, ...] = ()) -> tuple[Chunk, ...]:
    """Return chunks of these texts."""
    seen: Counter[str] = Counter()
    chunks = []
    for text in texts:
        chunks.append(Chunk(chunk_id(document, text, seen[text]), heading, text, len(text.split())))
        seen[text] += 1
    return tuple(chunks)


def upsert(
    uri: str,
    *texts: str,
    position: int = 1,
    source: str = "docs",
    title: str = "",
    language: str = "en",
    audience: tuple[str, ...] = ("public",),
    event_time: int | None = None,
    heading: tuple[str, ...] = (),
    metadata: dict[str, str] | None = None,
    fingerprint: str = "",
    moved: str = "",
    vectors: bool = True,
) -> DocumentUpdate:
    """Return the update that makes the document of these chunk texts."""
    change = DocumentChange(
        source=source,
        uri=uri,
        op="upsert",
        position=position,
        event_time=1_000 * position if event_time is None else event_time,
        audience=audience,
        metadata=metadata or {},
        fingerprint=fingerprint,
        moved=moved,
    )
    chunks = chunks_of(change.document, texts, heading)
    return DocumentUpdate(
        ChunkedDocument(change, title, language, chunks),
        fresh=tuple(chunk.id for chunk in chunks),
        vectors={chunk.id: embed([chunk.embedded])[0] for chunk in chunks} if vectors else {},
    )


def delete(
    uri: str, *, position: int = 1, source: str = "docs", event_time: int | None = None, moved: str = ""
) -> DocumentUpdate:
    """Return the update that takes the document away."""
    moment = 1_000 * position if event_time is None else event_time
    change = DocumentChange(source=source, uri=uri, op="delete", position=position, event_time=moment, moved=moved)
    return DocumentUpdate(ChunkedDocument(change))
