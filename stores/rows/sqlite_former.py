"""Former versions of rows in SQLite: what a change has changed stands in the row, and moves out with the next one.

A row's table gets columns of its newest change. A trigger copies them into a second table whenever the number of the
row's changes grows, over what is `FORMER_VERSIONS` changes old: a row with the id 7 has the places 56 to 63 there, so
that no index is needed. Another trigger removes these with the row. A row of which nothing is known begins with a
number too high for all of its versions to be there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from events.changes import Standing, pack_position, unpack_position
from stores.rows.base import FORMER_VERSIONS, Gaps, Kept, RowId, Step, Version
from stores.rows.sqlite_image import from_text, to_text
from stores.rows.sqlite_row import stored_row, values
from stores.rows.sqlite_schema import COLUMNS, ROW_PREFIX, identifier, row_table

_ADDED = {
    "changes": f"INTEGER NOT NULL DEFAULT {FORMER_VERSIONS}",
    "changed_at": "INTEGER",
    "was": "TEXT",
    "lacked": "TEXT",
}
"""Columns of a row's table, in the order of `_change`, but the first: how many changes the row has had."""
_CHANGE = ("changed_at", "was", "lacked")
_VERSION = ("state", "position", "stream", "partition", "offset", "gaps", *_CHANGE)
"""Columns of a former version, in the order of `_version_values`."""

_FORMER_TABLE = """CREATE TABLE {former} (id INTEGER PRIMARY KEY, state INTEGER NOT NULL, position BLOB NOT NULL,
    stream TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, gaps TEXT, changed_at INTEGER, was TEXT,
    lacked TEXT) STRICT"""

_OVER = "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in _VERSION)

_gaps = msgspec.json.Decoder(Gaps).decode
_names = msgspec.json.Decoder(tuple[str, ...]).decode


def is_kept(db: sqlite3.Connection, table: str) -> bool:
    """Tell whether former versions of the rows of a live table are kept."""
    query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return db.execute(query, (_former_name(table),)).fetchone() is not None


def begin(db: sqlite3.Connection, table: str) -> None:
    """Begin to keep former versions of the rows of a live table that is there; does nothing if it is so already."""
    if is_kept(db, table):
        return
    rows, former = row_table(table), _former(table)
    there = {name for _, name, *_ in db.execute(f"PRAGMA table_info({rows})")}
    for column, kind in _ADDED.items():
        if column not in there:
            db.execute(f"ALTER TABLE {rows} ADD COLUMN {column} {kind}")
    # Where versions have been kept before, rows may have changed since then.
    db.execute(f"UPDATE {rows} SET changes = {FORMER_VERSIONS} WHERE changes < {FORMER_VERSIONS}")  # noqa: S608  # our own names
    db.execute(_FORMER_TABLE.format(former=former))
    old = ", ".join(f"old.{column}" for column in _VERSION)
    db.execute(
        f"CREATE TRIGGER {_trigger(table, 'move')} AFTER UPDATE OF changes ON {rows} WHEN new.changes > old.changes"  # noqa: S608
        f" BEGIN INSERT INTO {former} (id, {', '.join(_VERSION)}) VALUES ({_place('old')}, {old}) {_OVER}; END"
    )
    db.execute(
        f"CREATE TRIGGER {_trigger(table, 'drop')} AFTER DELETE ON {rows} BEGIN DELETE FROM {former}"  # noqa: S608
        f" WHERE id BETWEEN old.id * {FORMER_VERSIONS} AND old.id * {FORMER_VERSIONS} + {FORMER_VERSIONS - 1}; END"
    )


def end(db: sqlite3.Connection, table: str) -> None:
    """Drop all former versions of the rows of a live table, and keep none."""
    for trigger in ("move", "drop"):
        db.execute(f"DROP TRIGGER IF EXISTS {_trigger(table, trigger)}")
    db.execute(f"DROP TABLE IF EXISTS {_former(table)}")


def supersede(db: sqlite3.Connection, table: str, steps: Sequence[Step]) -> None:
    """Do as `RowWriter.supersede`."""
    columns = (*COLUMNS, *_CHANGE, "changes")
    update = ", ".join(f"{column} = excluded.{column}" for column in (*COLUMNS[2:], *_CHANGE))
    db.executemany(
        f"INSERT INTO {row_table(table)} AS row ({', '.join(columns)}) VALUES ({_marks(columns)})"  # noqa: S608
        f" ON CONFLICT (source, key) DO UPDATE SET {update}, changes = row.changes + excluded.changes + 1",
        ((*values(step.row), *_change(step.versions[-1]), len(step.versions) - 1) for step in steps),
    )
    between = (
        (*_version_values(version), back, step.row.source, step.row.key)
        for step in steps
        if len(step.versions) > 1
        for back, version in enumerate(step.versions[-2 : -FORMER_VERSIONS - 2 : -1], 1)
    )
    _put(db, table, between)


def read_kept(db: sqlite3.Connection, table: str, ids: Sequence[RowId]) -> dict[RowId, Kept]:
    """Do as `RowWriter.kept`, of a table of which versions are kept."""
    keys: dict[str, list[str]] = {}
    for source, key in ids:
        keys.setdefault(source, []).append(key)
    where = "source = ? AND key IN (SELECT value FROM json_each(?))"
    row = ", ".join((*COLUMNS, *_CHANGE, "id", "changes"))
    rows = f"SELECT {row} FROM {row_table(table)} WHERE {where}"  # noqa: S608
    version = ", ".join(f"former.{column}" for column in _VERSION)
    versions = (
        f"SELECT former.id, {version} FROM {row_table(table)} AS row JOIN {_former(table)} AS former"  # noqa: S608
        f" ON former.id BETWEEN row.id * {FORMER_VERSIONS} AND row.id * {FORMER_VERSIONS} + {FORMER_VERSIONS - 1}"
        f" WHERE row.{where}"
    )
    found: dict[RowId, Kept] = {}
    for source, some in keys.items():
        wanted = source, msgspec.json.encode(some).decode()
        former: dict[int, list[tuple[Any, ...]]] = {}
        for place, *facts in db.execute(versions, wanted):
            former.setdefault(place // FORMER_VERSIONS, []).append((place % FORMER_VERSIONS, *facts))
        for facts in db.execute(rows, wanted):
            stored, (*change, id_, number) = stored_row(facts[: len(COLUMNS)]), facts[len(COLUMNS) :]
            # What was written last lies right before the place that is written next.
            older = sorted(former.get(id_, ()), key=lambda one: (one[0] - number) % FORMER_VERSIONS)
            own = _version(stored.standing, stored.state, stored.gaps, *change)
            found[stored.id] = Kept(stored, (*(_read_version(one[1:]) for one in older), own), number)
    return found


def rewrite(db: sqlite3.Connection, table: str, kept: Sequence[Kept]) -> None:
    """Do as `RowWriter.rewrite`."""
    rows, former = row_table(table), _former(table)
    where = "source = ? AND key = ?"
    update = f"UPDATE {rows} SET changes = ?, {', '.join(f'{column} = ?' for column in _CHANGE)} WHERE {where}"  # noqa: S608
    db.executemany(update, [(one.number, *_change(one.versions[-1]), *one.row.id) for one in kept])
    clear = (
        f"WITH row AS (SELECT id * {FORMER_VERSIONS} AS place FROM {rows} WHERE {where}) DELETE FROM {former}"  # noqa: S608
        f" WHERE id BETWEEN (SELECT place FROM row) AND (SELECT place FROM row) + {FORMER_VERSIONS - 1}"
    )
    db.executemany(clear, [one.row.id for one in kept])
    _put(
        db,
        table,
        (
            (*_version_values(version), back, *one.row.id)
            for one in kept
            for back, version in enumerate(one.versions[-2::-1], 1)
        ),
    )


def forget(db: sqlite3.Connection, table: str, *, before: int, after: str, limit: int) -> str:
    """Do as `RowWriter.forget_former`, of a table of which versions are kept."""
    former = _former(table)
    begin_ = int(after or 0)
    query = f"SELECT id FROM {former} WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
    ids = [id_ for (id_,) in db.execute(query, (begin_, limit))]
    if not ids:
        return ""
    last = ids[-1] // FORMER_VERSIONS * FORMER_VERSIONS + FORMER_VERSIONS - 1
    db.execute(
        f"DELETE FROM {former} WHERE id > ? AND id <= ?"  # noqa: S608
        f" AND (SELECT as_of FROM {row_table(table)} AS row WHERE row.id = {former}.id / {FORMER_VERSIONS}) < ?",
        (begin_, last, before),
    )
    return str(last) if len(ids) == limit else ""


def _put(db: sqlite3.Connection, table: str, facts: Iterable[tuple[Any, ...]]) -> None:
    """Write former versions, each given with how many changes ago it was the row's own, source and key."""
    marks = [f"?{number}" for number in range(1, len(_VERSION) + 4)]
    *version, back, source, key = marks
    place = f"row.id * {FORMER_VERSIONS} + (row.changes - {back}) % {FORMER_VERSIONS}"
    db.executemany(
        f"INSERT INTO {_former(table)} (id, {', '.join(_VERSION)}) SELECT {place}, {', '.join(version)}"  # noqa: S608
        f" FROM {row_table(table)} AS row WHERE source = {source} AND key = {key} {_OVER}",
        facts,
    )


def _change(version: Version) -> tuple[int | None, str | None, str | None]:
    was = None if version.was is None else to_text(version.was)
    return version.event_time, was, msgspec.json.encode(version.lacked).decode() if version.lacked else None


def _version_values(version: Version) -> tuple[Any, ...]:
    standing = version.standing
    return (
        version.state,
        pack_position(standing.position),
        standing.stream,
        standing.partition,
        standing.offset,
        msgspec.json.encode(version.gaps).decode() if version.gaps else None,
        *_change(version),
    )


def _read_version(facts: Sequence[Any]) -> Version:
    state, position, stream, partition, offset, gaps, *change = facts
    standing = Standing(unpack_position(position), stream, partition, offset)
    return _version(standing, state, {} if gaps is None else _gaps(gaps), *change)


def _version(standing: Standing, state: int, gaps: Gaps, *change: Any) -> Version:
    time, was, lacked = change
    told = None if was is None else from_text(was)
    return Version(standing, state, gaps, time, told, () if lacked is None else _names(lacked))


def _former_name(table: str) -> str:
    return f"{ROW_PREFIX}{table} former"


def _former(table: str) -> str:
    return identifier(_former_name(table))


def _trigger(table: str, name: str) -> str:
    return identifier(f"{ROW_PREFIX}{table} {name}")


def _place(row: str) -> str:
    return f"{row}.id * {FORMER_VERSIONS} + {row}.changes % {FORMER_VERSIONS}"


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))
