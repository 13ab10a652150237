"""Statements that stand in a binlog beside its rows: which of them say something of the rows of captured tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_NAME = r"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|[\w$\u0080-\uffff]+)"
_TABLE = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_SPACE = re.compile(r"(?:\s+|/\*(?![!M]).*?\*/|--\s[^\n]*(?:\n|$)|#[^\n]*(?:\n|$))+", re.DOTALL)
_TRUNCATE = re.compile(rf"TRUNCATE\s+(?:TABLE\s+)?({_TABLE})", re.IGNORECASE)
_DROP = re.compile(rf"DROP\s+TABLES?\s+(?:IF\s+EXISTS\s+)?({_TABLE}(?:\s*,\s*{_TABLE})*)", re.IGNORECASE)
_REPLACE = re.compile(rf"CREATE\s+OR\s+REPLACE\s+TABLE\s+({_TABLE})", re.IGNORECASE)
_DATABASE = re.compile(rf"DROP\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+EXISTS\s+)?({_NAME})", re.IGNORECASE)
_WRITES = re.compile(r"(?:INSERT|UPDATE|DELETE|REPLACE|LOAD)\b", re.IGNORECASE)
_MOVES = re.compile(
    r"RENAME\s+TABLE|ALTER\s+(?:ONLINE\s+|IGNORE\s+)*TABLE\b.*\b(?:RENAME\s+(?:TO\b|AS\b|=|`|(?!COLUMN|INDEX|KEY)\w)|"
    r"(?:DROP|TRUNCATE|EXCHANGE|CONVERT)\s+(?:PARTITION|TABLE)\b|DISCARD\s|IMPORT\s)",
    re.IGNORECASE | re.DOTALL,
)


class Said(NamedTuple):
    """What a statement says of a captured table.

    `emptied`   all its rows went
    `unseen`    rows of it changed, and the binlog does not say how
    `moved`     the table was renamed, or partitions of it came or went: the binlog does not say what rows that was
    """

    table: str
    what: Literal["emptied", "unseen", "moved"]


def said_of(statement: str, database: str, tables: frozenset[str]) -> list[Said]:
    """Return what a statement says of captured tables, each `database.table`.

    :arg database: The one that was chosen when it ran.
    """
    text = _SPACE.sub(" ", statement).strip()
    for pattern in (_TRUNCATE, _DROP, _REPLACE):
        if found := pattern.match(text):
            return [Said(name, "emptied") for name in _names(found[1], database) if name in tables]
    if found := _DATABASE.match(text):
        gone = f"{_unquoted(found[1])}."
        return [Said(name, "emptied") for name in sorted(tables) if name.startswith(gone)]
    if _WRITES.match(text):
        return [Said(name, "unseen") for name in sorted(tables) if _mentions(text, name, database)]
    if _MOVES.match(text):
        return [Said(name, "moved") for name in sorted(tables) if _mentions(text, name, database)]
    return []


def _names(listed: str, database: str) -> Iterator[str]:
    for found in re.finditer(rf"({_NAME})(?:\s*\.\s*({_NAME}))?", listed):
        first, second = found.groups()
        yield f"{_unquoted(first)}.{_unquoted(second)}" if second else f"{database}.{_unquoted(first)}"


def _unquoted(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(2 * quote, quote) if quote in '`"' else name


def _mentions(text: str, table: str, database: str) -> bool:
    schema, _, name = table.partition(".")
    quoted = rf"(?<![\w$])`?{re.escape(name)}`?(?![\w$])"
    return bool(re.search(quoted, text)) and (schema == database or schema in text)
