"""Where to go on, or to begin: the slot, the publications and the place looked at together, before anything is drawn.

Invariant: whatever can be missing between the place and what the slot is going to stream is an error with a remedy.
Nothing is passed over.

The order of things at the very first start: the publication is committed, then the slot is made, then its snapshot is
read, then the slot is streamed. A transaction that commits before the slot's consistent point is in the snapshot, and
one that commits at it or later is in the stream, by the server's own word; each is in one of them only.

If that reading breaks off, its snapshot is gone, the slot is not. What has not been read is read of a later snapshot,
at the same position, the consistent point. It then holds some of what the slot is going to stream too, in a state that
came later. That does no harm: the stream's positions are all higher, so that each of its changes wins over each read,
and it brings every change since the consistent point: the insert or update that made the row what was read, and the
delete of one that was read before. A row that the later snapshot has no more was deleted by a transaction that is
streamed. So every row ends as its last transaction left it. The same holds for a slot that was made beforehand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import psycopg
from msgspec.structs import replace

from events.errors import StoreError
from stores.capture.finding import Finding, finding_of
from stores.capture.postgres import checks, publishing
from stores.capture.postgres.catalog import (
    Publication,
    Published,
    Table,
    find_publications,
    find_tables,
    published,
)
from stores.capture.postgres.checks import Slot
from stores.capture.postgres.coverage import find_coverage, has_gap
from stores.capture.postgres.place import PostgresPlace, remedy
from stores.capture.postgres.replication import Identity, Replication, lsn_text
from stores.capture.postgres.session import BusyError, LockedError, LostError, Session, refusal
from stores.capture_settings import PostgresTapSettings

SAY_MILLIS = 1_000
"""How long to wait for a slot without a word."""

# Transactions that have written something, in whatever database: a slot begins when those that are open have ended.
_OLDEST = """
    SELECT said FROM (
        SELECT xact_start AS since, format('a transaction open since %s, of process %s (user %s, %s)',
            date_trunc('second', xact_start), pid, usename, coalesce(nullif(application_name, ''), 'unnamed')) AS said
        FROM pg_stat_activity WHERE backend_xid IS NOT NULL
        UNION ALL
        SELECT prepared, format('the prepared transaction %s of %s', quote_literal(gid), date_trunc('second', prepared))
        FROM pg_prepared_xacts
    ) open_ ORDER BY since LIMIT 1"""

_logger = logging.getLogger(__name__)


class Opened(NamedTuple):
    """What was found, and put in order.

    :arg exported: Name of the snapshot that the slot has exported; empty if there is none.
    :arg begun: Whether the slot is one to begin with: the place is to be told at once.
    :arg truncated: Whether to say first that all rows went.
    :arg added: Tables that have to be read while the stream goes on.
    :arg blocked: Tables that could not be published yet; they are in `added` once they are.
    """

    place: PostgresPlace
    tables: dict[str, Table]
    published: dict[str, Published]
    warnings: Sequence[Finding] = ()
    exported: str = ""
    begun: bool = False
    truncated: bool = False
    added: tuple[Table, ...] = ()
    blocked: tuple[Table, ...] = ()


class Ends(NamedTuple):
    """The two connections to a database: one for statements, one for the slot.

    :arg unwanted: Whether nobody waits for them any more.
    """

    settings: PostgresTapSettings
    session: Session
    replication: Replication
    unwanted: Callable[[], bool]


def open_place(ends: Ends, place: PostgresPlace | None) -> Opened:
    """Look at everything, and make what is ours to make.

    :raises LostError: When the server is away, or something is in the way that goes by itself.
    :raises StoreError: When there is a gap, or something that somebody has to mend.
    """
    settings, session = ends.settings, ends.session
    warnings: list[Finding] = []
    tables = find_tables(settings, session, settings.tables)
    warnings += checks.raise_errors(settings, checks.check_tables(settings, session, tables))
    # Before everything that is found of the publications: what changes meanwhile is seen by the next look.
    coverage = find_coverage(settings, session, tables.values())
    found = find_publications(settings, session)
    warnings += checks.raise_errors(settings, checks.check_publications(settings, session, tables, found))
    slot = checks.find_slot(settings, session)
    if slot is not None and not (place and place.phase == "anew" and slot.lost):
        warnings += checks.raise_errors(settings, checks.check_slot(settings, session, slot))
    if slot is not None and slot.reader:
        raise BusyError(settings, slot.reader)
    if place is None or place.phase == "anew":
        opened = _first(ends, slot, tables, found, anew=place is not None)
        return opened._replace(warnings=warnings)
    if slot is None:
        detail = f"capture {settings.name!r}: the slot {settings.slot_name} is gone, and with it what came next"
        raise StoreError(detail, remedy(settings))
    identity = ends.replication.identify()
    _same_server(ends, place, identity)
    if (gap := find_gap(settings, place, slot, found)) is not None:
        raise gap
    place = replace(place, timeline=identity.timeline)
    changed = {name for name, now in coverage.items() if has_gap(place.coverage.get(name, now), now, followed=False)}
    if changed and place.phase == "snapshot":
        # What was not streamed meanwhile would be older than what was, and read later than it.
        return _first(ends, slot, tables, found, anew=True)._replace(warnings=warnings)
    if place.commit and place.asked and (gone := _gone(settings, session, place.asked.publications)):
        warnings.append(_read_again(gone))
        changed = set(tables)
        place = replace(place, commit=0, index=0, asked=None)
    opened = _again(ends, place, tables, found, changed)
    return opened._replace(warnings=[*warnings, *opened.warnings])


def drop_slot(settings: PostgresTapSettings, session: Session) -> None:
    """Drop the slot.

    :raises StoreError: When somebody streams from it, or it may not be dropped.
    """
    try:
        session.execute("SELECT pg_drop_replication_slot(%s)", (settings.slot_name,))
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None


def _first(
    ends: Ends,
    slot: Slot | None,
    tables: dict[str, Table],
    found: Mapping[str, Publication],
    *,
    anew: bool,
) -> Opened:
    settings, session, replication = ends.settings, ends.session, ends.replication
    identity = replication.identify()
    # A slot that is older than its publication can never be streamed: the server looks the publication up as it was.
    if slot is not None and (anew or not found):
        drop_slot(settings, session)
        slot = None
    found, coverage, blocked = _publish(settings, session, tables, found)
    if blocked:
        raise blocked[0]
    if slot is None:
        start, exported = replication.create_slot(settings.slot_name, _patience(ends))
    else:
        start, exported = slot.confirmed, ""
    place = PostgresPlace(
        phase="snapshot" if settings.snapshot else "stream",
        system=identity.system,
        timeline=identity.timeline,
        slot=settings.slot_name,
        end=start,
        tables={} if settings.snapshot else {name: table.oid for name, table in tables.items()},
        publications={name: publication.oid for name, publication in found.items()},
        coverage=coverage,
    )
    return Opened(place, tables, published(found), exported=exported, begun=True, truncated=anew and settings.snapshot)


def _again(
    ends: Ends,
    place: PostgresPlace,
    tables: dict[str, Table],
    found: Mapping[str, Publication],
    changed: Collection[str],
) -> Opened:
    settings, session = ends.settings, ends.session
    covered = published(found)
    # One that was not published all the time, or was made anew, has a gap: it is as one that was never captured.
    snapshot = settings.snapshot or place.phase == "snapshot"
    whole = {
        name: table.oid
        for name, table in tables.items()
        if not snapshot or (name in covered and name not in changed and place.tables.get(name) == table.oid)
    }
    found, coverage, errors = _publish(settings, session, tables, found)
    if errors and place.phase == "snapshot":
        raise errors[0]
    covered = published(found)
    added = [table for name, table in tables.items() if name not in whole]
    blocked = tuple(table for table in added if table.name not in covered)
    publications = {name: publication.oid for name, publication in found.items()}
    place = replace(place, tables=whole, publications=publications, coverage=coverage)
    opened = Opened(place, tables, covered, [finding_of(error, settings.name, "warning") for error in errors])
    if place.phase != "stream":
        return opened
    return opened._replace(added=tuple(table for table in added if table.name in covered), blocked=blocked)


def _publish(
    settings: PostgresTapSettings, session: Session, tables: Mapping[str, Table], found: Mapping[str, Publication]
) -> tuple[Mapping[str, Publication], dict[str, str], list[LockedError]]:
    """Have the publication of our own cover just the tables: return what is published, and why some are not.

    :raises LostError: When a table has just been taken out by somebody else.
    """
    blocked: list[LockedError] = []
    covered = published(found)
    missing = [table for name, table in tables.items() if name not in covered]
    if not settings.publications:
        if not found:
            publishing.run(settings, session, [publishing.create(settings, missing)])
        elif missing:
            blocked = publishing.widen(settings, session, missing)
        if removed := sorted(covered.keys() - tables.keys()):
            publishing.run(settings, session, [publishing.drop_tables(settings, removed)])
    coverage = find_coverage(settings, session, tables.values())
    found = find_publications(settings, session)
    covered = published(found)
    if len(tables.keys() - covered.keys()) > len(blocked) or coverage.keys() != tables.keys():
        detail = f"capture {settings.name!r}: a table or a publication has just been altered"
        raise LostError(detail, "it is looked at again", soon=True)
    return found, coverage, blocked


def _gone(settings: PostgresTapSettings, session: Session, publications: Sequence[str]) -> list[str]:
    try:
        rows = session.execute("SELECT pubname FROM pg_publication WHERE pubname = ANY(%s)", (list(publications),))
        there = {name for (name,) in rows}
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None
    return [name for name in publications if name not in there]


def _read_again(gone: Sequence[str]) -> Finding:
    detail = f"the publication {gone[0]} is gone, in the midst of a transaction that was given by it"
    return Finding("warning", detail, "all tables are read again")


def _patience(ends: Ends) -> Callable[[int], bool]:
    """Return what is asked while a slot is being made: says once what the server waits for."""
    said = False

    def go_on(waited_millis: int) -> bool:
        nonlocal said
        if not said and waited_millis >= SAY_MILLIS:
            said = True
            settings = ends.settings
            _logger.warning(
                "capture %r: the slot %s waits for the end of %s; capture begins then",
                settings.name,
                settings.slot_name,
                _oldest_transaction(ends),
            )
        return not ends.unwanted()

    return go_on


def _oldest_transaction(ends: Ends) -> str:
    try:
        row = ends.session.execute(_OLDEST).fetchone()
    except psycopg.Error as error:
        raise refusal(ends.settings, error, ends.session) from None
    return str(row[0]) if row else "a transaction"


def _same_server(ends: Ends, place: PostgresPlace, identity: Identity) -> None:
    """Check that the server has the history in which the place is.

    :raises StoreError: When it is another one, or an older state of it.
    """
    settings, session, replication = ends.settings, ends.session, ends.replication
    hint = f"raise `generation` of its stream in [[tables.streams]], then {remedy(settings)}"
    if identity.system != place.system:
        detail = f"capture {settings.name!r}: this is another server than before (system {identity.system})"
        raise StoreError(detail, hint)
    if identity.timeline != place.timeline:
        left = replication.left_timeline_at(place.timeline, identity.timeline)
        if left is None or left < place.end:
            detail = f"capture {settings.name!r}: the server went on from a state before {lsn_text(place.end)}"
            raise StoreError(detail, hint)
    row = session.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    if row is not None and row[0] < place.end:
        detail = f"capture {settings.name!r}: the server is in a state before {lsn_text(place.end)}, from a backup"
        raise StoreError(detail, hint)


def find_gap(
    settings: PostgresTapSettings, place: PostgresPlace, slot: Slot, found: Mapping[str, Publication]
) -> StoreError | None:
    """Return why the slot does not stream what comes behind the place; None if it does."""
    where = f"capture {settings.name!r}"
    if place.slot != settings.slot_name:
        detail = f"{where}: the slot is {settings.slot_name} by now, and was {place.slot}"
        return StoreError(detail, f"name {place.slot} by `slot` again; else {remedy(settings)}")
    if slot.confirmed > place.end:
        detail = (
            f"{where}: the slot {settings.slot_name} begins at {lsn_text(slot.confirmed)}, behind "
            f"{lsn_text(place.end)}: it was made anew, or somebody else has read from it"
        )
        return StoreError(detail, remedy(settings))
    for name, oid in place.publications.items():
        if name in settings.publication_names and (name not in found or found[name].oid != oid):
            detail = f"{where}: the publication {name} is gone, or was made anew: changes since then are not streamed"
            return StoreError(detail, remedy(settings))
    return None
