"""How live tables lie in PostgreSQL: names, tables, and the views over them.

Everything is in one schema that belongs to Headrace alone: `headrace_store`, `headrace_tables` and `headrace_facts`,
a table `row_NAME` and a view `NAME` per live table. Nothing that a row holds can make a view fail: a value that is not
of its column's kind is null there. Names come into SQL as identifiers and literals that psycopg composes, values as
parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from psycopg import sql
from typing_extensions import LiteralString

from stores.rows.base import HELD, LIVE, LiveTable
from stores.rows.postgres_image import to_text

VERSION, OLDEST = 2, 1
"""Of the layout; the oldest that the writer makes this one. 2: rows have histories, which a program that knows
nothing of them would not go on with."""
STORE, TABLES, FACTS, INCOMING = "headrace_store", "headrace_tables", "headrace_facts", "headrace_incoming"
OURS = "_source", "_key", "_position", "_as_of", "_applied_at", "_initiator", "_unknown_since"
BY_COLUMN = "row_by_"
"""How names of indexes on columns begin."""
_NAME_BYTES = 63
_VIEW_COLUMNS = 1600  # what one row of a PostgreSQL query may have, and a few spare

_BODY = """(
    source text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, ident jsonb, state smallint NOT NULL,
    image jsonb, position bytea NOT NULL, place text NOT NULL, stream text NOT NULL, partition bigint NOT NULL,
    "offset" bigint NOT NULL, as_of bigint NOT NULL, applied_at bigint NOT NULL, initiator text NOT NULL,
    transaction text NOT NULL, gaps text, gone_at bigint, history text"""

SHARED_TABLES = (
    """CREATE TABLE {schema}.headrace_store (identity text NOT NULL, version integer NOT NULL)""",
    """CREATE TABLE {schema}.headrace_tables (name text COLLATE "C" PRIMARY KEY, shown text)""",
    """CREATE TABLE {schema}.headrace_facts (
        kind text COLLATE "C", name text COLLATE "C", value bytea NOT NULL, PRIMARY KEY (kind, name))""",
)


class Layout(NamedTuple):
    """What a schema holds from its beginning on, and what tells it from others.

    :arg name: What it is called in errors, in the plural.
    :arg version: Each kind has versions of its own, so that none has one of another's.
    :arg tables: The statements that make it, each with the place of the schema's name.
    :arg oldest: Layouts from this version on become this one; None: there are none.
    """

    name: str
    version: int
    tables: tuple[LiteralString, ...]
    oldest: int | None = None


ROWS = Layout("live tables", VERSION, SHARED_TABLES, OLDEST)

INCOMING_TABLE = f"CREATE TEMPORARY TABLE {INCOMING} {_BODY}) ON COMMIT DELETE ROWS"
ADD_HISTORY: LiteralString = "ALTER TABLE {table} ADD COLUMN history text"
"""Brings a table of rows from layout 1 to 2."""
# `ident` is the key as a row, for when nothing else may be shown; `place` is `position` for people. `gone_at` is
# `as_of` of rows that are not live, and null of others: an index on it stays as it is while live rows change, so that
# PostgreSQL can put their new versions beside the old ones without touching any index.
ROW_TABLE = "CREATE TABLE {table} " + _BODY + ", PRIMARY KEY (source, key)) WITH (fillfactor = 85)"
GONE_INDEX = "CREATE INDEX ON {table} (gone_at) WHERE gone_at IS NOT NULL"


def row_table(name: str) -> str:
    """Return the name of the table of live table `name`."""
    return fitting(f"row_{name}")


def fitting(name: str) -> str:
    """Return `name` if PostgreSQL can hold it as an identifier, else its beginning and a hash of it."""
    return name if name and "\0" not in name and len(name.encode()) <= _NAME_BYTES else _hashed(name)


def view_columns(names: Iterable[str]) -> dict[str, str]:
    """Return for the columns of rows what they are called in the view: mostly as they are.

    A name that is empty, too long, or has a NUL, or is one of the view's own, gets a hash of itself at its end. Only as
    many columns are shown as a PostgreSQL query can have; the rest stays reachable by `RowReader.select`.
    """
    shown: dict[str, str] = {}
    taken = set(OURS)
    for name in names:
        if len(taken) == _VIEW_COLUMNS:
            break
        label = fitting(name)
        while label in taken:
            label = _hashed(label)
        shown[name] = label
        taken.add(label)
    return shown


def _hashed(name: str) -> str:
    digest = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
    beginning = name.replace("\0", "\ufffd").encode()[: _NAME_BYTES - 1 - len(digest)]
    return f"{beginning.decode(errors='ignore')}~{digest}"


def view_query(schema: str, table: LiveTable) -> sql.Composed:
    """Return the query that the view of `table` is made of."""
    image: sql.Composable = sql.SQL("image")
    since: sql.Composable = sql.SQL("NULL::text")
    if table.ttl_millis is not None:
        limit = sql.SQL("as_of + {}").format(sql.Literal(table.ttl_millis))
        passed = sql.SQL("{} <= extract(epoch FROM clock_timestamp()) * 1000").format(limit)
        image = sql.SQL("CASE WHEN {} THEN ident ELSE image END").format(passed)
        since = sql.SQL("CASE WHEN {} THEN {} END").format(passed, _iso(limit))
    columns = [
        sql.SQL("{} AS {}").format(shown_value(column, table.kinds[column]), sql.Identifier(label))
        for column, label in view_columns(table.kinds).items()
    ]
    ours = sql.SQL(
        """source AS "_source", key AS "_key", place AS "_position", {} AS "_as_of", {} AS "_applied_at",
        initiator AS "_initiator", unknown_since AS "_unknown_since" """
    ).format(_iso(sql.SQL("as_of")), _iso(sql.SQL("applied_at")))
    return sql.SQL(
        """SELECT {columns} FROM (SELECT source, key, place, as_of, applied_at, initiator, {image} AS image,
        {since} AS unknown_since FROM {table} WHERE state IN ({live}, {held})) AS "row" """
    ).format(
        columns=sql.SQL(", ").join([ours, *columns]),
        image=image,
        since=since,
        table=sql.Identifier(schema, row_table(table.name)),
        live=sql.Literal(LIVE),
        held=sql.Literal(HELD),
    )


def shown_value(column: str, kind: str) -> sql.Composed:
    """Return what the view shows of a column, from a row that has `image`: never an error, whatever is in there."""
    value = sql.SQL("(image -> {})").format(literal(column))
    if kind in {"int", "decimal"}:
        # Not bigint: whole numbers have no upper end.
        return sql.SQL("CASE jsonb_typeof({0}) WHEN 'number' THEN {0}::numeric END").format(value)
    if kind == "float":
        within = sql.SQL("CASE jsonb_typeof({0}) WHEN 'number' THEN abs({0}::numeric) < 1.79e308 END").format(value)
        return sql.SQL("CASE WHEN {} THEN {}::double precision END").format(within, value)
    if kind == "bool":
        return sql.SQL("CASE jsonb_typeof({0}) WHEN 'boolean' THEN {0}::boolean END").format(value)
    if kind == "json":
        return sql.SQL("nullif({}, 'null')").format(value)
    return sql.SQL("(image ->> {})").format(literal(column))


def index_statement(schema: str, table: LiveTable, column: str) -> tuple[str, sql.Composed]:
    """Return the name of the index that finds rows by `column`, and the statement that makes it.

    It is a hash index: values of any length fit, where a tree would refuse those over 2,700 bytes.
    """
    value = shown_value(column, table.kinds[column])
    digest = hashlib.blake2b(repr((table.name, value.as_string(None))).encode(), digest_size=12).hexdigest()
    name = BY_COLUMN + digest
    statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING hash (({}))")
    return name, statement.format(sql.Identifier(name), sql.Identifier(schema, row_table(table.name)), value)


def literal(text: str) -> sql.Literal:
    """Return a text as a literal, as it is stored."""
    return sql.Literal(to_text(text))


def _iso(millis: sql.Composable) -> sql.Composed:
    # Outside of years 1 to 9999 there is no ISO 8601 text, and PostgreSQL's calendar ends somewhere beyond.
    return sql.SQL(
        """CASE WHEN {0} BETWEEN -62135596800000 AND 253402300799999 THEN
        to_char(timestamp '1970-01-01' + ({0}) * interval '1 millisecond', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END"""
    ).format(millis)
