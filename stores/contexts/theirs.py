"""What is a person's among the served contexts: by its name on them, and by the conversations that are its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import msgspec

# A conversation is theirs as a whole: whatever else was said or shown in it.
_CONVERSATIONS = """CREATE TEMP TABLE theirs AS SELECT value AS conversation FROM json_each(:conversations)
    UNION SELECT conversation FROM holders WHERE realm = :realm AND person <> '' AND person IN persons
    UNION SELECT conversation FROM contexts WHERE realm = :realm AND person <> '' AND person IN persons
    UNION SELECT conversation FROM turns WHERE person <> '' AND person IN persons"""
THEIR_CONTEXTS = """FROM contexts WHERE (realm = :realm AND person <> '' AND person IN persons)
    OR (conversation <> '' AND conversation IN theirs) OR id IN (SELECT value FROM json_each(:ids))"""
THEIR_TURNS = "FROM turns WHERE conversation IN theirs OR (person <> '' AND person IN persons)"


@contextmanager
def theirs(
    db: sqlite3.Connection,
    realm: str,
    persons: Collection[str],
    conversations: Collection[str],
    ids: Collection[str] = (),
) -> Iterator[dict[str, str]]:
    """Make tables of whose it is, for the block; return the values that the queries over them take."""
    values = {"realm": realm, "conversations": _json(conversations), "ids": _json(ids)}
    try:
        db.execute("CREATE TEMP TABLE persons AS SELECT value AS person FROM json_each(?)", (_json(persons),))
        db.execute(_CONVERSATIONS, values)
        db.execute("DELETE FROM theirs WHERE conversation = ''")
        yield values
    finally:
        db.execute("DROP TABLE IF EXISTS temp.theirs")
        db.execute("DROP TABLE IF EXISTS temp.persons")


def count(db: sqlite3.Connection, what: str, values: dict[str, str]) -> int:
    """Return how many of `THEIR_CONTEXTS` or `THEIR_TURNS` there are."""
    return int(db.execute(f"SELECT count(*) {what}", values).fetchone()[0])


def _json(values: Collection[str]) -> str:
    return msgspec.json.encode(sorted(values)).decode()
