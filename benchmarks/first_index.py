"""The first index of a folder, beside the bare model on the same texts: `python -m benchmarks.first_index`.

Both run in this process, in turn, so that the share holds whatever else the machine does. The flow starts each time
from nothing: no store, no cache. The bare model gets all chunk texts at once and sorts them by length.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bytewax.testing import run_main
from rich.console import Console
from rich.table import Table

from benchmarks.corpus import Corpus
from dataflows.knowledge import build
from events.documents import embedded_text
from stores.embedders.base import Embedder
from stores.embedders.choose import choose_embedder
from stores.settings import load
from stores.vectors.lance_reader import LanceReader

SHARE_AIM = 0.90


def index(folder: Path, data: Path) -> float:
    """Index `folder` from nothing; return the seconds from the flow's start to its end."""
    settings: dict[str, Any] = {"folders": [{"name": "bench", "path": str(folder)}], "streams": []}
    flow = build(load(data_dir=data, mode="replay", knowledge=settings))
    started = time.perf_counter()
    run_main(flow)
    return time.perf_counter() - started


def texts_of(data: Path) -> list[str]:
    """Return every text that the flow has embedded into the store."""
    reader = LanceReader(data / "vectors")
    return [
        embedded_text(item.heading, item.text)
        for document in reader.documents()
        for item in reader.chunks(document.source, document.uri)
    ]


def bare(embedder: Embedder, texts: list[str]) -> float:
    """Embed `texts`; return the seconds."""
    started = time.perf_counter()
    embedder.embed(texts)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    settings = load().embedding
    embedder = choose_embedder(settings.backend, settings.threads)
    embedder.embed(["load the model before the clock runs"])
    flow_seconds, bare_seconds = [], []
    texts: list[str] = []
    with tempfile.TemporaryDirectory(prefix="headrace-first-") as scratch:
        folder = Path(scratch) / "docs"
        Corpus(arguments.files, seed=2).write(folder)
        index(folder, Path(scratch) / "warm-up")
        for turn in range(arguments.rounds):
            data = Path(scratch) / f"data-{turn}"
            flow_seconds.append(index(folder, data))
            texts = texts or texts_of(data)
            bare_seconds.append(bare(embedder, texts))
    tokens = sum(embedder.count_tokens(texts))
    shares = [model / flow for model, flow in zip(bare_seconds, flow_seconds, strict=True)]
    flow, model = statistics.median(flow_seconds), statistics.median(bare_seconds)

    table = Table("", "seconds", "documents/s", "tokens/s", title=f"First index of {arguments.files} documents")
    table.add_row("knowledge flow", f"{flow:.2f}", f"{arguments.files / flow:.1f}", f"{tokens / flow:,.0f}")
    table.add_row("bare model", f"{model:.2f}", "", f"{tokens / model:,.0f}")
    console = Console()
    console.print(table)
    share = statistics.median(shares)
    console.print(f"share of the bare model: {share:.0%} (aim: at least {SHARE_AIM:.0%}); {len(texts)} pieces")


if __name__ == "__main__":
    main()
