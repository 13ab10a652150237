"""profiles: change events of customer systems become one profile per person.

    change events → decode → identity rows → identify → [realm] resolve → profile store
                       │                                      └ journal        ↑
                       ├→ activities → [bucket] order ─────────────────────────┘
                       └→ dead letters

Who is who is a function of the newest rows, whatever came late, twice or in between a crash. The graph lives in its
journal, rows and profiles in the store: the engine keeps of both only up to where they go.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow

from dataflows.barred import Barred
from dataflows.decoding import DecodedBatch, Decoding
from dataflows.module import flow_of
from dataflows.outputs import keep_dead, write_to_store
from events.changes import Change, Truncation
from events.clock import system_clock
from events.erasure import Erased, Erasure
from events.errors import StoreError
from events.log import LogRecord, Mark, control_stream, replay_stream
from events.persons import Links, PersonEvent
from operators.changes.order import DAY, order
from operators.identity.configure import identity_rules, profile_rules, record_rules
from operators.identity.extract import Extractor, rules_digests
from operators.identity.resolve import resolve
from operators.identity.resolver import Resolver
from operators.profiles.logic import Profiler
from stores.journal.sqlite import SqliteJournal, journal_applied
from stores.log.choose import open_log, open_own_log
from stores.log.source import LogSource
from stores.profiles.choose import open_profile_reader, open_profile_writer
from stores.profiles.intake import ProfileIntake
from stores.sections import table_of
from stores.settings import Settings

FLOW = "profiles"
EVENTS = "identity"
"""Stream of the log on which merges and splits are told."""

REMEMBERED = 16
"""Activities that each bucket remembers: what comes twice or late mostly does so soon. The store knows the rest."""


def build(settings: Settings) -> Dataflow:
    """Wire the flow. Opens nothing: sources and stores open on the workers that use them.

    :raises SettingsError: When a column's encoding or a blocked identifier cannot be understood.
    """
    log, own_log = open_log(settings), open_own_log(settings)
    profiles = settings.profiles
    barred = Barred(settings)
    tables = _Tables(settings)
    decoding = Decoding(FLOW, "profiles.tables", profiles, profiles.tables, lambda change: barred.record(change.record))
    rules, records_of = identity_rules(profiles), record_rules(profiles)
    extractor = Extractor(rules, records_of)
    horizon = round(profiles.tombstone_days * DAY)

    @functools.cache
    def applied() -> dict[tuple[str, str], int]:
        return _applied_everywhere(settings)

    @functools.cache
    def known_realms() -> frozenset[str]:
        reader = open_profile_reader(settings)
        realms = frozenset(reader.realms())
        reader.close()
        return realms

    flow = Dataflow(FLOW)
    source = LogSource(
        log,
        [*(stream.name for stream in profiles.streams), replay_stream(FLOW), control_stream(FLOW)],
        batch_size=profiles.batch_size,
        tail=settings.mode == "live",
        heartbeat_seconds=profiles.heartbeat_seconds,
        clock=system_clock,
        start=lambda stream, partition: applied().get((stream, str(partition))),
        on_expired=settings.log.on_expired,
        reader=FLOW,
    )
    records = op.input("log", flow, source)
    decoded = op.flat_map_batch("decode", records, decoding.batches)
    dead = op.flat_map("dead", decoded, lambda batch: batch.dead)

    def identify(batches: list[DecodedBatch]) -> Iterable[Links | Truncation | Erasure | Mark]:
        out: list[Links | Truncation | Erasure | Mark] = []
        for batch in batches:
            for row in batch.rows:
                name = tables.identity(row)
                if name is None or isinstance(row, Erased):
                    continue
                out.append(extractor.links(row, name) if isinstance(row, Change) else row)
            out += (item for item in batch.others if isinstance(item, (Erasure, Mark)))
        return out

    identified = op.flat_map_batch("identify", decoded, identify)

    def open_resolver(realm: str) -> Resolver:
        path = settings.identity_dir / f"{realm}.sqlite3"
        if not path.exists() and realm in known_realms():
            detail = f"the identity journal {path} is missing, though the profile store has records of its realm"
            raise StoreError(detail, f"put it back, or read everything again: {_anew(settings)}")
        journal = SqliteJournal(path, system_clock)
        return Resolver(
            realm,
            rules,
            journal,
            extraction=rules_digests(rules, records_of, realm),
            horizon=horizon,
            is_erased=barred.links,
        )

    resolved = resolve(
        "resolve", identified, realms=profiles.realms, realm_of=tables.realm, open_resolver=open_resolver
    )
    activities = op.flat_map(
        "activities", decoded, lambda batch: [row for row in batch.rows if tables.is_activity(row)]
    )
    ordered = order("order", activities, keep=REMEMBERED, horizon=horizon)
    others = op.flat_map(
        "others", decoded, lambda batch: [item for item in batch.others if isinstance(item, (Erasure, Mark))]
    )

    def report(event: PersonEvent) -> None:
        value = msgspec.json.encode(event)
        own_log.append(EVENTS, [LogRecord(EVENTS, 0, 0, event.cause.event_time, event.person.encode(), value)])

    def open_intake() -> ProfileIntake:
        writer = open_profile_writer(settings, system_clock)
        return ProfileIntake(writer, profiles, system_clock, Profiler(profile_rules(profiles)), report, barred.record)

    arriving: Any = op.merge("arriving", resolved, ordered, others)
    write_to_store(arriving, open_intake)
    keep_dead(dead, settings)
    return flow


class _Tables:
    """What the tables of changes are here, looked up once for each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.profiles.tables
        self._known: dict[tuple[str, str], tuple[str | None, str, bool]] = {}

    def identity(self, row: Change | Truncation | Erased) -> str | None:
        """Return the name of the table whose rows carry identifiers, None for another one."""
        return None if isinstance(row, Erased) else self._of(row)[0]

    def realm(self, truncation: Truncation) -> str:
        """Return the realm of a table whose rows carry identifiers."""
        return self._of(truncation)[1]

    def is_activity(self, row: Change | Truncation | Erased) -> bool:
        """Tell whether a row is an activity, or may be one."""
        return isinstance(row, Erased) or self._of(row)[2]

    def _of(self, row: Change | Truncation) -> tuple[str | None, str, bool]:
        place = row.source, row.table
        if place not in self._known:
            table = table_of(self._settings, *place)
            identifies = table is not None and not table.references
            named = (table.name, table.realm) if table is not None and identifies else (None, "")
            self._known[place] = (*named, table is not None and not identifies)
        return self._known[place]


def _applied_everywhere(settings: Settings) -> dict[tuple[str, str], int]:
    """Return, for each partition, up to where the store and all journals have it; one of them lacking it: the start."""
    reader = open_profile_reader(settings)
    places = [{(mark.source, mark.partition): mark.offset for mark in reader.applied()}]
    reader.close()
    for realm in settings.profiles.realms:
        marks = journal_applied(settings.identity_dir / f"{realm}.sqlite3")
        places.append({(mark.source, mark.partition): mark.offset for mark in marks})
    common = set.intersection(*(set(place) for place in places))
    return {key: min(place[key] for place in places) for key in common}


def _anew(settings: Settings) -> str:
    """Return how everything is removed that the flow has made, but for the log."""
    store = f"the schema of the profiles in {settings.rows.backend}"
    if settings.rows.backend == "sqlite":
        store = f"{settings.profiles_path}*"
    return f"stop the flow, and remove {settings.identity_dir}, {store} and {settings.data_dir / 'recovery' / FLOW}"


__getattr__ = flow_of(build)
