"""The vector stores beside each other: `python -m benchmarks.vectors [--chunks 20000]`.

Each takes the same documents in batches as the knowledge flow writes them, then edits of one chunk each, and answers
the same questions: by meaning, by words, and by both, with its defaults. Vectors lie around topics, as those of texts
do; words are as frequent as in real text, but none of them is a stop word, which is the harder case for a search by
words. Recall is the share of the ten nearest, found by looking at all. PostgreSQL is the server of the tests, with its
usual durability and 256 MB of buffers; without one, only LanceDB is measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from events.clock import system_clock
from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from fixtures.servers import MissingServerError
from fixtures.servers.postgres import PostgresServer, programs
from stores.embedders.base import Model
from stores.vectors.base import Query, VectorReader, VectorWriter
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from stores.vectors.postgres_reader import PostgresVectorReader
from stores.vectors.postgres_writer import PostgresVectors

MODEL = Model(name="random", version="1", dimension=384, max_tokens=254)
CHUNKS, WORDS, TOPICS = 10, 60, 500
"""Of a document; of a chunk; in all."""
BATCH = 64
"""Documents in a commit."""
NEAREST = 10


class Collection:
    """Documents of random words, with random unit vectors around topics."""

    def __init__(self, documents: int, seed: int = 7) -> None:
        self._random = np.random.default_rng(seed)
        shares = 1 / np.arange(1, 5_001)
        self._shares = shares / shares.sum()
        self._topics = self._random.standard_normal((TOPICS, MODEL.dimension), dtype=np.float32)
        self.vectors = self._vectors(documents * CHUNKS)
        self._chunks = [Chunk(f"{number:032x}", (), self.text(WORDS), WORDS) for number in range(documents * CHUNKS)]

    def batches(self) -> Iterator[list[DocumentUpdate]]:
        """Yield all documents."""
        documents = [self._update(number, 0) for number in range(len(self._chunks) // CHUNKS)]
        for start in range(0, len(documents), BATCH):
            yield documents[start : start + BATCH]

    def edit(self, position: int) -> DocumentUpdate:
        """Replace the vector and the text of one chunk."""
        number = int(self._random.integers(len(self._chunks)))
        self._chunks[number] = Chunk(f"e{position:031x}", (), self.text(WORDS), WORDS)
        self.vectors[number] = self._vectors(1)[0]
        return self._update(number // CHUNKS, position)

    def question(self) -> Query:
        """Return a search by meaning and by five words."""
        return Query(vector=self._vectors(1)[0].tolist(), text=self.text(5), k=NEAREST)

    def nearest(self, question: Query) -> set[str]:
        """Return the ids of the nearest."""
        distances = -(self.vectors @ np.asarray(question.vector, dtype=np.float32))
        return {self._chunks[number].id for number in np.argpartition(distances, NEAREST)[:NEAREST]}

    def text(self, words: int) -> str:
        """Return random words."""
        return " ".join(f"word{number}" for number in self._random.choice(5_000, words, p=self._shares))

    def _update(self, document: int, position: int) -> DocumentUpdate:
        start = document * CHUNKS
        chunks = self._chunks[start : start + CHUNKS]
        change = DocumentChange("corpus", f"{document}.md", "upsert", position, position)
        vectors = {
            chunk.id: vector.astype("<f4").tobytes()
            for chunk, vector in zip(chunks, self.vectors[start : start + CHUNKS], strict=True)
        }
        return DocumentUpdate(ChunkedDocument(change, f"Document {document}", "en", tuple(chunks)), vectors=vectors)

    def _vectors(self, many: int) -> npt.NDArray[np.float32]:
        spread = 0.7 * self._random.standard_normal((many, MODEL.dimension), dtype=np.float32)
        vectors = self._topics[self._random.integers(TOPICS, size=many)] + spread
        units: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return units


class Measured(NamedTuple):
    """What a store did: chunks per second of the first load; milliseconds of edits and of searches; recall."""

    rate: float
    edits: list[float]
    searches: dict[str, list[float]]
    recall: float


Open = tuple[Callable[[], VectorWriter], Callable[[], VectorReader]]


def measure(make: Open, documents: int, edits: int, questions: int) -> Measured:
    """Let a store that is empty take everything, and ask it."""
    collection = Collection(documents)
    open_writer, open_reader = make
    with open_writer() as writer:
        batches = list(collection.batches())
        seconds = sum(_seconds(partial(writer.write, batch)) for batch in batches)
        commits = []
        for position in range(1, edits + 1):
            update = collection.edit(position)
            commits.append(1_000 * _seconds(partial(writer.write, [update])))
    # Opened again: what maintenance was at work on is finished.
    with open_writer(), closing(open_reader()) as reader:
        asked = [collection.question() for _ in range(questions)]
        meaning = [msgspec.structs.replace(query, text="") for query in asked]
        ways = {
            "meaning": meaning,
            "words": [msgspec.structs.replace(query, vector=None) for query in asked],
            "both": asked,
        }
        searches = {way: _times(reader, queries) for way, queries in ways.items()}
        found = sum(len(collection.nearest(query) & {item.id for item in reader.search(query)}) for query in meaning)
    return Measured(documents * CHUNKS / seconds, commits, searches, found / (NEAREST * questions))


def _times(reader: VectorReader, queries: Sequence[Query]) -> list[float]:
    reader.search(queries[0])
    return [1_000 * _seconds(partial(reader.search, query)) for query in queries]


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def lance(folder: Path, index_above: int) -> Open:
    """Return how the store in a folder is opened."""
    return (
        lambda: LanceWriter(folder, MODEL, embed=lambda texts: [], clock=system_clock, index_above=index_above),
        lambda: LanceReader(folder, MODEL),
    )


def postgres(dsn: str, index_above: int) -> Open:
    """Return how the store in PostgreSQL is opened."""
    return (
        lambda: PostgresVectors(
            dsn, "bench", MODEL, embed=lambda texts: [], clock=system_clock, index_above=index_above
        ),
        lambda: PostgresVectorReader(dsn, "bench", MODEL),
    )


@contextmanager
def server() -> Iterator[str]:
    """Run a PostgreSQL server for the block; give its connection string.

    :raises MissingServerError: Where there is none to be had.
    """
    made = PostgresServer(programs(), {"fsync": "on", "shared_buffers": "256MB"})
    try:
        yield made.dsn()
    finally:
        made.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=20_000, help="chunks in the store, ten a document")
    parser.add_argument("--edits", type=int, default=200, help="commits that replace one chunk each")
    parser.add_argument("--questions", type=int, default=100, help="searches of each kind")
    parser.add_argument(
        "--index-above", type=int, default=20_000, help="chunks above which the vectors get an index; see the settings"
    )
    given = parser.parse_args()
    documents = max(1, given.chunks // CHUNKS)
    results: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = lance(Path(folder) / "vectors", given.index_above)
        results["lancedb"] = measure(made, documents, given.edits, given.questions)
    try:
        with server() as dsn:
            results["postgres"] = measure(postgres(dsn, given.index_above), documents, given.edits, given.questions)
    except MissingServerError as error:
        print(f"only LanceDB: {error}")
    _show(results, documents, given.index_above)


def _show(results: dict[str, Measured], documents: int, index_above: int) -> None:
    indexed = "with" if documents * CHUNKS > index_above else "without"
    table = Table(title=f"{documents * CHUNKS:,} chunks, {MODEL.dimension} dimensions, {indexed} a vector index")
    for column in ("", *results):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("first load, chunks/s", *(f"{one.rate:,.0f}" for one in results.values()))
    table.add_row("edit of one chunk, p50 / p99 ms", *(_both(one.edits) for one in results.values()))
    for way in ("meaning", "words", "both"):
        table.add_row(f"search by {way}, p50 / p99 ms", *(_both(one.searches[way]) for one in results.values()))
    table.add_row(f"recall@{NEAREST} by meaning", *(f"{one.recall:.3f}" for one in results.values()))
    Console().print(table)


def _both(times: Sequence[float]) -> str:
    return f"{np.percentile(times, 50):.1f} / {np.percentile(times, 99):.1f}"


if __name__ == "__main__":
    main()
