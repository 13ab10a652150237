"""The write side of live tables in SQLite: a file that is always there, and fast enough for one machine.

What a transaction wrote is there whole or not at all, also when the process is killed in the middle.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from events.changes import Standing, pack_position, position_text
from events.clock import Clock
from stores.lock import WriterLock
from stores.rows import sqlite_schema as schema
from stores.rows.base import GONE, HELD, LIVE, Kept, Known, LiveTable, RowId, RowWriter, StoredRow, Tally
from stores.rows.sqlite_file import WriteAheadLog, explained, open_for_writing
from stores.rows.sqlite_row import KEPT, KNOWN, kept_row, known_row, stored_row, values

_ROW = ", ".join(schema.COLUMNS)


class SqliteRows(RowWriter):
    """The writer.

    :arg path: The database; made if it is not there.
    :arg clock: Tells when the store was made.
    :arg identity: Gives a store that is made an id that no other has.
    """

    layout: ClassVar[schema.Layout] = schema.ROWS

    def __init__(self, path: Path, clock: Clock, identity: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self._path = path
        self._within = False
        self._lock: WriterLock | None = WriterLock(
            path.with_name(f"{path.name}.lock"), f"the {self.layout.name} {path}"
        )
        try:
            self._db = open_for_writing(path, identity, clock(), self.layout)
            self._log = WriteAheadLog(self._db, path)
            self._tables = self._made()
        except BaseException:
            self._lock.close()
            raise

    @override
    @contextmanager
    def transaction(self) -> Iterator[None]:
        with explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
        self._within = True
        try:
            yield
            with explained(self._path):
                self._db.execute("COMMIT")
                self._log.committed()
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled back by itself
                self._db.execute("ROLLBACK")
            self._tables = self._made()
            raise
        finally:
            self._within = False

    @override
    def fetch(self, table: str, ids: Sequence[RowId]) -> dict[RowId, StoredRow]:
        found = map(stored_row, self._find(table, ids, schema.COLUMNS))
        return {row.id: row for row in found}

    @override
    def standings(self, table: str, ids: Sequence[RowId]) -> dict[RowId, Known]:
        return dict(map(known_row, self._find(table, ids, KNOWN)))

    @override
    def gapped(self, table: str, source: str) -> list[StoredRow]:
        if table not in self._tables:
            return []
        query = f"SELECT {_ROW} FROM {schema.row_table(table)} WHERE source = ? AND state <> ? AND gaps IS NOT NULL"  # noqa: S608  # our own names
        with explained(self._path):
            return [stored_row(row) for row in self._db.execute(query, (source, GONE))]

    @override
    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        if not rows:
            return
        with self._commit():
            self._make(table)
            self._db.executemany(schema.put(table), map(values, rows))
            self._notice(table, max(row.as_of for row in rows))

    @override
    def bury(self, table: str, source: str, standing: Standing, event_time: int, applied_at: int) -> int:
        if table not in self._tables:
            return 0
        parameters = {
            "source": source,
            "position": pack_position(standing.position),
            "place": position_text(standing.position),
            "stream": standing.stream,
            "partition": standing.partition,
            "offset": standing.offset,
            "as_of": event_time,
            "applied_at": applied_at,
        }
        with self._commit():
            statement = schema.bury(table)
            self._db.execute(statement, {**parameters, "state": HELD})
            buried = self._db.execute(statement, {**parameters, "state": LIVE}).rowcount
            self._notice(table, event_time)
        return buried

    @override
    def drop_rows(self, table: str, ids: Sequence[RowId]) -> int:
        if table not in self._tables or not ids:
            return 0
        with self._commit():
            return self._db.executemany(schema.drop(table), ids).rowcount

    @override
    def restate(self, table: str, old: int, state: int, begin: int, end: int) -> int:
        if table not in self._tables:
            return 0
        with self._commit():
            return self._db.execute(schema.restate(table, old, state), (begin, end)).rowcount

    @override
    def forget(self, table: str, images_before: int, rows_before: int) -> None:
        if table not in self._tables:
            return
        images, imaged, bare = schema.forget(table)
        with self._commit():
            self._db.execute(imaged, (rows_before,))
            self._db.execute(bare, (rows_before,))
            self._db.execute(images, (images_before,))

    @override
    def kept(self, table: str, ids: Sequence[RowId]) -> dict[RowId, Kept]:
        return dict(map(kept_row, self._find(table, ids, KEPT)))

    @override
    def put_kept(self, table: str, kept: Sequence[Kept]) -> None:
        if not kept:
            return
        with self._commit():
            self._make(table)
            rows = ((*values(one.row), one.history or None) for one in kept)
            self._db.executemany(schema.put(table, "history"), rows)
            self._notice(table, max(one.row.as_of for one in kept))

    @override
    def forget_former(self, table: str, before: int, after: str, limit: int) -> str:
        if table not in self._tables:
            return ""
        look, clear = schema.look_through(table)
        begin = int(after or 0)
        with self._commit():
            [(last, count)] = self._db.execute(look, (begin, limit))
            self._db.execute(clear, (begin, last, before))
        return str(last) if count == limit else ""

    @override
    def tally(self, table: str, window: int) -> Tally:
        if table not in self._tables:
            return Tally()
        with explained(self._path):
            [(live,)] = self._db.execute(schema.count_live(table))
            gone, held = (
                dict(self._db.execute(schema.count_slices(table, state), (window,) * 4).fetchall())
                for state in (GONE, HELD)
            )
        return Tally(live, gone, held)

    @override
    def note(self, kind: str, facts: Mapping[str, bytes]) -> None:
        if not facts:
            return
        with self._commit():
            self._db.executemany(
                "INSERT OR REPLACE INTO headrace_facts VALUES (?, ?, ?)",
                [(kind, name, value) for name, value in facts.items()],
            )

    @override
    def facts(self, kind: str) -> dict[str, bytes]:
        with explained(self._path):
            return facts(self._db, kind)

    @override
    def expose(self, table: LiveTable) -> None:
        with self._commit():
            self._make(table.name)
            self._expose_indexes(table)
            view = schema.view(table)
            if view != self._definition("view", table.name):
                self._db.execute(f"DROP VIEW IF EXISTS {schema.identifier(table.name)}")
                self._db.execute(view)

    @override
    def identity(self) -> str:
        with explained(self._path):
            return str(self._db.execute("SELECT identity FROM headrace_store").fetchone()[0])

    @override
    def close(self) -> None:
        if self._lock is not None:
            self._db.close()
            self._lock.close()
            self._lock = None

    def _find(self, table: str, ids: Sequence[RowId], columns: Sequence[str]) -> list[tuple[Any, ...]]:
        if table not in self._tables or not ids:
            return []
        with explained(self._path):
            return list(find_rows(self._db, table, ids, columns))

    def _make(self, table: str) -> None:
        if table not in self._tables:
            for statement in schema.make_row_table(table):
                self._db.execute(statement)
            self._db.execute("INSERT OR IGNORE INTO headrace_tables VALUES (?, NULL)", (table,))
            self._tables.add(table)

    def _made(self) -> set[str]:
        with explained(self._path):
            return {str(name) for (name,) in self._db.execute("SELECT name FROM headrace_tables")}

    def _notice(self, table: str, as_of: int) -> None:
        statement = "UPDATE headrace_tables SET newest = ?1 WHERE name = ?2 AND (newest IS NULL OR newest < ?1)"
        self._db.execute(statement, (as_of, table))

    def _expose_indexes(self, table: LiveTable) -> None:
        wanted = schema.indexes(table)
        there = {
            str(name): str(statement)
            for name, statement in self._db.execute(
                "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
                (schema.ROW_PREFIX + table.name,),
            )
            if schema.is_lookup_index(name, table.name)
        }
        for name, statement in there.items():
            if statement != wanted.get(name):
                self._db.execute(f"DROP INDEX {schema.identifier(name)}")
        for name, statement in wanted.items():
            if there.get(name) != statement:
                self._db.execute(statement)

    def _definition(self, kind: str, name: str) -> str | None:
        query = "SELECT sql FROM sqlite_schema WHERE type = ? AND name = ?"
        row = self._db.execute(query, (kind, name)).fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def _commit(self) -> Iterator[None]:
        if self._within:
            with explained(self._path):
                yield
        else:
            with self.transaction(), explained(self._path):
                yield


def facts(db: sqlite3.Connection, kind: str) -> dict[str, bytes]:
    """Return the facts of a kind by name, in the order of their names."""
    return dict(db.execute("SELECT name, value FROM headrace_facts WHERE kind = ? ORDER BY name", (kind,)).fetchall())


def find_rows(
    db: sqlite3.Connection, table: str, ids: Sequence[RowId], columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Return columns of the rows that are there, of a live table that is there."""
    keys: dict[str, list[str]] = {}
    for source, key in ids:
        keys.setdefault(source, []).append(key)
    query = schema.find(table, columns)
    for source, wanted in keys.items():
        # Looking all keys up in one statement costs a third of looking up each.
        yield from db.execute(query, (source, msgspec.json.encode(wanted).decode()))
