"""Change the model of a store: every chunk is embedded again, beside the running readers.

The table with the new vectors is built next to the active one and takes its place when it is complete, by one rename.
A reindex that is interrupted leaves the store as it was; the next one begins anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from events.errors import StoreError
from stores.embedders.base import Model
from stores.lock import WriterLock
from stores.vectors.lance_folder import (
    connect,
    create_table,
    drop_others,
    next_table,
    read_store,
    replace_store,
)
from stores.vectors.lance_schema import CHUNK, DELETED, DOCUMENT, MARK, Row, one_of, to_table
from stores.vectors.plan import check_vector

if TYPE_CHECKING:
    from lancedb.table import Table
else:
    Table = Any

_BATCH = 512


def reindex(
    path: Path,
    model: Model,
    *,
    embed: Callable[[Sequence[str]], Sequence[bytes]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Embed all chunks of the store in `path` with `model`, and make that the store's model.

    :arg embed: Texts to vectors of `model`, each as float32 little-endian bytes.
    :arg progress: Told after each batch how many chunks are done, and of how many.
    :return: The number of chunks.
    :raises StoreError: When there is no store, or a flow is writing it.
    """
    store = read_store(path)
    if store is None:
        detail = f"there is no vector store in {path}"
        raise StoreError(detail, "run the knowledge flow; it makes one")
    with contextlib.closing(WriterLock(path / "writer.lock", f"the vector store in {path}")):
        # Nobody else can replace it from here on.
        store = read_store(path) or store
        database = connect(path)
        drop_others(database, store.table)
        old = database.open_table(store.table)
        name = next_table(model, after=store.table)
        new = create_table(database, name, model.dimension)
        total = int(old.count_rows(f"kind = '{CHUNK}'"))
        done = 0
        for rows in _batches(old, one_of("kind", [CHUNK])):
            vectors = embed([row["words"] for row in rows])
            for row, vector in zip(rows, vectors, strict=True):
                check_vector(row["document"], row["id"], vector, model.dimension)
                row["vector"] = vector
            new.add(to_table(rows, new.schema))
            done += len(rows)
            progress(done, total)
        for rows in _batches(old, one_of("kind", [DOCUMENT, DELETED, MARK])):
            new.add(to_table(rows, new.schema), on_bad_vectors="null")
        new.optimize()
        # The table that was active stays for those who are reading it: the next writer, or reindex, drops it.
        replace_store(path, msgspec.structs.replace(store, table=name, model=model))
    return done


def _batches(table: Table, rows: str) -> Iterator[list[Row]]:
    columns = [field.name for field in table.schema if field.name != "vector"]
    for batch in table.search().where(rows).select(columns).to_batches(_BATCH):
        if batch.num_rows:
            yield batch.to_pylist()
