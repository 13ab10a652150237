"""Former versions of rows in PostgreSQL: what a change has changed stands in the row, and moves out with the next one.

A row's table gets columns of its newest change. Before it changes again they are copied into a second table, over what
is `FORMER_VERSIONS` changes old. A row of which nothing is known begins with a number too high for all of its versions
to be there. These are steps of a transaction; they raise psycopg's errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from psycopg.sql import SQL, Composable, Composed, Identifier

from events.changes import Standing, pack_position, unpack_position
from stores.rows.base import FORMER_VERSIONS, Gaps, Kept, RowId, Step, Version
from stores.rows.postgres_image import (
    COLUMNS,
    ROW,
    from_text,
    gaps_of,
    image_of,
    image_text,
    key_text,
    stored_row,
    to_text,
)
from stores.rows.postgres_schema import INCOMING, former_table, row_table
from stores.rows.postgres_session import Session

CHANGE = ("changed_at", "was", "lacked", "changes")
"""Columns of a row's table, and of what comes in, that hold its newest change; the last one how many it has had."""
_VERSION = ("state", "position", "stream", "partition", "offset", "gaps", *CHANGE[:3])
"""Columns of a former version, in the order of `_version_values`."""

_ADD = SQL(
    "ALTER TABLE {rows} ADD COLUMN IF NOT EXISTS changed_at bigint, ADD COLUMN IF NOT EXISTS was text,"
    " ADD COLUMN IF NOT EXISTS lacked text, ADD COLUMN IF NOT EXISTS changes integer NOT NULL DEFAULT {most}"
)
_FORMER_TABLE = SQL(
    """CREATE TABLE {former} (source text COLLATE "C", key text COLLATE "C", place smallint, state smallint NOT NULL,
    position bytea NOT NULL, stream text NOT NULL, partition bigint NOT NULL, "offset" bigint NOT NULL, gaps text,
    changed_at bigint, was text, lacked text, PRIMARY KEY (source, key, place)) WITH (fillfactor = 85)"""
)
_names = msgspec.json.Decoder(tuple[str, ...]).decode


def is_kept(db: Session, schema: str, table: str) -> bool:
    """Tell whether former versions of the rows of a live table are kept."""
    query = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s)"
    return db.execute(query, (schema, former_table(table))).fetchone() == (True,)


def begin(db: Session, schema: str, table: str) -> None:
    """Begin to keep former versions of the rows of a live table that is there; does nothing if it is so already."""
    if is_kept(db, schema, table):
        return
    names = _tables(schema, table)
    db.execute(_ADD.format(**names))
    # Where versions have been kept before, rows may have changed since then.
    db.execute(SQL("UPDATE {rows} SET changes = {most} WHERE changes < {most}").format(**names))
    db.execute(_FORMER_TABLE.format(**names))


def end(db: Session, schema: str, table: str) -> None:
    """Drop all former versions of the rows of a live table, and keep none."""
    if is_kept(db, schema, table):
        db.execute(SQL("DROP TABLE {former}").format(**_tables(schema, table)))


def values(step: Step) -> tuple[Any, ...]:
    """Return what is stored of a row's newest change, by CHANGE."""
    return *_change(step.versions[-1]), len(step.versions) - 1


def take_in(db: Session, schema: str, table: str, steps: Sequence[Step]) -> None:
    """Bring the rows that have come in into the table, with `values` behind their columns."""
    names = _tables(schema, table)
    columns = _listed((*COLUMNS, *CHANGE))
    old = SQL(", ").join(SQL("row.{}").format(Identifier(column)) for column in _VERSION)
    db.execute(
        SQL(
            "INSERT INTO {former} (source, key, place, {version}) SELECT source, key, mod(row.changes, {most}), {old}"
            " FROM {incoming} JOIN {rows} AS row USING (source, key) {over}"
        ).format(**names, version=_listed(_VERSION), old=old, over=_over())
    )
    update = SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in (*COLUMNS[2:], *CHANGE[:3]))
    db.execute(
        SQL(
            "INSERT INTO {rows} AS row ({columns}) SELECT {columns} FROM {incoming} ON CONFLICT (source, key)"
            " DO UPDATE SET {update}, changes = row.changes + excluded.changes + 1"
        ).format(**names, columns=columns, update=update)
    )
    between = (
        (*_version_values(version), back, *_id_values(step.row.id))
        for step in steps
        if len(step.versions) > 1
        for back, version in enumerate(step.versions[-2 : -FORMER_VERSIONS - 2 : -1], 1)
    )
    _put(db, names, between)


def read_kept(db: Session, schema: str, table: str, ids: Sequence[RowId]) -> dict[RowId, Kept]:
    """Do as `RowWriter.kept`, of a table of which versions are kept."""
    names = _tables(schema, table)
    wanted = _columns_of(ids)
    query = "SELECT {} FROM unnest(%s::text[], %s::text[]) AS wanted (source, key) JOIN {} USING (source, key)"
    version = SQL("source, key, place, {}").format(_listed(_VERSION))
    former: dict[tuple[str, str], list[Sequence[Any]]] = {}
    for source, key, *facts in db.execute(SQL(query).format(version, names["former"]), wanted):
        former.setdefault((source, key), []).append(facts)
    row = SQL("{}, {}").format(SQL(ROW), _listed(CHANGE))
    found: dict[RowId, Kept] = {}
    for found_row in db.execute(SQL(query).format(row, names["rows"]), wanted):
        stored, (*change, number) = stored_row(found_row), found_row[-len(CHANGE) :]
        # What was written last lies right before the place that is written next.
        older = sorted(former.get(found_row[:2], []), key=lambda one: (one[0] - number) % FORMER_VERSIONS)
        own = _version(stored.standing, stored.state, stored.gaps, *change)
        found[stored.id] = Kept(stored, (*(_read_version(one[1:]) for one in older), own), number)
    return found


def rewrite(db: Session, schema: str, table: str, kept: Sequence[Kept]) -> None:
    """Do as `RowWriter.rewrite`."""
    names = _tables(schema, table)
    update = "UPDATE {rows} SET changed_at = %s, was = %s, lacked = %s, changes = %s WHERE source = %s AND key = %s"
    with db.cursor() as cursor:
        cursor.executemany(
            SQL(update).format(**names),
            [(*_change(one.versions[-1]), one.number, *_id_values(one.row.id)) for one in kept],
        )
    drop(db, schema, table, [one.row.id for one in kept])
    _put(
        db,
        names,
        (
            (*_version_values(version), back, *_id_values(one.row.id))
            for one in kept
            for back, version in enumerate(one.versions[-2::-1], 1)
        ),
    )


def drop(db: Session, schema: str, table: str, ids: Sequence[RowId]) -> None:
    """Drop the former versions of rows."""
    statement = "DELETE FROM {former} WHERE (source, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
    db.execute(SQL(statement).format(**_tables(schema, table)), _columns_of(ids))


def forget(db: Session, schema: str, table: str, *, before: int, after: str, limit: int) -> str:
    """Do as `RowWriter.forget_former`, of a table of which versions are kept."""
    names = _tables(schema, table)
    begin_: tuple[str, ...] = _names(after) if after else ("", "")
    query = "SELECT source, key FROM {former} WHERE (source, key) > (%s, %s) ORDER BY source, key LIMIT %s"
    looked_at = db.execute(SQL(query).format(**names), (*begin_, limit)).fetchall()
    if not looked_at:
        return ""
    last = looked_at[-1]
    statement = """DELETE FROM {former} AS former USING {rows} AS row WHERE row.source = former.source
        AND row.key = former.key AND row.as_of < %s AND (former.source, former.key) > (%s, %s)
        AND (former.source, former.key) <= (%s, %s)"""
    db.execute(SQL(statement).format(**names), (before, *begin_, *last))
    return msgspec.json.encode(last).decode() if len(looked_at) == limit else ""


def _put(db: Session, names: dict[str, Composable], facts: Iterable[tuple[Any, ...]]) -> None:
    """Write former versions, each given with how many changes ago it was the row's own, source and key."""
    some = list(facts)
    if not some:
        return
    marks = SQL(", ").join(SQL("%s::{}").format(SQL(kind)) for kind in _KINDS)
    statement = SQL(
        "INSERT INTO {former} (source, key, place, {version}) SELECT source, key, mod(changes - given.back, {most}),"
        " {given} FROM {rows}, (VALUES ({marks}, %s::integer)) AS given ({version}, back)"
        " WHERE source = %s AND key = %s {over}"
    ).format(
        **names,
        version=_listed(_VERSION),
        given=SQL(", ").join(SQL("given.{}").format(Identifier(column)) for column in _VERSION),
        marks=marks,
        over=_over(),
    )
    with db.cursor() as cursor:
        cursor.executemany(statement, some)


_KINDS = ("smallint", "bytea", "text", "bigint", "bigint", "text", "bigint", "text", "text")
"""Of the columns `_VERSION`."""


def _change(version: Version) -> tuple[int | None, str | None, str | None]:
    lacked = msgspec.json.encode(version.lacked).decode() if version.lacked else None
    return version.event_time, image_text(version.was), lacked


def _version_values(version: Version) -> tuple[Any, ...]:
    standing = version.standing
    return (
        version.state,
        pack_position(standing.position),
        to_text(standing.stream),
        standing.partition,
        standing.offset,
        msgspec.json.encode(version.gaps).decode() if version.gaps else None,
        *_change(version),
    )


def _read_version(facts: Sequence[Any]) -> Version:
    state, position, stream, partition, offset, gaps, *change = facts
    standing = Standing(unpack_position(position), from_text(stream), partition, offset)
    return _version(standing, state, gaps_of(gaps), *change)


def _version(standing: Standing, state: int, gaps: Gaps, *change: Any) -> Version:
    time, was, lacked = change
    return Version(standing, state, gaps, time, image_of(was), () if lacked is None else _names(lacked))


def _id_values(id_: RowId) -> tuple[str, str]:
    return to_text(id_[0]), key_text(id_[1])


def _columns_of(ids: Sequence[RowId]) -> tuple[list[str], list[str]]:
    values_ = [_id_values(id_) for id_ in ids]
    return [source for source, _ in values_], [key for _, key in values_]


def _tables(schema: str, table: str) -> dict[str, Composable]:
    return {
        "rows": Identifier(schema, row_table(table)),
        "former": Identifier(schema, former_table(table)),
        "incoming": Identifier(INCOMING),
        "most": SQL(str(FORMER_VERSIONS)),
    }


def _listed(columns: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Identifier, columns))


def _over() -> Composed:
    update = SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(column)) for column in _VERSION)
    return SQL("ON CONFLICT (source, key, place) DO UPDATE SET {}").format(update)
