"""A small airline in the row store, written by the real intake: what there is to find is written down by hand.

Flights, their fares, and bags, which are their owners' own. NOW is Friday, 30 October 2026, noon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from events.changes import Change, Kind, Row, Sighting
from events.clock import to_millis
from events.log import Mark
from events.profiles import Activity, Collection, Field, Profile, Value
from serving.access.caller import Caller, local
from serving.access.rows import RowGate
from serving.context.candidate import Candidate
from serving.context.rows import RowFinder
from stores.profiles.base import ProfileReader
from stores.rows.choose import open_row_reader, open_row_writer
from stores.rows.intake import RowIntake
from stores.settings import Settings, load

NOW = to_millis(datetime(2026, 10, 30, 12, tzinfo=timezone.utc))
MINUTE, HOUR = 60_000, 3_600_000

FLIGHTS: dict[int, Row] = {
    1: {"number": "CRV204", "destination": "Madeira", "departs_at": "2026-11-02T07:00:00.000000Z", "status": "on time"},
    2: {"number": "CRV204", "destination": "Madeira", "departs_at": "2026-11-03T07:00:00.000000Z", "status": "on time"},
    3: {"number": "CRV112", "destination": "Lisbon", "departs_at": "2026-11-02T06:05:00.000000Z", "status": "late"},
    4: {"number": "CRV408", "destination": "São Tomé", "departs_at": "2026-11-04T10:20:00.000000Z", "status": "late"},
}
FARES: dict[int, Row] = {
    11: {"flight_id": 1, "fare": "Light", "price": Decimal("129.50"), "changed_by": "ana"},
    12: {"flight_id": 1, "fare": "Flex", "price": Decimal("349.00"), "changed_by": "ana"},
    13: {"flight_id": 3, "fare": "Light", "price": Decimal("99.90"), "changed_by": "bo"},
}
BAGS: dict[int, Row] = {
    21: {"customer_id": 7, "flight": "CRV204", "kilograms": 23},
    22: {"customer_id": 8, "flight": "CRV204", "kilograms": 8},
}

ENTITIES: list[dict[str, Any]] = [
    {"name": "flight", "pattern": r"crv ?\d{3}", "remove": " ", "upper": True},
    {"name": "place", "table": "flights", "column": "destination"},
    {"name": "day", "dates": True},
]
LOOKUPS: list[dict[str, Any]] = [
    {"table": "flights", "where": {"number": "flight"}, "order": "departs_at"},
    {"name": "flights_on", "table": "flights", "where": {"destination": "place", "departs_at": "day"}},
    {"name": "flights_to", "table": "flights", "where": {"destination": "place"}, "order": "departs_at", "limit": 3},
    {"table": "fares", "where": {"flight_id": "flights.id"}, "order": "price"},
    {"table": "bags", "where": {"flight": "flight"}},
]
SERVED: list[dict[str, Any]] = [
    {"name": "bags", "owner": {"column": "customer_id", "record": "customers"}},
    {"name": "fares", "hidden": ["changed_by"]},
]
INES = local("p-ines")


def airline_settings(path: Path, rows: dict[str, Any] | None = None, **serving: Any) -> Settings:
    """Return settings of the airline over the row store of `rows`; `serving` goes over its own."""
    live = [
        {"name": "flights", "table": "flights"},
        {"name": "fares", "table": "fares", "ttl_seconds": 86_400.0},
        {"name": "bags", "table": "bags"},
    ]
    return load(
        data_dir=path,
        rows=rows or {},
        tables={"streams": [{"name": "ops"}], "live": live},
        profiles={
            "streams": [{"name": "crm"}],
            "tables": [
                {"name": "customers", "table": "customers", "key": ["id"], "identifiers": {"email": ["email"]}},
                {"name": "trips", "table": "trips", "references": "customers", "by": {"customer": "id"}},
            ],
            "fields": [{"name": name, "columns": {"customers": name}} for name in ("name", "home", "marketing")],
        },
        serving={"entities": ENTITIES, "lookups": LOOKUPS, "tables": SERVED, **serving},
    )


def change(
    table: str, number: int, row: Row | None, at: int = NOW - HOUR, *, position: int = 0, source: str = "ops"
) -> Change:
    """Return a change of the row whose key is `number`; None deletes it. Later ones have greater positions."""
    return Change(
        source,
        table,
        f'{{"id":{number}}}',
        "delete" if row is None else "update",
        None,
        None if row is None else {"id": number, **row},
        at,
        (0, position or at),
        stream="ops",
    )


def all_changes() -> list[Change]:
    """Return the changes that make the airline."""
    tables = {"flights": FLIGHTS, "fares": FARES, "bags": BAGS}
    return [change(table, number, row) for table, rows in tables.items() for number, row in rows.items()]


def take_in(settings: Settings, changes: Iterable[Change], offset: int = 1) -> None:
    """Write changes, each with what is seen of its columns; then everything before `offset` is in."""
    intake = RowIntake(open_row_writer(settings, lambda: NOW), settings.tables, lambda: NOW, lambda hold: None)
    try:
        for one in changes:
            columns = {
                (column, _kind(value)): (one.event_time, one.event_time) for column, value in (one.after or {}).items()
            }
            intake.write([Sighting(one.source, one.table, columns, one.event_time, one.event_time), one])
        intake.close_epoch([Mark("ops", "0", offset, NOW, NOW, caught_up=True)])
    finally:
        intake.close()


def find(
    settings: Settings,
    question: str,
    *,
    caller: Caller = INES,
    profile: Profile | None = None,
    only: tuple[str, ...] | None = None,
    now: int = NOW,
    finder: RowFinder | None = None,
    profiles: ProfileReader | None = None,
    earlier: Sequence[str] = (),
) -> tuple[list[Candidate], list[str]]:
    """Return what belongs to a question, from a cut of the store."""
    finder = finder or RowFinder(settings, RowGate(settings))
    reader = open_row_reader(settings)
    try:
        with reader.cut() as cut:
            return finder.find(
                question,
                tables=cut,
                profile=profile,
                caller=caller,
                only=only,
                now=now,
                profiles=profiles,
                earlier=earlier,
            )
    finally:
        reader.close()


def found(settings: Settings, question: str, **more: Any) -> list[str]:
    """Return the ids of what belongs to a question."""
    return [one.id for one in find(settings, question, **more)[0]]


def profile(**fields: Any) -> Profile:
    """Return the profile of Ines, customer 7, with `fields`, all of them said an hour ago."""
    return Profile(
        person="p-ines",
        realm="default",
        since=NOW - 1000 * HOUR,
        aliases=(),
        records=('crm/customers/{"id":7}',),
        identifiers={"email": ("ines@posteo.example",)},
        fields={name: field(value) for name, value in fields.items()},
        collections={},
    )


def field(value: Any, as_of: int = NOW - HOUR) -> Field:
    """Return a field with a value of customer 7; a list is a union."""
    said = value if isinstance(value, list) else [value]
    return Field(value, tuple(Value(one, 'crm/customers/{"id":7}', "42", as_of, as_of + 5) for one in said))


def with_trips(person: Profile, *trips: Row, at: int = NOW - 10 * HOUR) -> Profile:
    """Return the profile with open trips, each an hour newer than the one before."""
    activities = [
        Activity(f'crm/trips/{{"id":{number}}}', at + number * HOUR, row, f"5{number}", at, at + 5, open=True)
        for number, row in enumerate(trips)
    ]
    collection = Collection(len(trips), len(trips), tuple(reversed(activities)), latest=at)
    return msgspec.structs.replace(person, collections={"trips": collection})


def _kind(value: Any) -> Kind:
    kinds: dict[type, Kind] = {bool: "bool", int: "int", float: "float", Decimal: "decimal", str: "text", dict: "json"}
    return kinds.get(type(value), "null" if value is None else "json")
