"""How live tables lie in SQLite: the only place where SQL is composed of names.

`headrace_store`, `headrace_tables` and `headrace_facts`, and for each live table a table `row_NAME` and a view `NAME`.
A name enters SQL as a quoted identifier or inside a quoted path, a value as a parameter. The views need nothing but
SQLite itself, so that any tool can read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from stores.rows.base import GONE, HELD, LiveTable
from stores.rows.sqlite_image import json_path, member

APPLICATION = 0x48524F57
VERSION, OLDEST = 2, 1
"""Of the layout; the oldest that is still read. 2: rows have histories, which a program that knows nothing of them
would not go on with."""
ROW_PREFIX = "row_"
OURS = "_source", "_key", "_position", "_as_of", "_applied_at", "_initiator", "_unknown_since"
_VIEW_COLUMNS = 1900
"""Columns that a view shows at most: SQLite's own limit is 2000. `RowReader.select` reaches them all."""

STORE_TABLES = (
    "CREATE TABLE headrace_store (identity TEXT NOT NULL, made_at INTEGER NOT NULL) STRICT",
    "CREATE TABLE headrace_tables (name TEXT PRIMARY KEY, newest INTEGER) STRICT, WITHOUT ROWID",
    """CREATE TABLE headrace_facts (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID""",
)


class Layout(NamedTuple):
    """What a database holds from its beginning on, and what tells it from others.

    :arg name: What it is called in errors.
    :arg tables: The statements that make it.
    :arg cache_kib: Memory that its writer may fill with pages.
    :arg oldest: Layouts from this version on are read, and their writer makes them this one; None: there are none.
    """

    name: str
    application: int
    version: int
    tables: tuple[str, ...]
    cache_kib: int = 65_536
    oldest: int | None = None

    def reads(self, version: int) -> bool:
        """Tell whether a database of this version can be read."""
        return (self.version if self.oldest is None else self.oldest) <= version <= self.version


ROWS = Layout("row store", APPLICATION, VERSION, STORE_TABLES, oldest=OLDEST)

STANDING_COLUMNS = ("key", "source", "state", "position", "stream", "partition", "offset", "as_of")
COLUMNS = (*STANDING_COLUMNS, "gaps", "place", "applied_at", "initiator", "transaction_id", "image")
"""Of a row's table. `place` is `position` for people. The image is last, so that the rest is read without it.
Behind it there is `history`, where it is kept what rows were."""

# A row has an id of its own: images within the tree of the keys were written three times slower.
_ROW_TABLE = """CREATE TABLE IF NOT EXISTS {table} (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, source TEXT NOT NULL, state INTEGER NOT NULL, position BLOB NOT NULL,
    stream TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, as_of INTEGER NOT NULL, gaps TEXT,
    place TEXT NOT NULL, applied_at INTEGER NOT NULL, initiator TEXT NOT NULL, transaction_id TEXT NOT NULL,
    image TEXT, history TEXT, UNIQUE (source, key)) STRICT"""

# Rows that are not live are looked for by time; live ones, the most by far, are in none of these.
_IMAGED, _BARE, _HELD = f"state = {GONE} AND image IS NOT NULL", f"state = {GONE} AND image IS NULL", f"state = {HELD}"
_STATE_INDEXES = {"imaged": _IMAGED, "bare": _BARE, "held": _HELD}

_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


def identifier(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""').replace("\0", "\ufffd") + '"'


def literal(text: str) -> str:
    """Return `text` as an SQL literal; for names in definitions, values are parameters."""
    return "'" + text.replace("'", "''") + "'"


def row_table(name: str) -> str:
    """Return, as an identifier, the table of live table `name`."""
    return identifier(ROW_PREFIX + name)


def make_row_table(name: str) -> list[str]:
    """Return the statements that make the table of live table `name` where it is not there yet."""
    table = row_table(name)
    return [
        _ROW_TABLE.format(table=table),
        *(
            f"CREATE INDEX IF NOT EXISTS {identifier(f'{ROW_PREFIX}{name} {label}')} ON {table} (as_of) WHERE {where}"
            for label, where in _STATE_INDEXES.items()
        ),
    ]


def add_history(name: str) -> str:
    """Return the statement that brings the table of live table `name` from layout 1 to 2."""
    return f"ALTER TABLE {row_table(name)} ADD COLUMN history TEXT"


def put(name: str, *more: str) -> str:
    """Return the statement that writes one row, given its COLUMNS and some more."""
    columns = (*COLUMNS, *more)
    marks = ", ".join("?" * len(columns))
    update = ", ".join(f"{column} = excluded.{column}" for column in columns[2:])
    return (
        f"INSERT INTO {row_table(name)} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  # our own names
        f" ON CONFLICT (source, key) DO UPDATE SET {update}"
    )


def look_through(name: str) -> tuple[str, str]:
    """Return, for forgetting histories, the query for the rows to look at and the update of those between two."""
    table = row_table(name)
    return (
        f"SELECT max(id), count(*) FROM (SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT ?)",  # noqa: S608
        f"UPDATE {table} SET history = NULL WHERE id > ? AND id <= ? AND history IS NOT NULL AND as_of < ?",  # noqa: S608
    )


def find(name: str, columns: Iterable[str]) -> str:
    """Return the query for rows of one source, given that and the keys as a JSON array."""
    keys = "SELECT value FROM json_each(?)"
    return f"SELECT {', '.join(columns)} FROM {row_table(name)} WHERE source = ? AND key IN ({keys})"  # noqa: S608  # our own names


def bury(name: str) -> str:
    """Return the update for `RowWriter.bury`, in the words of `events.changes.supersedes`."""
    # The states are written out, here and below, as SQLite matches a partial index with literals only.
    return f"""UPDATE {row_table(name)} SET state = {GONE}, gaps = NULL, initiator = '', transaction_id = '',
        position = CASE :position WHEN x'' THEN position ELSE :position END,
        place = CASE :position WHEN x'' THEN place ELSE :place END,
        stream = :stream, partition = :partition, offset = :offset, as_of = :as_of, applied_at = :applied_at
        WHERE source = :source AND state = :state AND CASE
            WHEN :position <> x'' AND position <> x'' AND position <> :position THEN position < :position
            WHEN stream <> :stream OR partition <> :partition THEN 1 ELSE offset < :offset END"""  # noqa: S608


def drop(name: str) -> str:
    """Return the statement that removes one row, given its source and key."""
    return f"DELETE FROM {row_table(name)} WHERE source = ? AND key = ?"  # noqa: S608  # our own names


def restate(name: str, old: int, state: int) -> str:
    """Return the update of a state, given the first `as_of` and the first one after the last."""
    where = _IMAGED if old == GONE else f"state = {old:d} AND image IS NOT NULL"
    return f"UPDATE {row_table(name)} SET state = {state:d} WHERE {where} AND as_of >= ? AND as_of < ?"  # noqa: S608


def forget(name: str) -> tuple[str, str, str]:
    """Return the statements that drop images, rows with an image and rows without one, each given an `as_of`."""
    table = row_table(name)
    return (
        f"UPDATE {table} SET image = NULL WHERE {_IMAGED} AND as_of < ?",  # noqa: S608
        f"DELETE FROM {table} WHERE {_IMAGED} AND as_of < ?",  # noqa: S608
        f"DELETE FROM {table} WHERE {_BARE} AND as_of < ?",  # noqa: S608
    )


def count_live(name: str) -> str:
    """Return the query for the number of live rows: all of the smallest index less those of the partial ones."""
    table = row_table(name)
    others = " - ".join(f"(SELECT count(*) FROM {table} WHERE {where})" for where in _STATE_INDEXES.values())  # noqa: S608
    return f"SELECT (SELECT count(*) FROM {table}) - {others}"  # noqa: S608


def count_held(name: str) -> str:
    """Return the query for the number of held rows."""
    return f"SELECT count(*) FROM {row_table(name)} WHERE {_HELD}"  # noqa: S608


def count_slices(name: str, state: int) -> str:
    """Return the query for the slices of rows in `state` that have an image, given the window (ms) four times."""
    where = _IMAGED if state == GONE else f"{_HELD} AND image IS NOT NULL"
    # Division in SQL rounds towards zero; a slice's number is rounded down.
    slice_ = "(as_of - ((as_of % ?) + ?) % ?) / ?"
    return f"SELECT {slice_}, count(*) FROM {row_table(name)} WHERE {where} GROUP BY 1"  # noqa: S608


def view_columns(names: Iterable[str]) -> dict[str, str]:
    """Return for the columns of rows what they are called in the view.

    SQLite does not tell upper case from lower in names. A column whose name another one has already, or the view
    itself, gets a number: `Id` becomes `Id_2` beside `id`. So does one called `true` or `false`: SQLite takes that for
    the value, even in quotes.
    """
    shown: dict[str, str] = {}
    taken = {_folded(name) for name in (*OURS, "true", "false")}
    for name in names:
        if len(shown) == _VIEW_COLUMNS:
            break
        label, number = name.replace("\0", "\ufffd"), 1
        while _folded(label) in taken:
            number += 1
            label = f"{name}_{number}".replace("\0", "\ufffd")
        taken.add(_folded(label))
        shown[name] = label
    return shown


def value(column: str) -> str:
    """Return the expression for the value of a column: the same text wherever an index is to be used."""
    return f"json_extract(image, {literal(json_path(member(column)))})"


def view(table: LiveTable) -> str:
    """Return the statement that makes the view.

    With a time-to-live it is two queries in one: of rows that are fresh, and of those of which only the key is known.
    A condition reaches into both, so that indexes work.
    """
    shown = view_columns(table.kinds)
    times = f'{_iso("as_of")} AS "_as_of", {_iso("applied_at")} AS "_applied_at", initiator AS "_initiator"'
    ours = f'source AS "_source", key AS "_key", place AS "_position", {times}'
    source = f"FROM {row_table(table.name)} WHERE state <> {GONE}"
    fresh = "".join(f", {value(column)} AS {identifier(label)}" for column, label in shown.items())
    query = f'SELECT {ours}, NULL AS "_unknown_since"{fresh} {source}'
    if table.ttl_millis is not None:
        stale = "".join(f", {key_value(column)} AS {identifier(label)}" for column, label in shown.items())
        since = _iso(f"as_of + {table.ttl_millis:d}")
        passed = f"as_of + {table.ttl_millis:d} <= {_NOW}"
        query += f' AND NOT {passed} UNION ALL SELECT {ours}, {since} AS "_unknown_since"{stale} {source} AND {passed}'
    return f"CREATE VIEW {identifier(table.name)} AS {query}"


def key_value(column: str) -> str:
    """Return the expression for the value that a row's key gives for a column."""
    if member(column) != column.replace("%", "%25"):
        return "NULL"  # a key has names as they are, and no path leads to such a one
    return f"CASE WHEN json_valid(key) THEN json_extract(key, {literal(json_path(column))}) END"


def indexes(table: LiveTable) -> dict[str, str]:
    """Return, by name, the statements that make the indexes of the columns by which rows are looked up often."""
    made: dict[str, str] = {}
    for number, column in enumerate(table.indexes):
        for label, expression in (("by", value(column)), ("past", key_value(column))):
            # A row past its time-to-live is found by its key alone.
            if label == "by" or table.ttl_millis is not None:
                name = f"{ROW_PREFIX}{table.name} {label} {number}"
                made[name] = f"CREATE INDEX {identifier(name)} ON {row_table(table.name)} ({expression})"
    return made


def is_lookup_index(index: str, name: str) -> bool:
    """Tell whether the index is one that `indexes` made for live table `name`."""
    return index.startswith((f"{ROW_PREFIX}{name} by ", f"{ROW_PREFIX}{name} past "))


def _iso(millis: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', ({millis}) / 1000.0, 'unixepoch')"


def _folded(name: str) -> str:
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in name)
