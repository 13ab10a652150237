"""Whether a table has been captured without a gap: its publication, key and partitions, from one look to the next.

The stream says nothing of a publication that is altered, of another key, of a partition that is attached with its rows,
detached, dropped or truncated by itself. So each look at the catalog is kept in words; where the next ones tell
something that the stream cannot have told, the table is read anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import NamedTuple

import psycopg

from stores.capture.postgres.catalog import LISTS, Table
from stores.capture.postgres.session import Session, refusal
from stores.capture_settings import PostgresTapSettings

# `xmin` is another one after each change of what a publication publishes (of its owner too), and a table that was taken
# out and put back has another row, with an id of its own. Of a key, what its columns are of counts as far as its values
# are written in another way by it. Of a partition: object id, file, whether that is empty as far as is known, and
# whether it was made as a partition: a table that was attached had rows before. By one command, the row of its making
# and that of its place among the partitions are of one transaction, and two steps apart.
_COVERAGE = """
    SELECT n.nspname || '.' || c.relname, concat_ws(' ', c.oid, (
        SELECT string_agg(concat_ws(':', p.oid, p.xmin, by.tables, by.schemas), ' ' ORDER BY p.oid)
        FROM pg_publication p CROSS JOIN LATERAL (SELECT (
            SELECT string_agg(r.oid::text, ',' ORDER BY r.oid) FROM pg_publication_rel r
            WHERE r.prpubid = p.oid AND r.prrelid IN ({kin})) AS tables, {schemas} AS schemas) AS by
        WHERE p.pubname = ANY(%s) AND (p.puballtables OR by.tables IS NOT NULL OR by.schemas IS NOT NULL))),
    (SELECT string_agg(concat_ws(':', a.attname, a.atttypid,
        CASE WHEN a.atttypid <> 'varchar'::regtype THEN a.atttypmod END), ',' ORDER BY k.place)
        FROM (SELECT i.indkey, i.indnkeyatts FROM pg_index i
            WHERE i.indrelid = c.oid AND (i.indisprimary OR (c.relreplident = 'i' AND i.indisreplident))
            ORDER BY c.relreplident = 'i' AND i.indisreplident DESC LIMIT 1) i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts),
    (SELECT string_agg(concat_ws(':', l.oid, pg_relation_filenode(l.oid), (l.reltuples <= 0)::int, (
            SELECT bool_and(h.xmin = m.xmin AND h.cmin::text::bigint - m.cmin::text::bigint <= 2)::int
            FROM pg_partition_ancestors(l.oid) up
            JOIN pg_inherits h ON h.inhrelid = up.relid JOIN pg_attribute m ON m.attrelid = up.relid AND m.attnum = -1
            WHERE up.relid <> c.oid)), ',' ORDER BY l.oid)
        FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid
        WHERE c.relkind = 'p' AND t.isleaf AND l.relkind = 'r')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY(%s)"""
_KIN = "SELECT c.oid UNION SELECT relid::oid FROM pg_partition_ancestors(c.oid)"
_SCHEMAS = """(
            SELECT string_agg(s.oid::text, ',' ORDER BY s.oid) FROM pg_publication_namespace s
            WHERE s.pnpubid = p.oid
            AND s.pnnspid IN (SELECT k.relnamespace FROM pg_class k WHERE k.oid IN ({kin})))"""
_BETWEEN = "|"


class _Leaf(NamedTuple):
    """A partition that has rows of its own."""

    file: str
    empty: bool
    made: bool


def find_coverage(settings: PostgresTapSettings, session: Session, tables: Collection[Table]) -> dict[str, str]:
    """Return how tables are captured at this moment, by name, in words for `has_gap`.

    What was changed and changed back has other words than before: changes between are not streamed.

    :raises LostError: When the database cannot be asked, or a table has just gone.
    """
    schemas = _SCHEMAS if session.info.server_version >= LISTS else "NULL::text"
    query = _COVERAGE.replace("{schemas}", schemas).replace("{kin}", _KIN).encode()
    try:
        found = session.execute(query, (list(settings.publication_names), [table.oid for table in tables])).fetchall()
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None
    return {
        name: _BETWEEN.join((published, hashlib.blake2b((key or "").encode(), digest_size=8).hexdigest(), leaves or ""))
        for name, published, key, leaves in found
    }


def has_gap(before: str, now: str, *, followed: bool) -> bool:
    """Tell whether something has happened between two looks at a table that the stream does not tell.

    :arg followed: Whether the looks are close to each other: a file that was written anew, and is known to have rows,
        has the same ones. (After `TRUNCATE`, nobody knows of any; `VACUUM FULL` has counted them.)
    """
    known, found = before.split(_BETWEEN), now.split(_BETWEEN)
    # What an older version did not look at is not known.
    if known[0] != found[0] or known[1:2] != found[1 : 1 + len(known[1:2])]:
        return True
    if len(known) < len(found):
        return False
    were, are = _leaves(known[2]), _leaves(found[2])
    if any(not leaf.made for oid, leaf in are.items() if oid not in were):
        return True
    return any(
        (leaf := are.get(oid)) is None or (leaf.file != was.file and (leaf.empty or not followed))
        for oid, was in were.items()
    )


def _leaves(words: str) -> dict[str, _Leaf]:
    parts = [leaf.split(":") for leaf in words.split(",") if leaf]
    return {oid: _Leaf(file, empty == "1", made == "1") for oid, file, empty, made in parts}
