"""How well a search finds what it should: `python -m benchmarks.retrieval`.

nDCG@10 of the store's own search, by meaning, by words, and by both, on two public collections: Cranfield (1,400
abstracts, 225 questions, several right answers each) and XQuAD in English (240 paragraphs, 1,190 questions, one right
answer each). Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002).
"""

from __future__ import annotations

import html
import json
import math
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from events.clock import system_clock
from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate, embedded_text
from stores.embedders.base import Model
from stores.embedders.choose import choose_embedder
from stores.vectors.base import Query, VectorReader
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter

DATA = Path(__file__).parents[2] / "shared" / "data"
CUT = 10

Vectors = npt.NDArray[np.float32]


class Collection(NamedTuple):
    """Documents (name, title, text), questions, and for each question the worth of the documents that answer it."""

    name: str
    documents: list[tuple[str, str, str]]
    questions: list[str]
    answers: list[dict[str, int]]


def cranfield(folder: Path) -> Collection:
    """Read Cranfield in its TREC form. Its judgements count the questions; the questions' own numbers have gaps."""

    def field(document: str, name: str) -> str:
        match = re.search(f"<{name}>(.*?)</{name}>", document, re.DOTALL)
        return html.unescape(" ".join(match.group(1).split())) if match else ""

    documents = [
        (field(document, "docno"), field(document, "title"), field(document, "text"))
        for document in re.findall(r"<doc>(.*?)</doc>", (folder / "cran.all.1400.xml").read_text(), re.DOTALL)
    ]
    asked = (folder / "cran.qry.xml").read_text()
    questions = [" ".join(text.split()) for text in re.findall(r"</num>\s*<title>(.*?)</title>", asked, re.DOTALL)]
    answers: list[dict[str, int]] = [{} for _ in questions]
    for line in (folder / "cranqrel.trec.txt").read_text().splitlines():
        question, _, document, worth = line.split()
        answers[int(question) - 1][document] = int(worth)
    return Collection("Cranfield", documents, questions, answers)


def xquad(folder: Path) -> Collection:
    """Read XQuAD: to find the paragraph that a question was written for."""
    collection = Collection("XQuAD en", [], [], [])
    for article in json.loads((folder / "xquad.en.json").read_text())["data"]:
        for paragraph in article["paragraphs"]:
            name = str(len(collection.documents))
            collection.documents.append((name, "", paragraph["context"]))
            for question in paragraph["qas"]:
                collection.questions.append(question["question"])
                collection.answers.append({name: 1})
    return collection


def ndcg(ranking: Sequence[str], answers: Mapping[str, int]) -> float:
    """Return the normalised discounted cumulated gain of the first ten."""
    gain = sum(answers.get(name, 0) / math.log2(rank + 2) for rank, name in enumerate(ranking[:CUT]))
    best = sorted(answers.values(), reverse=True)[:CUT]
    ideal = sum(worth / math.log2(rank + 2) for rank, worth in enumerate(best))
    return gain / ideal if ideal else 0.0


def store(collection: Collection, folder: Path, model: Model, vectors: Vectors) -> VectorReader:
    """Write each document as one chunk."""
    updates = []
    for (name, title, text), vector in zip(collection.documents, vectors, strict=True):
        chunk = Chunk(name, (title,) if title else (), text, 0)
        change = DocumentChange("benchmark", name, "upsert", 1, 1)
        document = ChunkedDocument(change, title, "en", (chunk,))
        updates.append(DocumentUpdate(document, vectors={name: vector.astype("<f4").tobytes()}))
    with LanceWriter(folder, model, embed=lambda texts: [], clock=system_clock) as writer:
        writer.write(updates)
    return LanceReader(folder, model)


def measure(collection: Collection, reader: VectorReader, vectors: Vectors) -> dict[str, tuple[float, float]]:
    """Return nDCG@10 and the median milliseconds of a search, by meaning, by words and by both."""
    results = {}
    for way in ("meaning", "words", "both"):
        gains, times = [], []
        for question, vector, answers in zip(collection.questions, vectors, collection.answers, strict=True):
            query = Query(
                vector=None if way == "words" else vector.tolist(), text="" if way == "meaning" else question, k=CUT
            )
            start = time.perf_counter()
            items = reader.search(query)
            times.append(1_000 * (time.perf_counter() - start))
            gains.append(ndcg([item.uri for item in items], answers))
        results[way] = float(np.mean(gains)), float(np.median(times))
    return results


def main() -> None:
    sources = {"cranfield": cranfield, "xquad": xquad}
    missing = [name for name in sources if not (DATA / name).is_dir()]
    if missing:
        print(f"skipped: the data sets {', '.join(missing)} are not in {DATA}")
        return
    embedder = choose_embedder("auto", 0)
    table = Table(title=f"nDCG@{CUT}, {embedder.model.name}")
    for column in ("collection", "documents", "questions", "meaning", "words", "both", "search ms"):
        table.add_column(column, justify="left" if column == "collection" else "right")
    for folder, read in sources.items():
        collection = read(DATA / folder)
        texts = [embedded_text((title,) if title else (), text) for _, title, text in collection.documents]
        documents, questions = embedder.embed(texts), embedder.embed(collection.questions)
        with tempfile.TemporaryDirectory() as place:
            reader = store(collection, Path(place), embedder.model, documents)
            results = measure(collection, reader, questions)
        table.add_row(
            collection.name,
            f"{len(collection.documents):,}",
            f"{len(collection.questions):,}",
            *(f"{results[way][0]:.4f}" for way in ("meaning", "words", "both")),
            f"{results['both'][1]:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
