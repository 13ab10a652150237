"""What a person does with a capture of PostgreSQL: look whether it can run, set it up, see how far it is, end it.

Nothing here runs beside the capture itself: a slot that is streamed is not dropped, and the one who asked is told.
"""

from __future__ import annotations

from contextlib import closing

import msgspec
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composable, Composed, Identifier

from events.errors import StoreError
from stores.capture.finding import Finding, finding_of
from stores.capture.places import Place, Places
from stores.capture.postgres import checks, publishing
from stores.capture.postgres.catalog import find_publications, find_tables, published
from stores.capture.postgres.opening import drop_slot, find_gap
from stores.capture.postgres.place import ANEW, read_place, remedy
from stores.capture.postgres.publishing import Said
from stores.capture.postgres.replication import Replication
from stores.capture.postgres.session import BusyError, LostError, Session, connect, current_lsn
from stores.capture_settings import PostgresTapSettings

_LOOKS = 40


class Standing(msgspec.Struct, frozen=True):
    """How far a capture is, as the server sees it.

    :arg behind: Bytes of WAL between the place and the newest; None where nothing has been captured.
    :arg held: Bytes of WAL that the slot holds back on the server's disk.
    :arg confirmed: LSN before which the server may forget; 0 without a slot.
    :arg active: Whether somebody streams the slot at this moment.
    :arg gap: Why the slot does not have what comes behind the place; empty if it has.
    """

    behind: int | None
    held: int
    confirmed: int
    active: bool
    gap: str = ""


def find_faults(settings: PostgresTapSettings, place: Place | None) -> list[Finding]:
    """Look at everything that a run of the capture needs, and change nothing."""
    try:
        with closing(connect(settings)) as session:
            found = list(checks.check_server(settings, session))
            if any(finding.level == "error" for finding in found):
                return found
            tables = find_tables(settings, session, settings.tables)
            publications = find_publications(settings, session)
            slot = checks.find_slot(settings, session)
            found += checks.check_tables(settings, session, tables)
            found += checks.check_publications(settings, session, tables, publications)
            found += checks.check_room(settings, session, slot)
            known = read_place(settings, None if place is None else place.place)
            if slot is not None:
                found += checks.check_slot(settings, session, slot)
                if known is not None and known.phase != "anew":
                    gap = find_gap(settings, known, slot, publications)
                    found += [] if gap is None else [finding_of(gap, settings.name)]
            elif known is not None and known.phase != "anew":
                found.append(Finding("error", _gone(settings), remedy(settings)))
            if not any(finding.level == "error" for finding in found):
                with closing(Replication(settings)) as replication:
                    replication.identify()
            return found
    except StoreError as error:
        return [finding_of(error, settings.name)]


def script(settings: PostgresTapSettings) -> list[str]:
    """Return the statements that a superuser runs for a capture; those that are done already do no harm but fail."""
    given = conninfo_to_dict(settings.dsn)
    user = str(given.get("user") or "headrace")
    tables = [name.split(".", 1) for name in settings.tables]
    statements: list[Composable] = [SQL("ALTER SYSTEM SET wal_level = logical"), checks.grant_replication(user)]
    for schema in dict.fromkeys(schema for schema, _ in tables):
        statements.append(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(schema), Identifier(user)))
    names = SQL(", ").join(Identifier(*name) for name in tables)
    statements.append(SQL("GRANT SELECT ON {} TO {}").format(names, Identifier(user)))
    if not settings.publications:
        only = SQL(", ").join(SQL("ONLY {}").format(Identifier(*name)) for name in tables)
        made = SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)")
        statements.append(made.format(Identifier(settings.publication_names[0]), only))
    statements.append(_new_slot(settings))
    return [statement.as_string(None) for statement in statements]


def set_up(settings: PostgresTapSettings, place: Place | None, said: Said, *, force: bool = False) -> list[Finding]:
    """Make publication and slot where they are missing; return the warnings.

    :arg force: Whether to publish tables as well of which the server then refuses updates and deletes.
    :raises StoreError: When it cannot be, or there would be a gap.
    """
    with closing(connect(settings)) as session:
        warnings = checks.raise_errors(settings, checks.check_server(settings, session))
        tables = find_tables(settings, session, settings.tables)
        warnings += checks.raise_errors(settings, checks.check_tables(settings, session, tables))
        publications = find_publications(settings, session)
        fit = checks.check_publications(settings, session, tables, publications, force=force)
        warnings += checks.raise_errors(settings, fit)
        slot = checks.find_slot(settings, session)
        known = read_place(settings, None if place is None else place.place)
        begun = known is not None and known.phase != "anew"
        if begun and (slot is None or (not publications and not settings.publications)):
            detail = f"capture {settings.name!r}: its slot or publication is gone, and with it what came next"
            raise StoreError(detail, remedy(settings))
        covered = published(publications)
        missing = [table for name, table in tables.items() if name not in covered]
        if missing and not settings.publications:
            if publications:
                for blocked in publishing.widen(settings, session, missing, said):
                    raise blocked
            else:
                if slot is not None:  # older than its publication, it could never be streamed
                    said(f"SELECT pg_drop_replication_slot('{settings.slot_name}')")
                    drop_slot(settings, session)
                    slot = None
                publishing.run(settings, session, [publishing.create(settings, missing)], said)
        if slot is None:
            warnings += checks.raise_errors(settings, checks.check_room(settings, session, slot))
            publishing.run(settings, session, [_new_slot(settings)], said)
        else:
            warnings += checks.raise_errors(settings, checks.check_slot(settings, session, slot))
        return warnings


def reset(settings: PostgresTapSettings, places: Places, place: Place, said: Said) -> None:
    """Drop the slot, and have the next run read everything anew; what was deleted meanwhile goes by a truncation.

    :raises StoreError: When the server is not there, or the capture runs.
    """
    with closing(connect(settings)) as session:
        _free(settings, session)
        # First the place: without a slot, the old one would be a gap.
        places.write({settings.name: _forgotten(place)})
        _drop_slot(settings, session, said)


def remove(settings: PostgresTapSettings, places: Places, place: Place | None, said: Said) -> bool:
    """Drop slot and own publication: tell whether there was anything to end.

    A capture that is set up again reads everything anew.

    :raises StoreError: When the server is not there, or the capture runs.
    """
    with closing(_reach(settings)) as session:
        _free(settings, session)
        slot = checks.find_slot(settings, session)
        if place is not None:
            # Not forgotten: rows that are deleted until it is captured again would never go.
            places.write({settings.name: _forgotten(place)})
        _drop_slot(settings, session, said)
        ours = not settings.publications and bool(find_publications(settings, session))
        if ours:
            publishing.run(settings, session, [publishing.drop(settings)], said)
    known = place is not None and place.place != ANEW
    return known or slot is not None or ours


def forget(settings: PostgresTapSettings, places: Places, place: Place | None) -> list[str]:
    """Forget the place of a capture whose server is gone: return what is still to be run there, should it come back."""
    if place is not None:
        places.write({settings.name: _forgotten(place)})
    left = [SQL("SELECT pg_drop_replication_slot({})").format(settings.slot_name)]
    if not settings.publications:
        left.append(publishing.drop(settings))
    return [statement.as_string(None) for statement in left]


def standing(settings: PostgresTapSettings, place: Place | None) -> Standing:
    """Ask the server how far the capture is.

    :raises StoreError: When it is not there.
    """
    with closing(connect(settings)) as session:
        slot = checks.find_slot(settings, session)
        newest = current_lsn(settings, session)
        publications = find_publications(settings, session)
    known = read_place(settings, None if place is None else place.place)
    begun = known is not None and known.phase != "anew"
    behind = max(0, newest - known.end) if known is not None and begun else None
    if slot is None:
        gap = _gone(settings) if begun else ""
        return Standing(behind, 0, 0, active=False, gap=f"{gap} ({remedy(settings)})" if gap else "")
    gap = ""
    if slot.lost:
        gap = f"the slot {settings.slot_name} no longer has what comes next: {slot.lost} ({remedy(settings)})"
    elif known is not None and begun and (why := find_gap(settings, known, slot, publications)) is not None:
        gap = str(why).removeprefix(f"capture {settings.name!r}: ")
    return Standing(behind, slot.held, slot.confirmed, active=bool(slot.reader), gap=gap)


def _reach(settings: PostgresTapSettings) -> Session:
    try:
        return connect(settings)
    except LostError as lost:
        hint = f"{lost.hint}; if it is gone for good: `headrace capture drop {settings.name} --forget`"
        raise LostError(lost.detail, hint) from None


def _gone(settings: PostgresTapSettings) -> str:
    return f"the slot {settings.slot_name} is gone, and with it what came next"


def _forgotten(place: Place) -> Place:
    """Return the place with which all is read anew. As of when what is served was whole, says nothing any more."""
    return Place(ANEW, None, caught_up=False, at=place.at, records=place.records)


def _free(settings: PostgresTapSettings, session: Session) -> None:
    """Check that the slot is ours and nobody streams it. One who has just been stopped is gone in a moment."""
    slot = checks.find_slot(settings, session)
    for _ in range(_LOOKS):
        if slot is None or not slot.reader:
            break
        session.execute("SELECT pg_sleep(0.05)")
        slot = checks.find_slot(settings, session)
    if slot is not None and slot.reader:
        raise BusyError(settings, slot.reader)
    if slot is not None:
        ours = msgspec.structs.replace(slot, lost="")
        checks.raise_errors(settings, checks.check_slot(settings, session, ours))


def _drop_slot(settings: PostgresTapSettings, session: Session, said: Said) -> None:
    if checks.find_slot(settings, session) is None:
        return
    said(f"SELECT pg_drop_replication_slot('{settings.slot_name}')")
    drop_slot(settings, session)


def _new_slot(settings: PostgresTapSettings) -> Composed:
    return SQL("SELECT pg_create_logical_replication_slot({}, 'pgoutput')").format(settings.slot_name)
