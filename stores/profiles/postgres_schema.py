"""How persons lie in PostgreSQL, beside the rows: the same tables as in SQLite.

Where a text of any length would be part of an index, a digest of it is: PostgreSQL refuses long ones. Lists of texts
are JSON, as a profile is.
"""

from __future__ import annotations

import hashlib

from psycopg.sql import SQL, Composed, Identifier
from typing_extensions import LiteralString

from stores.rows.postgres_schema import SHARED_TABLES, Layout

PROFILES = Layout(
    "profiles",
    1001,
    (
        *SHARED_TABLES,
        """CREATE TABLE {schema}.headrace_members (record text COLLATE "C" PRIMARY KEY, realm text NOT NULL,
            person text COLLATE "C" NOT NULL, own text COLLATE "C", since bigint NOT NULL, held text,
            identifiers text NOT NULL)""",
        "CREATE INDEX ON {schema}.headrace_members (person)",
        # The id that a person would bear by this record is mostly the one that it bears; null then.
        "CREATE INDEX ON {schema}.headrace_members (own) WHERE own IS NOT NULL",
        "CREATE INDEX ON {schema}.headrace_members (person) WHERE held IS NOT NULL",
        "CREATE TABLE {schema}.headrace_realms (name text PRIMARY KEY)",
        """CREATE TABLE {schema}.headrace_identifiers (number bigint, record text COLLATE "C",
            PRIMARY KEY (number, record))""",
        """CREATE TABLE {schema}.headrace_places (owner bytea, activity text COLLATE "C", at bigint, row bytea,
            source text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, PRIMARY KEY (owner, activity, at, row))""",
        """CREATE TABLE {schema}.headrace_summaries (owner bytea, activity text COLLATE "C", summary bytea NOT NULL,
            PRIMARY KEY (owner, activity))""",
        """CREATE TABLE {schema}.headrace_persons (person text COLLATE "C" PRIMARY KEY, profile json NOT NULL)""",
        """CREATE TABLE {schema}.headrace_former (person text COLLATE "C" PRIMARY KEY,
            record text COLLATE "C" NOT NULL)""",
        "CREATE INDEX ON {schema}.headrace_former (record)",
        """CREATE TABLE {schema}.headrace_shared (mark bytea PRIMARY KEY, identifier text COLLATE "C" NOT NULL,
            realm text COLLATE "C" NOT NULL, records bigint NOT NULL, most bigint NOT NULL)""",
    ),
)
_TABLES = "members", "realms", "identifiers", "places", "summaries", "persons", "former", "shared"

# Lists go to the server in binary, as arrays: with psycopg that is several times as fast as any other way of writing
# them, and for a thousand profiles faster than COPY into a table beside. They are joined rather than compared with ANY,
# which without statistics, as in a table that grows fast, reads the whole table.
MEMBERS = """SELECT record, realm, person, since, held, identifiers
    FROM unnest(%b::text[]) AS wanted (record) JOIN {members} USING (record)"""
MEMBERS_OF = """SELECT record, realm, person, since, held, identifiers
    FROM unnest(%b::text[]) AS wanted (person) JOIN {members} USING (person) ORDER BY since, record"""
PERSON_IDS = "SELECT DISTINCT person FROM {members} WHERE person > %s ORDER BY person LIMIT %s"
SUMMARIES = """SELECT activity, owner, summary
    FROM unnest(%b::bytea[]) AS wanted (owner) JOIN {summaries} USING (owner)"""
ACTIVITIES = "SELECT source, key FROM {places} WHERE owner = %s AND activity = %s ORDER BY at DESC, source, key"

PUT_MEMBERS = """INSERT INTO {members} (record, realm, person, own, since, held, identifiers)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[])
    ON CONFLICT (record) DO UPDATE SET realm = excluded.realm, person = excluded.person, own = excluded.own,
        since = excluded.since, held = excluded.held, identifiers = excluded.identifiers"""
DROP_MEMBERS = "DELETE FROM {members} WHERE record = ANY(%b::text[])"
PUT_REALMS = "INSERT INTO {realms} SELECT unnest(%b::text[]) ON CONFLICT DO NOTHING"
PUT_IDENTIFIERS = "INSERT INTO {identifiers} SELECT * FROM unnest(%b::bigint[], %b::text[]) ON CONFLICT DO NOTHING"
DROP_IDENTIFIERS = """DELETE FROM {identifiers} AS old USING unnest(%b::bigint[], %b::text[]) AS gone (number, record)
    WHERE old.number = gone.number AND old.record = gone.record"""
PUT_FORMER = """INSERT INTO {former} SELECT * FROM unnest(%b::text[], %b::text[])
    ON CONFLICT (person) DO UPDATE SET record = excluded.record"""
PUT_SHARED = """INSERT INTO {shared}
    SELECT * FROM unnest(%b::bytea[], %b::text[], %b::text[], %b::bigint[], %b::bigint[])
    ON CONFLICT (mark) DO UPDATE SET records = excluded.records, most = excluded.most"""
DROP_SHARED = "DELETE FROM {shared} WHERE mark = ANY(%b::bytea[])"
PUT_PLACES = """INSERT INTO {places}
    SELECT * FROM unnest(%b::bytea[], %b::text[], %b::bigint[], %b::bytea[], %b::text[], %b::text[])
    ON CONFLICT DO NOTHING"""
DROP_PLACES = """DELETE FROM {places} AS old
    USING unnest(%b::bytea[], %b::text[], %b::bigint[], %b::bytea[]) AS gone (owner, activity, at, row)
    WHERE old.owner = gone.owner AND old.activity = gone.activity AND old.at = gone.at AND old.row = gone.row"""
PUT_SUMMARIES = """INSERT INTO {summaries} SELECT * FROM unnest(%b::bytea[], %b::text[], %b::bytea[])
    ON CONFLICT (owner, activity) DO UPDATE SET summary = excluded.summary"""
DROP_SUMMARIES = """DELETE FROM {summaries} AS old USING unnest(%b::bytea[], %b::text[]) AS gone (owner, activity)
    WHERE old.owner = gone.owner AND old.activity = gone.activity"""
PUT_PROFILES = """INSERT INTO {persons}
    SELECT person, profile::json FROM unnest(%b::text[], %b::text[]) AS new (person, profile)
    ON CONFLICT (person) DO UPDATE SET profile = excluded.profile"""
DROP_PROFILES = "DELETE FROM {persons} WHERE person = ANY(%b::text[])"

CLEAR_ACTIVITIES: tuple[LiteralString, ...] = (
    "DELETE FROM {places} WHERE activity = ANY(%b::text[])",
    "DELETE FROM {summaries} WHERE activity = ANY(%b::text[])",
)

FORGET: dict[str, tuple[LiteralString, ...]] = {
    "record": (DROP_MEMBERS, "DELETE FROM {former} WHERE record = ANY(%b::text[])"),
    "owner": (
        "DELETE FROM {places} WHERE owner = ANY(%b::bytea[])",
        "DELETE FROM {summaries} WHERE owner = ANY(%b::bytea[])",
    ),
    "person": ("DELETE FROM {members} WHERE person = ANY(%b::text[])", DROP_PROFILES),
    "former": ("DELETE FROM {former} WHERE person = ANY(%b::text[])",),
    "identifier": ("DELETE FROM {shared} WHERE identifier = ANY(%b::text[])",),
}
"""By what is given, the statements that remove what names it."""

HOLDERS = """SELECT record, realm, person, since, held, identifiers FROM {identifiers} JOIN {members} USING (record)
    WHERE number = %s AND record > %s ORDER BY record LIMIT %s"""
HELD = """SELECT person FROM (SELECT DISTINCT person FROM {members} WHERE held IS NOT NULL) AS held
    ORDER BY (SELECT count(*) FROM {members} AS one WHERE one.person = held.person) DESC, person LIMIT %s"""
PERSON = """(SELECT person FROM {members} WHERE person = %(id)s LIMIT 1)
    UNION ALL (SELECT person FROM {members} WHERE own = %(id)s LIMIT 1) LIMIT 1"""
FORMER = """SELECT former.record, member.person FROM {former} AS former LEFT JOIN {members} AS member USING (record)
    WHERE former.person = %s"""


def composed(schema: str, query: LiteralString) -> Composed:
    """Return a query with the tables of `schema` in their places."""
    return SQL(query).format(**{name: Identifier(schema, f"headrace_{name}") for name in _TABLES})


def mark(*texts: str) -> bytes:
    """Return what stands for texts in an index: 16 bytes, whatever their length."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()
