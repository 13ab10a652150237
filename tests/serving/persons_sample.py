"""A small company's customers in the profile store: who is who is written down by hand, row by row.

Person ANNA has three records, of which two carry nothing in common; BERT, CARA and DORA one each; FAY and GIL would be
one person if that were not larger than its limit; HUGO is of another realm.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from events.changes import Row, Standing
from events.log import Applied, LogRecord
from events.persons import Member, Shared, person_id
from events.profiles import RecordRow
from operators.identity.configure import profile_rules
from operators.profiles.logic import Profiler
from serving.profiles import Profiles
from stores.log.files import FileLog
from stores.profiles.base import ProfileWriter
from stores.profiles.choose import open_profile_reader, open_profile_writer
from stores.rows.base import APPLIED, GONE, LIVE, StoredRow, applied_fact
from stores.settings import Settings, load

NOW = 1_700_000_000_000
DAY = 86_400_000
SWITCHBOARD = "phone:+493020001000"

CUSTOMERS, USERS, AGENTS, BOOKINGS = "crm/public.customers", "shop/users", "agency/agents", "shop/bookings"


def key(table: str, number: int) -> str:
    return f'{table}/{{"id":{number}}}'


ANNA_CRM, ANNA_SHOP, ANNA_OLD = key(CUSTOMERS, 1), key(USERS, 7), key(CUSTOMERS, 2)
BERT, CARA, DORA, GONE_ONE = key(CUSTOMERS, 3), key(USERS, 8), key(CUSTOMERS, 4), key(CUSTOMERS, 9)
FAY, GIL, HUGO = key(USERS, 11), key(USERS, 12), key(AGENTS, 1)

ROWS: dict[str, Row] = {
    ANNA_CRM: {
        "name": "Anna [b]Kowalska[/b]",
        "email": "anna@posteo.example",
        "phone": "+49 30 2000 1000",
        "loyalty": "HR-100 200",
    },
    ANNA_SHOP: {"login": "A.K@posteo.example", "mobile": None, "card": "HR100200"},
    ANNA_OLD: {"name": "A. Kowalska", "email": "a.k@posteo.example", "phone": "000000", "loyalty": None},
    BERT: {"name": "Bert\x1b[31m", "email": "bert@posteo.example", "phone": "+493020001000", "loyalty": None},
    CARA: {"login": "cara@posteo.example", "mobile": "000000", "card": None},
    DORA: {"name": "Dora", "email": "info@posteo.example", "phone": "+493020001000", "loyalty": None},
    GONE_ONE: {},
    FAY: {"login": "fay@posteo.example", "mobile": "+493020003000", "card": None},
    GIL: {"login": "gil@posteo.example", "mobile": "+493020003000", "card": None},
    HUGO: {"email": "anna@posteo.example"},
}

MEMBERS = [
    Member(
        ANNA_CRM,
        "default",
        person_id("default", ANNA_CRM),
        ("email:anna@posteo.example", "loyalty:HR100200", SWITCHBOARD),
        NOW - 900 * DAY,
    ),
    Member(
        ANNA_SHOP,
        "default",
        person_id("default", ANNA_CRM),
        ("email:a.k@posteo.example", "loyalty:HR100200"),
        NOW - 800 * DAY,
    ),
    Member(ANNA_OLD, "default", person_id("default", ANNA_CRM), ("email:a.k@posteo.example",), NOW - 700 * DAY),
    Member(BERT, "default", person_id("default", BERT), ("email:bert@posteo.example", SWITCHBOARD), NOW - 90 * DAY),
    Member(CARA, "default", person_id("default", CARA), ("email:cara@posteo.example",), NOW - 80 * DAY),
    Member(DORA, "default", person_id("default", DORA), (SWITCHBOARD,), NOW - 70 * DAY),
    Member(
        FAY,
        "default",
        person_id("default", FAY),
        ("email:fay@posteo.example", "phone:+493020003000"),
        NOW - 60 * DAY,
        ("phone",),
    ),
    Member(
        GIL,
        "default",
        person_id("default", GIL),
        ("email:gil@posteo.example", "phone:+493020003000"),
        NOW - 50 * DAY,
        ("phone",),
    ),
    Member(HUGO, "partners", person_id("partners", HUGO), ("email:anna@posteo.example",), NOW - 40 * DAY),
]
ANNA = MEMBERS[0].person

TABLES: list[dict[str, Any]] = [
    {
        "name": "customers",
        "table": "public.customers",
        "source": "crm",
        "identifiers": {"email": ["email"], "phone": ["phone"], "loyalty": ["loyalty"]},
        "region": "DE",
    },
    {
        "name": "users",
        "table": "users",
        "source": "shop",
        "identifiers": {"email": ["login"], "phone": ["mobile"], "loyalty": ["card"]},
    },
    {"name": "agents", "table": "agents", "realm": "partners", "identifiers": {"email": ["email"]}},
    {
        "name": "bookings",
        "table": "bookings",
        "source": "shop",
        "references": "users",
        "by": {"user_id": "id"},
        "open": {"status": ["booked"]},
        "sums": ["price"],
    },
]


def configured(path: Path) -> Settings:
    """Return the settings; the data lies in `path`."""
    profiles = {
        "streams": [{"name": "crm"}],
        "tables": TABLES,
        "identifiers": [
            {"type": "loyalty", "parts": ["code"]},
            {"type": "email", "parts": ["email"], "limit": 3},
            {"type": "phone", "parts": ["phone"], "limit": 2},
        ],
        "fields": [
            {"name": "name", "columns": {"customers": "name"}, "rule": "longest"},
            {"name": "email", "columns": {"customers": "email", "users": "login"}, "rule": "union"},
        ],
        "person_limit": 3,
        "block": ["email:info@posteo.example"],
    }
    return load(data_dir=path, profiles=profiles)


def stored(record: str, image: Row, *, state: int = LIVE) -> StoredRow:
    source, _, rest = record.partition("/")
    row_key = rest[rest.index("/{") + 1 :]
    image = {**msgspec.json.decode(row_key), **image}
    number = 1 + list(ROWS).index(record) if record in ROWS else 50
    standing = Standing((0, number), "crm", 0, number)
    as_of = NOW - number * 60_000
    return StoredRow(source, row_key, None if state == GONE else image, state, standing, as_of, as_of + 250)


def fill(settings: Settings, members: Iterable[Member] = MEMBERS) -> None:
    """Write rows, members, activities' sums and profiles."""
    log = FileLog(settings.log_dir)
    log.append("crm", [LogRecord("crm", 0, 0, NOW - 1000, b"1", b"{}")])
    writer = open_profile_writer(settings, lambda: NOW)
    members = list(members)
    with writer.transaction():
        for table in TABLES:
            of = {record: row for record, row in ROWS.items() if f"/{table['table']}/" in record}
            writer.put(table["name"], [stored(r, row, state=GONE if r == GONE_ONE else LIVE) for r, row in of.items()])
        booking = stored(key(BOOKINGS, 5), {"user_id": 7, "status": "booked", "price": "120.50"})
        writer.put("bookings", [booking])
        writer.put_members(members)
        writer.put_shared([Shared(SWITCHBOARD, "default", 3, 2)])
        _put_profiles(writer, settings, members, booking)
        for partition in log.partitions("crm"):
            at = {"crm": NOW - 500}
            mark = Applied("crm", str(partition), 1, NOW - 1000, NOW - 500, True, NOW - 400, {"crm": (0, 60)}, at)
            writer.note(APPLIED, dict([applied_fact(mark)]))
    writer.close()


def _put_profiles(writer: ProfileWriter, settings: Settings, members: list[Member], booking: StoredRow) -> None:
    profiler = Profiler(profile_rules(settings.profiles))
    row = RecordRow(key(BOOKINGS, 5), "bookings", booking.image or {}, (0, 50), booking.as_of, booking.applied_at)
    summary = profiler.added("bookings", None, profiler.activity(row))
    names = {table["table"]: table["name"] for table in TABLES}
    for person in {member.person for member in members}:
        own = [member for member in members if member.person == person]
        rows = []
        for member in own:
            table = member.record.split("/")[1]
            if member.record not in ROWS:
                continue
            found = stored(member.record, ROWS[member.record])
            position = found.standing.position
            rows.append(
                RecordRow(member.record, names[table], found.image or {}, position, found.as_of, found.applied_at)
            )
        summaries = {"bookings": [summary]} if any(member.record == ANNA_SHOP for member in own) else {}
        writer.put_profiles({person: profiler.profile(own, rows, summaries)})


def opened(settings: Settings, now: int = NOW) -> Profiles:
    """Return the profiles as asked at `now`; the log has one partition of the stream."""
    return Profiles(settings, open_profile_reader(settings), FileLog(settings.log_dir), lambda: now)
