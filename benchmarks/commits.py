"""What the ten-thousandth small commit costs: `python -m benchmarks.commits [--commits 10000]`.

A store of 20,000 chunks takes one commit after the other, each of which replaces one chunk of one document, as fast as
the writer goes; after every tenth one a reader searches it. Nothing is ever idle, which is the worst case for the
maintenance beside the writer. The figure to watch is the ratio of the last tenth to the first. On a machine that does
other work as well, watch the processor time: it counts the commit, its share of searches and of maintenance.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from events.clock import system_clock
from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from events.log import Mark
from stores.embedders.base import Model
from stores.vectors.base import Query
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter

MODEL = Model(name="random", version="1", dimension=384, max_tokens=254)
DOCUMENTS = 2_000
CHUNKS = 10
WORDS = 60
SEARCH_EVERY = 10


class Corpus:
    """Documents of random words with random unit vectors; each edit replaces one chunk."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        # Word frequencies as in real text: the n-th word is n times rarer than the first.
        self._vocabulary = [f"word{number}" for number in range(5_000)]
        weights = 1 / np.arange(1, 5_001)
        self._weights = weights / weights.sum()
        self._made = 0
        self._documents = [[self._chunk() for _ in range(CHUNKS)] for _ in range(DOCUMENTS)]

    def first(self, batch: int = 200) -> Iterator[list[DocumentUpdate]]:
        """Yield all documents at position 0."""
        for start in range(0, DOCUMENTS, batch):
            numbers = range(start, min(DOCUMENTS, start + batch))
            yield [self._update(number, 0, [chunk.id for chunk in self._documents[number]]) for number in numbers]

    def edit(self, position: int) -> DocumentUpdate:
        """Replace one chunk of one document."""
        number = int(self._random.integers(DOCUMENTS))
        chunk = self._chunk()
        self._documents[number][int(self._random.integers(CHUNKS))] = chunk
        return self._update(number, position, [chunk.id])

    def question(self) -> Query:
        """Return a search by meaning and by five words."""
        return Query(vector=self._vector().tolist(), text=self._text(5), k=8)

    def _update(self, number: int, position: int, fresh: list[str]) -> DocumentUpdate:
        change = DocumentChange("corpus", f"{number}.md", "upsert", position, 1_000 * position)
        return DocumentUpdate(
            ChunkedDocument(change, f"Document {number}", "en", tuple(self._documents[number])),
            fresh=tuple(fresh),
            vectors={chunk_id: self._vector().astype("<f4").tobytes() for chunk_id in fresh},
        )

    def _chunk(self) -> Chunk:
        self._made += 1
        return Chunk(f"{self._made:032x}", (), self._text(WORDS), WORDS)

    def _text(self, words: int) -> str:
        return " ".join(self._random.choice(self._vocabulary, words, p=self._weights))

    def _vector(self) -> npt.NDArray[np.float32]:
        vector = self._random.standard_normal(MODEL.dimension, dtype=np.float32)
        unit: npt.NDArray[np.float32] = vector / np.linalg.norm(vector)
        return unit


def run(folder: Path, commits: int) -> tuple[list[float], list[float], list[float]]:
    """Return the milliseconds of each commit, of each search, and of processor time for each."""
    corpus = Corpus(7)
    writer = LanceWriter(folder, MODEL, embed=lambda texts: [], clock=system_clock)
    reader = LanceReader(folder, MODEL)
    for batch in corpus.first():
        writer.write(batch)
    commit_times, search_times, processor_times = [], [], []
    for position in range(1, commits + 1):
        processor = time.process_time()
        update = corpus.edit(position)
        mark = Mark("corpus", "0", position, 1_000 * position, 1_000 * position, caught_up=False)
        start = time.perf_counter()
        writer.write([update], [mark])
        commit_times.append(1_000 * (time.perf_counter() - start))
        if position % SEARCH_EVERY == 0:
            question = corpus.question()
            start = time.perf_counter()
            found = reader.search(question)
            search_times.append(1_000 * (time.perf_counter() - start))
            assert len(found) == question.k
        processor_times.append(1_000 * (time.process_time() - processor))
    writer.close()
    return commit_times, search_times, processor_times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=10_000)
    commits = parser.parse_args().commits
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        commit_times, search_times, processor_times = run(Path(folder) / "vectors", commits)
        seconds = time.perf_counter() - began
    table = Table(title=f"{commits:,} commits of one chunk each into {DOCUMENTS * CHUNKS:,} chunks, {seconds:.0f} s")
    for column in ("ms", "first tenth", "last tenth", "ratio"):
        table.add_column(column, justify="left" if column == "ms" else "right")
    for name, times in (("commit", commit_times), ("search", search_times)):
        tenth = max(1, len(times) // 10)
        for label, percent in (("p50", 50), ("p99", 99)):
            first, last = (float(np.percentile(part, percent)) for part in (times[:tenth], times[-tenth:]))
            table.add_row(f"{name} {label}", f"{first:.1f}", f"{last:.1f}", f"{last / first:.2f}")
    tenth = max(1, commits // 10)
    first, last = (float(np.mean(times)) for times in (processor_times[:tenth], processor_times[-tenth:]))
    table.add_row("processor per commit", f"{first:.1f}", f"{last:.1f}", f"{last / first:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
