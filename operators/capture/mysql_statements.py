"""Statements that stand in a binlog beside its rows: which of them say something of the rows of captured tables.

What is doubtful counts as a change: views, triggers and functions change tables that a statement does not name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

_NAME = r"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|[\w$\u0080-\uffff]+)"
_TABLE = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
# A comment that servers run (`/*!40000 … */`, `/*M! … */`) loses its marks only.
_CLEANED = re.compile(
    r"(?P<text>'[^'\\]*(?:(?:\\.|'')[^'\\]*)*')|(?P<name>`(?:[^`]|``)*`|\"(?:[^\"\\]|\\.)*\")|"
    r"(?:\s+|/\*M?!\d{0,6}|/\*.*?\*/|\*/|--\s[^\n]*(?:\n|$)|#[^\n]*(?:\n|$))+",
    re.DOTALL,
)
_PREFIX = re.compile(r"SET STATEMENT\b(?:`[^`]*`|\"[^\"]*\"|[^`\"])*?\bFOR ", re.IGNORECASE)
_TRUNCATE = re.compile(rf"TRUNCATE\s+(?:TABLE\s+)?({_TABLE})", re.IGNORECASE)
_DROP = re.compile(rf"DROP\s+TABLES?\s+(?:IF\s+EXISTS\s+)?({_TABLE}(?:\s*,\s*{_TABLE})*)", re.IGNORECASE)
_CREATE = re.compile(
    rf"CREATE\s+(OR\s+REPLACE\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({_TABLE})(.*?(?<!`)\bSELECT\b)?",
    re.IGNORECASE | re.DOTALL,
)
_DATABASE = re.compile(
    rf"(?:DROP|CREATE\s+OR\s+REPLACE)\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+EXISTS\s+)?({_NAME})", re.IGNORECASE
)
# What calls a function stands there as SELECT, and only if the function may have written.
_WRITES = re.compile(
    r"[\s(]*(?:ANALYZE\s+(?:FORMAT\s*=\s*\w+\s+)?)?(?:INSERT|UPDATE|DELETE|REPLACE|LOAD|WITH|SELECT|DO|CALL|VALUES)\b",
    re.IGNORECASE,
)
_RENAME = re.compile(r"RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?", re.IGNORECASE)
_RENAMED = re.compile(rf"({_TABLE})(?:\s+(?:WAIT\s+\d+|NOWAIT))?\s+TO\s+({_TABLE})", re.IGNORECASE)
_ALTER = re.compile(
    rf"ALTER\s+(?:ONLINE\s+|OFFLINE\s+|IGNORE\s+)*TABLE\s+(?:IF\s+EXISTS\s+)?({_TABLE})(.*)", re.IGNORECASE | re.DOTALL
)
_BECOMES = re.compile(
    rf"\bRENAME(?:\s+(?:TO|AS)\s+|\s*=\s*|\s*(?=`)|\s+(?!(?:COLUMN|INDEX|KEY)\b))({_TABLE})", re.IGNORECASE
)
_PARTS = re.compile(
    r"\b(?:(?:DROP|TRUNCATE|EXCHANGE|CONVERT)\s+(?:PARTITION|TABLE)\b|(?:DISCARD|IMPORT)\s)", re.IGNORECASE
)

_What = Literal["emptied", "renamed", "moved", "unseen"]


class Said(NamedTuple):
    """What a statement says of a captured table.

    `emptied`   all its rows went
    `renamed`   the same, and others may have come with the name: the binlog does not say which
    `moved`     partitions of it came or went: the binlog does not say what rows that was
    `unseen`    rows of it changed, and the binlog does not say how

    :arg table: `database.table`; if rows are unseen of nobody knows which table, the database alone.
    """

    table: str
    what: _What


def said_of(statement: str, database: str, tables: frozenset[str], *, of_session: bool = False) -> list[Said]:
    """Return what a statement says of captured tables, each `database.table`.

    :arg database: The one that was chosen when it ran.
    :arg of_session: Whether the server has marked it as one that is of its session's own tables.
    """
    text = _PREFIX.sub("", _CLEANED.sub(_cleaned, statement).strip(), count=1)
    if of_session and _TRUNCATE.match(text):
        # Only here the mark says that the table is a temporary one: DROP has it for others as well.
        return []
    for look in (_made, _emptied, _written, _altered):
        if said := look(text, database, tables):
            return said
    return []


def _made(text: str, database: str, tables: frozenset[str]) -> list[Said]:
    found = _CREATE.match(text)
    if not found:
        return []
    what: _What = "unseen" if found[3] else "emptied"
    return _said(_names(found[2], database), what, tables) if found[1] or found[3] else []


def _emptied(text: str, database: str, tables: frozenset[str]) -> list[Said]:
    if found := _TRUNCATE.match(text) or _DROP.match(text):
        return _said(_names(found[1], database), "emptied", tables)
    if found := _DATABASE.match(text):
        gone = f"{_unquoted(found[1])}."
        return _said((name for name in sorted(tables) if name.startswith(gone)), "emptied", tables)
    return []


def _written(text: str, database: str, tables: frozenset[str]) -> list[Said]:
    if not _WRITES.match(text):
        return []
    named = [Said(name, "unseen") for name in sorted(tables) if _mentions(text, name, database)]
    schemas = sorted({name.partition(".")[0] for name in tables})
    return named or [Said(name, "unseen") for name in schemas if name == database or _stands(name, text)]


def _altered(text: str, database: str, tables: frozenset[str]) -> list[Said]:
    if found := _RENAME.match(text):
        pairs = (pair.groups() for pair in _RENAMED.finditer(text, found.end()))
        return _said((name for pair in pairs for each in pair for name in _names(each, database)), "renamed", tables)
    found = _ALTER.match(text)
    if found and (becomes := _BECOMES.search(found[2])):
        return _said((*_names(found[1], database), *_names(becomes[1], database)), "renamed", tables)
    if found and _PARTS.search(found[2]):
        return [Said(name, "moved") for name in sorted(tables) if _mentions(text, name, database)]
    return []


def _cleaned(found: re.Match[str]) -> str:
    return "''" if found["text"] else found["name"] or " "


def _said(names: Iterable[str], what: _What, among: frozenset[str]) -> list[Said]:
    return [Said(name, what) for name in dict.fromkeys(names) if name in among]


def _names(listed: str, database: str) -> Iterator[str]:
    for found in re.finditer(rf"({_NAME})(?:\s*\.\s*({_NAME}))?", listed):
        first, second = found.groups()
        yield f"{_unquoted(first)}.{_unquoted(second)}" if second else f"{database}.{_unquoted(first)}"


def _unquoted(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(2 * quote, quote) if quote in '`"' else name


def _mentions(text: str, table: str, database: str) -> bool:
    schema, _, name = table.partition(".")
    return _stands(name, text) and (schema == database or _stands(schema, text))


def _stands(name: str, text: str) -> bool:
    quoted = re.escape(name.replace("`", "``"))
    return bool(re.search(rf"(?<![\w$])`?{quoted}`?(?![\w$])", text))
