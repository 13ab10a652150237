"""A search in one snapshot of PostgreSQL: by meaning and by words, each filtered before it ranks, then fused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from psycopg.sql import SQL, Composed, Identifier

from events.context import FoundChunk
from stores.rows.postgres_image import to_text
from stores.rows.postgres_session import Session
from stores.vectors.base import Query
from stores.vectors.fusion import fuse
from stores.vectors.postgres_schema import DOCUMENTS, Store, chunk_table_name, labels_of
from stores.vectors.postgres_values import ITEM, item_of, vector_text
from stores.vectors.postgres_words import (
    CONFIGURATIONS,
    MOST_TERMS,
    SIMPLE,
    Ranked,
    Term,
    bringing,
    plain_words,
    ranking_query,
    terms_query,
)

_CANDIDATES = 50  # of each ranking, as in LanceDB
_LOOK_AT = 4
"""How many times the candidates the index looks at; 1,000 are the most that pgvector lets it."""


def search(session: Session, store: Store, query: Query) -> list[FoundChunk]:
    """Return the best items of the snapshot that `session` is in, best first."""
    condition, values = _filter(query)
    ranked = Ranked(store.table, condition, values, max(_CANDIDATES, 4 * query.k))
    rankings = []
    if query.vector is not None:
        rankings.append(_near(session, store, ranked, query.vector))
    if words := plain_words(query.text):
        rankings.append(_matching(session, store, ranked, words, query.language))
    return _join(session, store, fuse(rankings), query)


def _filter(query: Query) -> tuple[Composed, dict[str, Any]]:
    """Return the condition for what may be ranked at all, with its parameters."""
    filters = [SQL("labels && %(labels)s::bigint[]")]
    values: dict[str, Any] = {"labels": labels_of(query.audiences)}
    for value, name, condition in (
        (query.source, "source", SQL("source = %(source)s")),
        (query.uri_prefix, "prefix", SQL("uri ^@ %(prefix)s")),
        (query.language, "language", SQL("language = %(language)s")),
    ):
        if value:
            filters.append(condition)
            values[name] = to_text(value)
    return SQL(" AND ").join(filters), values


def _near(session: Session, store: Store, ranked: Ranked, vector: Sequence[float]) -> list[str]:
    """Rank by meaning: the nearest by cosine; equal ones in the order of their ids."""
    query = SQL(
        """SELECT id, vector OPERATOR({place}.<=>) %(vector)s::{type} AS distance FROM {table} WHERE {allowed}
        ORDER BY vector OPERATOR({place}.<=>) %(vector)s::{type} LIMIT %(depth)s"""
    ).format(
        place=Identifier(store.extension),
        type=Identifier(store.extension, "vector"),
        table=ranked.table,
        allowed=ranked.condition,
    )
    values = {**ranked.values, "vector": vector_text(vector), "depth": ranked.depth}
    if store.indexed:
        look_at = min(1000, _LOOK_AT * ranked.depth)
        settings = """SELECT set_config('hnsw.ef_search', %s, true),
            set_config('hnsw.iterative_scan', 'relaxed_order', true)"""
        session.execute(settings, (str(look_at),))
    rows = session.execute(query, values).fetchall()
    if store.indexed and len(rows) < ranked.depth:
        # The index gives up after so many that the filters let nothing of through: all others are looked at then.
        session.execute("SELECT set_config('enable_indexscan', 'off', true)")
        rows = session.execute(query, values).fetchall()
        session.execute("SELECT set_config('enable_indexscan', 'on', true)")
    hits = sorted((distance, name) for name, distance in rows if not math.isnan(distance))
    return [name for _, name in hits]


def _matching(session: Session, store: Store, ranked: Ranked, words: str, language: str) -> list[str]:
    """Rank by words."""
    configurations = store.configurations
    if language:
        configurations = tuple({CONFIGURATIONS.get(language, SIMPLE), SIMPLE}.intersection(configurations))
    query, values = terms_query(words, configurations, store.schema, chunk_table_name(store.generation))
    terms = [Term(tuple(lexemes), share) for lexemes, share in session.execute(query, values)][:MOST_TERMS]
    if not terms:
        return []

    def ranking(bring: Sequence[Term]) -> list[str]:
        query, values = ranking_query(ranked, terms, bring, chunks=store.chunks, words=store.words)
        return [row[0] for row in session.execute(query, values)]

    found = ranking(rarer := bringing(terms))
    return found if len(found) == ranked.depth or len(rarer) == len(terms) else ranking(terms)


def _join(session: Session, store: Store, ranked: Sequence[tuple[str, float]], query: Query) -> list[FoundChunk]:
    """Return the first of the ranked chunks, with what their documents say of them."""
    join = SQL(
        """SELECT {item}, document.since[place], place
        FROM {chunks} AS piece JOIN {documents} AS document ON document.id = piece.document,
            array_position(document.manifest, piece.id) AS place
        WHERE piece.id = ANY(%b::text[]) AND document.audience && %b::text[] AND place IS NOT NULL"""
    ).format(item=SQL(ITEM), chunks=store.table, documents=Identifier(store.schema, DOCUMENTS))
    audiences = [to_text(label) for label in query.audiences]
    items: list[FoundChunk] = []
    for start in range(0, len(ranked), query.k):
        block = ranked[start : start + query.k]
        found = {row[0]: row for row in session.execute(join, ([name for name, _ in block], audiences))}
        items += [item_of(found[name], score) for name, score in block if name in found]
        if len(items) >= query.k:
            break
    return items[: query.k]
