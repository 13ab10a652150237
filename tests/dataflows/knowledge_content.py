"""What a vector store holds, in a form that two runs can be compared by; and a knowledge flow run in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bytewax.testing import cluster_main, run_main

from dataflows.knowledge import build
from stores.settings import load
from stores.vectors.lance_reader import LanceReader


def content(data: Path) -> dict[str, Any]:
    """Return all documents with all their pieces, and the offsets taken in; when it was applied is left out."""
    reader = LanceReader(data / "vectors")
    documents = {
        f"{found.source}/{found.uri}": {
            "title": found.title,
            "language": found.language,
            "audience": found.audience,
            "metadata": found.metadata,
            "position": found.position,
            "as_of": found.as_of,
            "pieces": [
                (piece.id, piece.heading, piece.text, piece.since, piece.ordinal)
                for piece in reader.chunks(found.source, found.uri)
            ],
        }
        for found in reader.documents()
    }
    return {"documents": documents, "applied": applied(data)}


def applied(data: Path) -> dict[str, int]:
    """Return how far each partition has been taken in."""
    return {f"{mark.source}/{mark.partition}": mark.offset for mark in LanceReader(data / "vectors").applied()}


def replay(log: Path, data: Path, *, workers: int = 1, batch: int = 64, stream: str = "documents") -> dict[str, Any]:
    """Run the knowledge flow over a recorded stream to its end; return the content of the store."""
    settings = load(
        data_dir=data,
        mode="replay",
        log={"dir": log},
        embedding={"backend": "hashing"},
        knowledge={"streams": [stream], "batch_size": batch},
    )
    flow = build(settings)
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    return content(data)
