"""What the stores are to hold in the end, worked out from the source alone: its rows, and the events that were told.

Each returns lines that tell what is not so; none if all is well.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from events.feedback import FeedbackEvent
from events.persons import Member
from fixtures.conversations_expected import KPIS, expected
from fixtures.conversations_writing import written
from operators.identity.configure import identity_rules
from stores.kpis.reader import KpiReader
from stores.profiles.choose import open_profile_reader
from stores.rows.base import RowQuery
from stores.rows.choose import open_row_reader
from stores.settings import Settings
from tests.faults.live_tables import TABLES
from tests.property.identity_oracle import FinalRow, members_of

ALL = 1_000_000
REALM = "default"

Rows = dict[str, dict[str, dict[str, Any]]]
"""By table and key as JSON, the rows of the source."""


def source_rows(database: psycopg.Connection[Any]) -> Rows:
    """Return all rows of all tables, as of one moment."""
    found: Rows = {}
    with database.transaction(), database.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for table in TABLES:
            key = [row["name"] for row in cursor.execute(_KEY, {"table": table})]
            rows = cursor.execute(SQL("SELECT * FROM {}").format(Identifier(table))).fetchall()
            found[table] = {json.dumps({name: row[name] for name in sorted(key)}): row for row in rows}
    return found


_KEY = """SELECT a.attname AS name FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
    AND a.attnum = ANY(i.indkey) WHERE i.indrelid = %(table)s::regclass AND i.indisprimary"""


def wrong_tables(settings: Settings, source: Rows) -> Iterator[str]:
    """Compare live tables with the source's own."""
    reader = open_row_reader(settings)
    try:
        for table, rows in source.items():
            stored = reader.select(RowQuery(table=table, limit=ALL))
            there = {_canonical(row.key): row for row in stored}
            if len(there) < len(stored):
                yield f"{table}: {len(stored) - len(there)} rows are doubled"
            for key in rows.keys() - there.keys():
                yield f"{table}: {key} is lost"
            for key in there.keys() - rows.keys():
                yield f"{table}: {key} is resurrected: {there[key]}"
            for key in rows.keys() & there.keys():
                image = there[key].image or {}
                if image.keys() != rows[key].keys():
                    yield f"{table}: {key} has the columns {sorted(image)}, not {sorted(rows[key])}"
                for column in image.keys() & rows[key].keys():
                    if not _same(image[column], rows[key][column]):
                        yield f"{table}: {key}: {column} is {image[column]!r:.90}, not {rows[key][column]!r:.90}"
    finally:
        reader.close()


def _canonical(key: str) -> str:
    return json.dumps(dict(sorted(json.loads(key).items())))


def _same(served: Any, there: Any) -> bool:
    """Tell whether a value is the same one, in type and to the last digit."""
    if isinstance(there, datetime):
        moment = datetime.fromisoformat(served.replace("Z", "+00:00"))
        return moment == there and (moment.tzinfo is None) == (there.tzinfo is None)
    if isinstance(there, date):
        return bool(date.fromisoformat(served) == there)
    if isinstance(there, bytes):
        return b64decode(served) == there
    if isinstance(there, (Decimal, float)):
        # JSON knows numbers only: what counts is that each digit is there.
        return isinstance(served, (int, float, Decimal)) and Decimal(str(served)) == Decimal(str(there))
    return type(served) is type(there) and bool(served == there)


def wrong_persons(settings: Settings, source: Rows) -> Iterator[str]:
    """Compare who is who with the connected components of the final rows, and what each person has booked."""
    rows = dict(_carried(source))
    wanted = members_of(REALM, identity_rules(settings.profiles), rows)
    reader = open_profile_reader(settings)
    try:
        found: dict[str, Member] = {}
        booked: dict[str, tuple[int, Decimal]] = {}
        after = ""
        while page := reader.persons(after, 1_000):
            for profile in page:
                members = reader.members_of(profile.person)
                found.update((member.record, member) for member in members)
                if sorted(profile.records) != sorted(member.record for member in members):
                    yield f"the profile of {profile.person} is of {profile.records}, its members are {members}"
                bookings = profile.collections.get("bookings")
                if bookings is not None:
                    booked[profile.person] = (bookings.count, Decimal(bookings.sums.get("price", "0")))
            after = page[-1].person
    finally:
        reader.close()
    for record in wanted.keys() | found.keys():
        if found.get(record) != wanted.get(record):
            yield f"{record}: is {found.get(record)}, not {wanted.get(record)}"
    bought: dict[str, tuple[int, Decimal]] = {}
    for row in source["bookings"].values():
        owner = wanted.get(_record("users", row["user_id"]))
        if owner is not None:
            count, total = bought.get(owner.person, (0, Decimal(0)))
            bought[owner.person] = (count + 1, total + row["price"])
    for person in bought.keys() | booked.keys():
        if booked.get(person, (0, 0)) != bought.get(person, (0, 0)):
            yield f"{person} has booked {booked.get(person)}, not {bought.get(person)}"


def _record(table: str, id_: int) -> str:
    return f'shop/public.{table}/{{"id":{id_}}}'


def _carried(source: Rows) -> Iterator[tuple[str, FinalRow]]:
    for table, columns, since in (
        ("customers", {"email": "email", "phone": "phone"}, "created_at"),
        ("users", {"email": "email", "loyalty": "loyalty"}, "created"),
    ):
        for row in source[table].values():
            carried = [f"{type_}:{row[column]}" for type_, column in columns.items() if row[column] is not None]
            made = row[since] - datetime(1970, 1, 1, tzinfo=timezone.utc)
            yield _record(table, row["id"]), FinalRow(frozenset(carried), int(made.total_seconds() * 1000))


def wrong_kpis(settings: Settings, told: Iterable[FeedbackEvent]) -> Iterator[str]:
    """Compare KPIs with plain sums over all events that were told."""
    lines = [json.dumps({"value": written(event)}) for event in told]
    reader = KpiReader(settings.kpis_path)
    found: Mapping[Any, Any] = {
        (value.kpi, value.window, value.start, tuple(sorted(dict(value.group).items()))): (value.value, value.count)
        for value in reader.values()
    }
    checked = 0
    for value in expected([lines]):
        if value.kpi in KPIS and value.kpi != "users":
            checked += 1
            key = (value.kpi, value.window, value.start, tuple(sorted(value.group.items())))
            if found.get(key) != (pytest.approx(value.value), value.count):
                yield f"{key}: is {found.get(key)}, not {value.value} of {value.count}"
    if not checked:
        yield "there is no KPI to compare"
