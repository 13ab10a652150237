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

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psycopg
from msgspec.structs import replace

from events.errors import StoreError
from stores.capture.postgres import checks, publishing
from stores.capture.postgres.catalog import Publication, Published, Table, find_publications, find_tables, published
from stores.capture.postgres.checks import Finding, Slot
from stores.capture.postgres.place import PostgresPlace, remedy
from stores.capture.postgres.replication import Identity, Replication, lsn_text
from stores.capture.postgres.session import BusyError, Session, refusal
from stores.capture_settings import PostgresTapSettings


class Opened(NamedTuple):
    """What was found, and put in order.

    :arg exported: Name of the snapshot that the slot has exported; empty if there is none.
    :arg begun: Whether the slot is one to begin with: the place is to be told at once.
    :arg truncated: Whether to say first that all rows went.
    :arg added: Tables that have to be read while the stream goes on.
    """

    place: PostgresPlace
    tables: dict[str, Table]
    published: dict[str, Published]
    warnings: Sequence[Finding] = ()
    exported: str = ""
    begun: bool = False
    truncated: bool = False
    added: tuple[Table, ...] = ()


class Ends(NamedTuple):
    """The two connections to a database: one for statements, one for the slot."""

    settings: PostgresTapSettings
    session: Session
    replication: Replication


def open_place(ends: Ends, place: PostgresPlace | None) -> Opened:
    """Look at everything, and make what is ours to make.

    :raises LostError: When the server is away, or something is in the way that goes by itself.
    :raises StoreError: When there is a gap, or something that somebody has to mend.
    """
    settings, session, _ = ends
    warnings: list[Finding] = []
    tables = find_tables(settings, session, settings.tables)
    warnings += checks.raise_errors(settings, checks.check_tables(settings, session, tables))
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
    _no_gap(settings, place, slot, found)
    place = replace(place, timeline=identity.timeline)
    return _again(ends, place, tables, found)._replace(warnings=warnings)


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
    settings, session, replication = ends
    identity = replication.identify()
    # A slot that is older than its publication can never be streamed: the server looks the publication up as it was.
    if slot is not None and (anew or not found):
        drop_slot(settings, session)
        slot = None
    found = _publish(settings, session, tables, found)
    if slot is None:
        start, exported = replication.create_slot(settings.slot_name)
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
    )
    return Opened(place, tables, published(found), exported=exported, begun=True, truncated=anew and settings.snapshot)


def _again(
    ends: Ends,
    place: PostgresPlace,
    tables: dict[str, Table],
    found: Mapping[str, Publication],
) -> Opened:
    settings, session, _ = ends
    covered = published(found)
    # One that was no longer published, or was made anew, has a gap: it is as one that was never captured.
    snapshot = settings.snapshot or place.phase == "snapshot"
    whole = {
        name: table.oid
        for name, table in tables.items()
        if not snapshot or (name in covered and place.tables.get(name) == table.oid)
    }
    added = tuple(table for name, table in tables.items() if name not in whole)
    found = _publish(settings, session, tables, found)
    publications = {name: publication.oid for name, publication in found.items()}
    place = replace(place, tables=whole, publications=publications)
    return Opened(place, tables, published(found), added=added if place.phase == "stream" else ())


def _publish(
    settings: PostgresTapSettings, session: Session, tables: Mapping[str, Table], found: Mapping[str, Publication]
) -> Mapping[str, Publication]:
    """Have the publication of our own cover just the tables."""
    if settings.publications:
        return found
    covered = published(found)
    missing = [table for name, table in tables.items() if name not in covered]
    if not found:
        publishing.run(settings, session, [publishing.create(settings, missing)])
    elif missing:
        publishing.run(settings, session, publishing.add(settings, missing))
    if removed := sorted(covered.keys() - tables.keys()):
        publishing.run(settings, session, [publishing.drop_tables(settings, removed)])
    return find_publications(settings, session) if missing or removed else found


def _same_server(ends: Ends, place: PostgresPlace, identity: Identity) -> None:
    """Check that the server has the history in which the place is.

    :raises StoreError: When it is another one, or an older state of it.
    """
    settings, session, replication = ends
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


def _no_gap(settings: PostgresTapSettings, place: PostgresPlace, slot: Slot, found: Mapping[str, Publication]) -> None:
    """Check that the slot still streams what comes behind the place.

    :raises StoreError: When it does not.
    """
    where = f"capture {settings.name!r}"
    if place.slot != settings.slot_name:
        detail = f"{where}: the slot is {settings.slot_name} by now, and was {place.slot}"
        raise StoreError(detail, f"name {place.slot} by `slot` again; else {remedy(settings)}")
    if slot.confirmed > place.end:
        detail = (
            f"{where}: the slot {settings.slot_name} begins at {lsn_text(slot.confirmed)}, behind "
            f"{lsn_text(place.end)}: it was made anew, or somebody else has read from it"
        )
        raise StoreError(detail, remedy(settings))
    for name, oid in place.publications.items():
        if name in settings.publication_names and (name not in found or found[name].oid != oid):
            detail = f"{where}: the publication {name} is gone, or was made anew: changes since then are not streamed"
            raise StoreError(detail, remedy(settings))
