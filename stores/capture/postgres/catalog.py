"""What the database says about its tables, types and publications.

The stream describes tables as they were when they changed; what it leaves out, the catalog says as it is by now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from events.capture import Column, Relation, TypeInfo
from stores.capture.postgres.session import Session, refusal
from stores.capture_settings import PostgresTapSettings

_GONE = ""
LISTS = 150_000
"""Version since which a publication can choose columns and rows of a table."""
_GENERATED = 180_000
"""Version since which generated columns can be published."""

# Tables by name. Of a partitioned one, its leaves say how many rows there are, and their identities count.
_TABLES = """
    WITH wanted AS (
        SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname || '.' || c.relname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    ), leaves AS (
        SELECT w.oid AS root, l.oid, l.reltuples, l.relreplident, l.relnamespace, l.relname
        FROM wanted w CROSS JOIN LATERAL pg_partition_tree(w.oid) t JOIN pg_class l ON l.oid = t.relid
        WHERE w.relkind = 'p' AND t.isleaf AND l.relkind <> 'f'
        UNION ALL
        SELECT oid, oid, reltuples, relreplident, relnamespace, relname FROM wanted WHERE relkind = 'r'
    )
    SELECT w.nspname || '.' || w.relname, w.oid::bigint, w.nspname, w.relname, w.relkind::text, w.relpersistence::text,
        has_schema_privilege(w.relnamespace, 'USAGE'), has_table_privilege(w.oid, 'SELECT'),
        pg_has_role(w.relowner, 'USAGE'), w.relreplident::text,
        (SELECT coalesce(sum(greatest(l.reltuples, 0)), 0)::bigint FROM leaves l WHERE l.root = w.oid),
        (SELECT array_agg(format('%%I.%%I', s.nspname, l.relname)::text ORDER BY 1)
         FROM leaves l JOIN pg_namespace s ON s.oid = l.relnamespace
         WHERE l.root = w.oid AND l.relreplident <> 'f' AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = l.oid
            AND CASE l.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END))
    FROM wanted w"""
_COLUMNS = """
    SELECT attrelid::bigint, attname, atttypid::bigint, atttypmod, attgenerated <> '' FROM pg_attribute
    WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum"""
_KEYS = """
    SELECT DISTINCT ON (c.oid) c.oid::bigint, (
        SELECT array_agg(a.attname ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts)
    FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
    WHERE c.oid = ANY(%s) AND (i.indisprimary OR (c.relreplident = 'i' AND i.indisreplident))
    ORDER BY c.oid, (c.relreplident = 'i' AND i.indisreplident) DESC"""
# A domain of a domain is taken back to what both are of.
_TYPES = """
    WITH RECURSIVE chain AS (
        SELECT oid AS asked, oid, typtype, typbasetype, typname, typelem, typcategory FROM pg_type WHERE oid = ANY(%s)
        UNION ALL
        SELECT chain.asked, t.oid, t.typtype, t.typbasetype, t.typname, t.typelem, t.typcategory
        FROM chain JOIN pg_type t ON t.oid = chain.typbasetype WHERE chain.typtype = 'd'
    )
    SELECT asked::bigint, oid::bigint, typname, CASE typcategory WHEN 'A' THEN typelem ELSE 0 END::bigint, typtype = 'e'
    FROM chain WHERE typtype <> 'd'"""


class Table(msgspec.Struct, frozen=True):
    """A table that is to be captured.

    :arg kind: `pg_class.relkind`: `r` a table, `p` a partitioned one, others cannot be captured.
    :arg permanent: Whether its changes are in the WAL at all.
    :arg readable: Whether the user may read it; `reachable`, its schema; `owned`, whether the user may publish it.
    :arg identity: `pg_class.relreplident`.
    :arg rows: About how many rows it has; 0 if that is not known.
    :arg nameless: It, or those of its partitions, of which the server cannot say which row was updated or deleted.
    """

    name: str
    kind: str
    permanent: bool
    reachable: bool
    readable: bool
    owned: bool
    identity: str
    rows: int
    nameless: tuple[str, ...]
    relation: Relation
    generated: frozenset[str]

    @property
    def oid(self) -> int:
        """Its object id."""
        return self.relation.oid


class Published(msgspec.Struct, frozen=True):
    """What of a table is published.

    :arg columns: Their names; None: all that are not generated.
    :arg rows: Conditions of which one has to hold; none: all rows.
    """

    columns: frozenset[str] | None = None
    rows: tuple[str, ...] = ()


class Publication(msgspec.Struct, frozen=True):
    """A publication.

    :arg owned: Whether the user may alter it.
    :arg lacking: Operations that it does not publish.
    """

    oid: int
    owned: bool
    lacking: tuple[str, ...]
    tables: Mapping[str, Published]


class PostgresCatalog:
    """What decoders ask about tables and types. All answers are there before they are asked for: see `learn`."""

    def __init__(self, settings: PostgresTapSettings, session: Session) -> None:
        self._settings = settings
        self._session = session
        self._keys: dict[int, tuple[str, ...]] = {}
        self._types: dict[int, TypeInfo] = {}

    @property
    def database(self) -> str:
        """Its name."""
        return self._session.info.dbname

    def key_of(self, relation: int, schema: str, table: str) -> tuple[str, ...]:
        """Return the columns of `Relation.key`, as they were when the stream last described the table."""
        del schema, table
        if relation not in self._keys:
            self._keys[relation] = self._query(_KEYS, relation)
        return self._keys[relation]

    def type_of(self, oid: int) -> TypeInfo:
        """Return what is known of a type; one that is gone has no name."""
        if oid not in self._types:
            self._learn_types({oid})
        return self._types[oid]

    def learn(self, relation: int, types: Sequence[int]) -> None:
        """Look up what the decoder is going to ask about a table that the stream has just described.

        :raises LostError: When the database cannot be asked.
        """
        self._keys[relation] = self._query(_KEYS, relation)
        self._learn_types(set(types) - self._types.keys())

    def _query(self, query: str, relation: int) -> tuple[str, ...]:
        found = _fetch(self._settings, self._session, query, [relation])
        return tuple(found[0][1]) if found else ()

    def _learn_types(self, oids: set[int]) -> None:
        while oids:
            for asked, base, name, element, enum in _fetch(self._settings, self._session, _TYPES, list(oids)):
                self._types[asked] = TypeInfo(name, base, element, enum)
            for oid in oids - self._types.keys():
                self._types[oid] = TypeInfo(_GONE, oid)
            oids = {self._types[oid].element for oid in oids} - self._types.keys() - {0}


def find_tables(settings: PostgresTapSettings, session: Session, names: Sequence[str]) -> dict[str, Table]:
    """Return the tables among `names` that there are.

    :raises LostError: When the database cannot be asked.
    """
    found = _fetch(settings, session, _TABLES, list(names))
    oids = [row[1] for row in found]
    columns: dict[int, list[Column]] = {}
    generated: dict[int, set[str]] = {}
    for oid, name, type_, modifier, made in _fetch(settings, session, _COLUMNS, oids):
        columns.setdefault(oid, []).append(Column(name, type_, modifier))
        if made:
            generated.setdefault(oid, set()).add(name)
    keys = {oid: tuple(key) for oid, key in _fetch(settings, session, _KEYS, oids)}
    tables = {}
    for name, oid, schema, table, kind, persistence, reachable, readable, owned, identity, rows, nameless in found:
        relation = Relation(oid, schema, table, tuple(columns.get(oid, ())), keys.get(oid, ()))
        made = frozenset(generated.get(oid, ()))
        rights = (persistence == "p", reachable, readable, owned)
        tables[name] = Table(name, kind, *rights, identity, int(rows), tuple(nameless or ()), relation, made)
    return tables


def find_publications(settings: PostgresTapSettings, session: Session) -> dict[str, Publication]:
    """Return the publications of the settings that there are.

    :raises LostError: When the database cannot be asked.
    """
    names = list(settings.publication_names)
    query = """SELECT pubname, oid::bigint, pg_has_role(pubowner, 'USAGE'), pubinsert, pubupdate, pubdelete, pubtruncate
        FROM pg_publication WHERE pubname = ANY(%s)"""
    found = _fetch(settings, session, query, names)
    version = session.info.server_version
    lists = "attnames, rowfilter" if version >= LISTS else "NULL::name[], NULL::text"
    query = f"SELECT pubname, schemaname || '.' || tablename, {lists} FROM pg_publication_tables"  # noqa: S608  # ours
    tables: dict[str, dict[str, Published]] = {}
    for publication, table, columns, rows in _fetch(settings, session, f"{query} WHERE pubname = ANY(%s)", names):
        chosen = None if columns is None else frozenset(columns)
        tables.setdefault(publication, {})[table] = Published(chosen, (rows,) if rows else ())
    operations = ("insert", "update", "delete", "truncate")
    return {
        name: Publication(
            oid,
            owned,
            tuple(op for op, there in zip(operations, flags, strict=True) if not there),
            tables.get(name, {}),
        )
        for name, oid, owned, *flags in found
    }


def published(publications: Mapping[str, Publication]) -> dict[str, Published]:
    """Return what all of these publish together: rows that one of them does, as the server has it."""
    together: dict[str, Published] = {}
    for publication in publications.values():
        for name, part in publication.tables.items():
            if (other := together.get(name)) is not None:
                rows = (*other.rows, *part.rows) if other.rows and part.rows else ()
                part = Published(other.columns, rows)  # noqa: PLW2901  # what both say
            together[name] = part
    return together


def published_relation(table: Table, part: Published, version: int) -> Relation:
    """Return the table with those of its columns that are published."""
    hidden = table.generated if version < _GENERATED or part.columns is None else frozenset[str]()
    columns = tuple(
        column
        for column in table.relation.columns
        if column.name not in hidden and (part.columns is None or column.name in part.columns)
    )
    return msgspec.structs.replace(table.relation, columns=columns)


def _fetch(settings: PostgresTapSettings, session: Session, query: str, wanted: list[Any]) -> list[tuple[Any, ...]]:
    try:
        return session.execute(query.encode(), (wanted,)).fetchall()
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None
