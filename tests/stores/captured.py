"""What a capture has brought, folded to the rows that live: by position, as everything downstream decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from events.changes import Change, Truncation
from events.clock import system_clock
from events.log import LogRecord
from operators.capture.postgres import PostgresDecoder
from operators.changes.debezium import debezium
from operators.changes.rules import StreamRules
from stores.capture.postgres.tap import PostgresTap
from stores.capture_settings import PostgresTapSettings

DEADLINE = 30.0


def open_tap(settings: PostgresTapSettings, place: Any = None) -> PostgresTap:
    """Open the tap at a place that has been through JSON, as places do."""
    place = msgspec.json.decode(msgspec.json.encode(place))
    return PostgresTap(settings, place, system_clock, PostgresDecoder(settings.name, settings.target))


def draw_until(tap: PostgresTap, done: Callable[[list[LogRecord]], bool], limit: int = 500) -> tuple[list[Any], Any]:
    """Draw until `done` with all that came; return that, and the place behind it."""
    records: list[LogRecord] = []
    place: Any = None
    deadline = time.monotonic() + DEADLINE
    while not (place and done(records)):
        assert time.monotonic() < deadline, f"only {len(records)} events came: {place}"
        drawn = tap.draw(limit)
        if drawn is not None:
            records += drawn.records
            place = drawn.place
    return records, place


class Story:
    """One capture over several runs: all that it has brought, and the place up to which it is safe."""

    def __init__(self, settings: PostgresTapSettings) -> None:
        self.settings = settings
        self.place: Any = None
        self.records: list[LogRecord] = []
        self.tap: PostgresTap | None = None

    def run(self, **settings: Any) -> PostgresTap:
        """Open the tap where it was left, with other settings from here on."""
        self.settings = self.settings.model_copy(update=settings)
        self.end()
        self.tap = open_tap(self.settings, self.place)
        return self.tap

    def draw(self, limit: int = 500, *, safe: bool = True) -> int:
        """Draw once; return how many events came. Where they are not safe, they are there and the place is not."""
        assert self.tap is not None
        drawn = self.tap.draw(limit)
        if drawn is None:
            return 0
        self.records += drawn.records
        if not safe:
            return len(drawn.records)
        self.place = msgspec.json.decode(msgspec.json.encode(drawn.place))
        self.tap.confirm(self.place)
        return len(drawn.records)

    def draw_until(self, done: Callable[[], bool], limit: int = 500) -> None:
        """Draw until `done`, which is asked whenever nothing came, and at the beginning."""
        deadline = time.monotonic() + DEADLINE
        while self.draw(limit) or self.place is None or not done():
            assert time.monotonic() < deadline, f"after {len(self.records)} events: {self.place}"

    def follow(self, db: psycopg.Connection[Any]) -> None:
        """Draw until what lives is what the tables of the settings hold."""
        self.draw_until(lambda: self.live() == source_rows(db, self.settings.tables))

    def live(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the rows that live, of the tables of the settings."""
        return {name: row for name, row in live_rows(self.records).items() if name[0] in self.settings.tables}

    def seen(self, begin: int = 0) -> list[tuple[str, str, str]]:
        """Return what was brought: table, operation, key."""
        return [
            (change.table, change.op, change.key) if isinstance(change, Change) else (change.table, "truncate", "")
            for change in changes_of(self.records[begin:])
        ]

    def end(self) -> None:
        """Close the tap."""
        if self.tap is not None:
            self.tap.close()
            self.tap = None


def clear(session: psycopg.Connection[Any]) -> None:
    """Drop all tables, publications and slots."""
    session.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for (publication,) in session.execute("SELECT pubname FROM pg_publication").fetchall():
        session.execute(SQL("DROP PUBLICATION {}").format(Identifier(publication)))
    wait_until_idle(session)
    session.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def wait_until_idle(db: psycopg.Connection[Any]) -> None:
    """Wait until nobody streams from a slot."""
    deadline = time.monotonic() + DEADLINE
    while db.execute("SELECT count(*) FROM pg_replication_slots WHERE active").fetchone() != (0,):
        assert time.monotonic() < deadline, "a slot is still streamed"
        db.execute("SELECT pg_sleep(0.02)")


def source_rows(db: psycopg.Connection[Any], tables: Iterable[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of tables whose key is `id`, as the database itself writes them."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in tables:
        rows = db.execute(SQL("SELECT to_jsonb(t) FROM {} t").format(Identifier(*table.split(".")))).fetchall()
        found |= {(table, f'{{"id":{row["id"]}}}'): row for (row,) in rows}
    return found


def changes_of(records: Iterable[LogRecord]) -> list[Change | Truncation]:
    """Decode records as the flows do."""
    decode = debezium(StreamRules("any"))
    return [change for record in records for change in decode(record)]


def live_rows(records: Iterable[LogRecord]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows that live after all records, by table and key. What the source did not send stays as it was."""
    truncated: dict[str, tuple[int, ...]] = {}
    newest: dict[tuple[str, str], tuple[tuple[int, ...], dict[str, Any] | None]] = {}
    changes = changes_of(records)
    for change in changes:
        if isinstance(change, Truncation):
            truncated[change.table] = max(change.position, truncated.get(change.table, ()))
    for change in changes:
        if isinstance(change, Truncation) or change.position < truncated.get(change.table, ()):
            continue
        at, row = newest.get((change.table, change.key), ((), None))
        if change.position >= at:
            kept = {column: (row or {}).get(column) for column in change.unavailable}
            image = None if change.op == "delete" else {**kept, **(change.after or {})}
            newest[change.table, change.key] = (change.position, image)
    return {name: row for name, (_, row) in newest.items() if row is not None}
