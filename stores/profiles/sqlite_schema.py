"""How persons lie in SQLite, beside the rows: every look-up is by an index, and no index holds a payload.

`headrace_members` says of which person a record is, `headrace_identifiers` which records carry an identifier, by its
number. `headrace_places` has activities by the record that they belong to, `headrace_summaries` what those come to,
`headrace_persons` the profiles as JSON.
"""

from __future__ import annotations

from stores.rows.base import LIVE
from stores.rows.sqlite_schema import COLUMNS, STORE_TABLES, Layout, row_table

# Keys that come in no order are what a large store's inserts cost: so there are as few as can be, and they are short.
PROFILES = Layout(
    "profile store",
    0x4850524F,
    1,
    (
        *STORE_TABLES,
        """CREATE TABLE headrace_members (id INTEGER PRIMARY KEY, record TEXT NOT NULL UNIQUE, realm TEXT NOT NULL,
            person TEXT NOT NULL, own TEXT, since INTEGER NOT NULL, held TEXT, identifiers TEXT NOT NULL) STRICT""",
        "CREATE INDEX headrace_members_person ON headrace_members (person)",
        # The id that a person would bear by this record is mostly the one that it bears; null then.
        "CREATE INDEX headrace_members_own ON headrace_members (own) WHERE own IS NOT NULL",
        "CREATE INDEX headrace_members_held ON headrace_members (person, held) WHERE held IS NOT NULL",
        "CREATE TABLE headrace_realms (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
        """CREATE TABLE headrace_identifiers (number INTEGER NOT NULL, record TEXT NOT NULL,
            PRIMARY KEY (number, record)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE headrace_places (owner TEXT NOT NULL, activity TEXT NOT NULL, at INTEGER NOT NULL,
            source TEXT NOT NULL, key TEXT NOT NULL,
            PRIMARY KEY (owner, activity, at DESC, source, key)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE headrace_summaries (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, activity TEXT NOT NULL,
            summary BLOB NOT NULL, UNIQUE (owner, activity)) STRICT""",
        """CREATE TABLE headrace_persons (id INTEGER PRIMARY KEY, person TEXT NOT NULL UNIQUE, profile TEXT NOT NULL)
            STRICT""",
        """CREATE TABLE headrace_former (person TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID""",
        "CREATE INDEX headrace_former_record ON headrace_former (record)",
        """CREATE TABLE headrace_shared (identifier TEXT NOT NULL, realm TEXT NOT NULL, records INTEGER NOT NULL,
            most INTEGER NOT NULL, PRIMARY KEY (identifier, realm)) STRICT, WITHOUT ROWID""",
    ),
    # A person is looked up in five trees: with these in memory, a large store is nearly as fast as a small one.
    cache_kib=524_288,
)

# {keys} is what `stores.profiles.sqlite.among` puts there.
MEMBERS = "SELECT record, realm, person, since, held, identifiers FROM headrace_members WHERE record IN ({keys})"
MEMBERS_OF = """SELECT record, realm, person, since, held, identifiers FROM headrace_members WHERE person IN ({keys})
    ORDER BY since, record"""
PERSON_IDS = "SELECT DISTINCT person FROM headrace_members WHERE person > ? ORDER BY person LIMIT ?"
SUMMARIES = "SELECT activity, owner, summary FROM headrace_summaries WHERE owner IN ({keys})"

PUT_MEMBER = """INSERT INTO headrace_members (record, realm, person, own, since, held, identifiers)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (record) DO UPDATE SET realm = excluded.realm, person = excluded.person,
    own = excluded.own, since = excluded.since, held = excluded.held, identifiers = excluded.identifiers"""
PUT_SUMMARY = """INSERT INTO headrace_summaries (activity, owner, summary) VALUES (?, ?, ?)
    ON CONFLICT (owner, activity) DO UPDATE SET summary = excluded.summary"""
PUT_PROFILE = """INSERT INTO headrace_persons (person, profile) VALUES (?, ?)
    ON CONFLICT (person) DO UPDATE SET profile = excluded.profile"""

CLEAR_ACTIVITIES = (
    "DELETE FROM headrace_places WHERE activity = ?",
    "DELETE FROM headrace_summaries WHERE activity = ?",
)

FORGET = {
    "record": (
        "DELETE FROM headrace_members WHERE record = ?",
        "DELETE FROM headrace_places WHERE owner = ?",
        "DELETE FROM headrace_summaries WHERE owner = ?",
        "DELETE FROM headrace_former WHERE record = ?",
    ),
    "person": (
        "DELETE FROM headrace_members WHERE person = ?",
        "DELETE FROM headrace_persons WHERE person = ?",
        "DELETE FROM headrace_former WHERE person = ?",
    ),
    "identifier": ("DELETE FROM headrace_shared WHERE identifier = ?",),
}
"""By what is given, the statements that remove what names it."""

FORGET_FORMER = "DELETE FROM headrace_former WHERE person = ?"

HOLDERS = """SELECT record, realm, person, since, held, identifiers
    FROM headrace_identifiers JOIN headrace_members USING (record) WHERE number = ? ORDER BY record"""
HELD = """SELECT person FROM (SELECT DISTINCT person FROM headrace_members WHERE held IS NOT NULL) AS held
    ORDER BY (SELECT count(*) FROM headrace_members AS one WHERE one.person = held.person) DESC, person LIMIT ?"""
PERSON = """SELECT person FROM headrace_members WHERE person = ?1
    UNION ALL SELECT person FROM headrace_members WHERE own = ?1 LIMIT 1"""
FORMER = """SELECT former.record, member.person FROM headrace_former AS former
    LEFT JOIN headrace_members AS member USING (record) WHERE former.person = ?"""


def live_rows(name: str) -> str:
    """Return the query for LIVE rows in order, given the source and key that they come behind, and how many."""
    return f"""SELECT {", ".join(COLUMNS)} FROM {row_table(name)}
        WHERE (source, key) > (?, ?) AND state = {LIVE} ORDER BY source, key LIMIT ?"""  # noqa: S608  # our own names
