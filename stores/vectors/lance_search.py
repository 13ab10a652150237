"""A search in one version of the table: by meaning and by words, each filtered before it ranks, then fused."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from events.context import FoundChunk
from stores.vectors.base import Query
from stores.vectors.fusion import fuse
from stores.vectors.lance_schema import (
    CHUNK,
    CHUNK_COLUMNS,
    DOCUMENT,
    DOCUMENT_ID,
    SHOWN_COLUMNS,
    begins,
    literal,
    rows_by_id,
    shares_one,
    to_item,
    to_shown,
)

if TYPE_CHECKING:
    from lancedb.table import Table
else:
    Table = Any

_CANDIDATES = 50  # of each ranking; more of them do not make the fused one better
_REFINE = 3
"""How many times the candidates are ranked again by their full vectors. At 100,000 chunks the first ten are the exact
ones with 2 already, and 5 takes 3 ms longer."""
_BESIDE = 4


def search(table: Table, query: Query) -> list[FoundChunk]:
    """Return the best items of the version that `table` is at, best first."""
    allowed = _filter(query)
    depth = max(_CANDIDATES, 4 * query.k)
    if query.vector is None or not query.text.strip():
        rankings = [_near(table, query, allowed, depth)] if query.vector is not None else []
        if query.text.strip():
            rankings.append(_matching(table, query, allowed, depth))
    else:
        matching = _beside().submit(_matching, table, query, allowed, depth)
        rankings = [_near(table, query, allowed, depth), matching.result()]
    documents = {chunk_id: document for ranking in rankings for chunk_id, document in ranking.items()}
    return _join(table, fuse([list(ranking) for ranking in rankings]), documents, query.k)


@functools.cache
def _beside() -> ThreadPoolExecutor:
    """Return the threads in which one ranking runs beside the other."""
    return ThreadPoolExecutor(_BESIDE, thread_name_prefix="search")


def _filter(query: Query) -> str:
    """Return what may be ranked at all."""
    filters = [shares_one("audience", query.audiences)]
    if query.source:
        filters.append(f"source = {literal(query.source)}")
    if query.uri_prefix:
        filters.append(begins("uri", query.uri_prefix))
    if query.language:
        filters.append(f"language = {literal(query.language)}")
    return " AND ".join(filters)


def _near(table: Table, query: Query, allowed: str, depth: int) -> dict[str, str]:
    import numpy as np

    near = table.search(np.asarray(query.vector, dtype=np.float32), vector_column_name="vector")
    return _ranking(near.distance_type("cosine").refine_factor(_REFINE), "_distance", 1, allowed, depth)


def _matching(table: Table, query: Query, allowed: str, depth: int) -> dict[str, str]:
    from lancedb.query import MatchQuery

    # A match query takes the words as words: nothing in a question is syntax.
    match = table.search(MatchQuery(query.text, "words"), query_type="fts")
    return _ranking(match, "_score", -1, allowed, depth)


def _ranking(search: Any, by: str, sign: int, allowed: str, depth: int) -> dict[str, str]:
    """Run one ranking; equal ones in the order of their ids. Returns each hit's document by its id, best first."""
    found = search.where(allowed, prefilter=True).select(["id", "document", by]).limit(depth).to_arrow().to_pylist()
    hits = [row for row in found if not math.isnan(row[by])]
    hits.sort(key=lambda row: (sign * row[by], row["id"]))
    return {row["id"]: row["document"] for row in hits}


def _join(table: Table, ranked: Sequence[tuple[str, float]], documents: dict[str, str], k: int) -> list[FoundChunk]:
    """Return the first `k` of the ranked chunks that belong to a document, with what it says of them."""
    items: list[FoundChunk] = []
    for start in range(0, len(ranked), k):
        block = ranked[start : start + k]
        names = [DOCUMENT_ID + document for document in {documents[chunk_id] for chunk_id, _ in block}]
        columns = list(dict.fromkeys([*CHUNK_COLUMNS, *SHOWN_COLUMNS]))
        rows = rows_by_id(table, [*(chunk_id for chunk_id, _ in block), *names], columns)
        chunks = {row["id"]: row for row in rows if row["kind"] == CHUNK}
        holders = {row["document"]: to_shown(row) for row in rows if row["kind"] == DOCUMENT}
        for chunk_id, score in block:
            held = holders.get(documents[chunk_id])
            if held is not None and chunk_id in held.manifest:
                items.append(to_item(chunks[chunk_id], held, held.manifest.index(chunk_id), score))
        if len(items) >= k:
            break
    return items[:k]
