"""What can be wrong with a database that is to be captured, each with what to do about it.

An error stops the capture before anything is read; a warning is of what will hurt somebody later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Composable, Identifier

from events.errors import StoreError
from stores.capture.finding import Finding
from stores.capture.postgres.catalog import Publication, Table, published
from stores.capture.postgres.session import OLDEST, Session, refusal
from stores.capture_settings import PostgresTapSettings

MUCH_WAL = 2**30
"""Bytes of WAL that a slot holds back, above which somebody should know."""


class Slot(msgspec.Struct, frozen=True):
    """A replication slot, as the server shows it.

    :arg confirmed: LSN from which on it streams commits; 0 for a slot that is no logical one.
    :arg reader: Process of the server that streams from it; 0 for none.
    :arg lost: Why it no longer has what comes next; empty if it has.
    :arg held: Bytes of WAL that it holds back.
    """

    plugin: str
    database: str
    confirmed: int
    reader: int
    lost: str
    held: int


def check_server(settings: PostgresTapSettings, session: Session) -> Iterator[Finding]:
    """Look at the server, and at what the user may do there."""
    if session.info.server_version < OLDEST:
        yield Finding(
            "error", "the server is older than PostgreSQL 14", "upgrade it, or let Debezium read it into the log"
        )
        return
    standby, level, encoding, user, may_replicate = _row(
        settings,
        session,
        """SELECT pg_is_in_recovery(), current_setting('wal_level'), current_setting('server_encoding'),
        current_user::text,
        EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND (r.rolreplication OR r.rolsuper))
        OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'rds_replication' AND pg_has_role(r.oid, 'USAGE'))""",
    )
    if standby:
        yield Finding("error", "the server is a standby", "name the primary in dsn")
    if level != "logical":
        hint = (
            "ALTER SYSTEM SET wal_level = logical; then restart the server (managed ones: rds.logical_replication = 1)"
        )
        yield Finding("error", f"the server's wal_level is {level}, not logical", hint)
    if not may_replicate:
        yield Finding(
            "error", f"the user {user} may not replicate", f"{_text(grant_replication(user), session)} as a superuser"
        )
    if encoding == "SQL_ASCII":
        yield Finding("error", "the database has no encoding (SQL_ASCII)", "capture one in UTF8")


def check_room(settings: PostgresTapSettings, session: Session, slot: Slot | None) -> Iterator[Finding]:
    """Look whether the server has room for one more slot and reader."""
    slots, most_slots, senders, most_senders = _row(
        settings,
        session,
        """SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int,
        (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::int""",
    )
    if slot is None and slots >= most_slots:
        hint = "drop one that nobody uses, or raise max_replication_slots and restart the server"
        yield Finding("error", f"all {most_slots} replication slots of the server are in use", hint)
    if senders >= most_senders and not (slot and slot.reader):
        hint = "stop another reader, or raise max_wal_senders and restart the server"
        yield Finding("error", f"all {most_senders} readers of WAL that the server admits are there", hint)


def check_tables(settings: PostgresTapSettings, session: Session, tables: Mapping[str, Table]) -> Iterator[Finding]:
    """Look at the tables: whether they are there, can be captured, and may be read."""
    user = session.info.user
    for name in settings.tables:
        table = tables.get(name)
        if table is None:
            hint = "correct `tables`, or create it; names are written as in the catalog, mostly in lower case"
            yield Finding("error", f"there is no table {name}", hint)
        elif table.kind not in ("r", "p"):
            yield Finding("error", f"{name} is no table", "name the tables that it is made of")
        elif not table.permanent:
            hint = f"{_text(SQL('ALTER TABLE {} SET LOGGED').format(of(table)), session)}, unless it is temporary"
            yield Finding("error", f"changes of {name} are not in the WAL: it is unlogged or temporary", hint)
        elif settings.snapshot and not (table.reachable and table.readable):
            grants = "; ".join(_text(grant, session) for grant in grants_of(table, user))
            yield Finding("error", f"the user {user} may not read {name}", grants)


def check_publications(
    settings: PostgresTapSettings,
    session: Session,
    tables: Mapping[str, Table],
    found: Mapping[str, Publication],
    *,
    force: bool = False,
) -> Iterator[Finding]:
    """Look whether the publications cover the tables, or can be made to, and what that does to who writes to them.

    :arg force: Whether tables may be published of which the server then refuses updates and deletes.
    """
    own = not settings.publications
    for name in settings.publication_names:
        publication = found.get(name)
        if publication is None and not own:
            yield Finding(
                "error", f"there is no publication {name}", "create it, or leave `publications` out for one of our own"
            )
        elif publication is not None and publication.lacking:
            detail = f"the publication {name} does not publish: {', '.join(publication.lacking)}"
            yield Finding("warning", detail, "such changes are never seen; ALTER PUBLICATION … SET (publish = …)")
    covered = published(found)
    missing = [table for name, table in tables.items() if name not in covered]
    if missing and not own:
        names = ", ".join(table.name for table in missing)
        first = settings.publication_names[0]
        add = _text(SQL("ALTER PUBLICATION {} ADD TABLE {}").format(Identifier(first), _list(missing)), session)
        hint = f"{add}; partitioned tables need publish_via_partition_root"
        yield Finding("error", f"the publications do not cover {names}", hint)
    elif found and own:
        yield from _check_own(settings, session, missing, found, sorted(covered.keys() - tables.keys()))
    elif missing and not all(table.owned for table in missing):
        foreign = ", ".join(table.name for table in missing if not table.owned)
        hint = f"let their owner run what `headrace capture setup {settings.name} --print` prints"
        yield Finding("error", f"only the owner of {foreign} can publish them", hint)
    elif own and not found and not _may_create(settings, session):
        grant = SQL("GRANT CREATE ON DATABASE {} TO {}").format(
            Identifier(session.info.dbname), Identifier(session.info.user)
        )
        yield Finding("error", "the user may not create a publication", _text(grant, session))
    for table in tables.values():
        yield from _check_identity(settings, table, found, force=force)


def _check_own(
    settings: PostgresTapSettings,
    session: Session,
    missing: list[Table],
    found: Mapping[str, Publication],
    surplus: list[str],
) -> Iterator[Finding]:
    """Look whether the user may make our own publication cover just the tables of the settings."""
    (name,) = settings.publication_names
    altered = SQL("ALTER PUBLICATION {} {} TABLE {}")
    if missing and not (found[name].owned and all(table.owned for table in missing)):
        only = SQL(", ").join(SQL("ONLY {}").format(of(table)) for table in missing)
        hint = _text(altered.format(Identifier(name), SQL("ADD"), only), session)
        detail = (
            f"the publication {name} does not cover {', '.join(table.name for table in missing)}, and is not the user's"
        )
        if found[name].owned:
            detail = (
                f"only the owner of {', '.join(table.name for table in missing if not table.owned)} can publish them"
            )
        yield Finding("error", detail, f"let the owner run: {hint}")
    if surplus and not found[name].owned:
        tables = SQL(", ").join(Identifier(*table.split(".", 1)) for table in surplus)
        hint = _text(altered.format(Identifier(name), SQL("DROP"), tables), session)
        detail = f"the publication {name} covers {', '.join(surplus)} too, and is not the user's"
        yield Finding("error", detail, f"add them to `tables`, or let its owner run: {hint}")


def _check_identity(
    settings: PostgresTapSettings, table: Table, found: Mapping[str, Publication], *, force: bool
) -> Iterator[Finding]:
    """Look whether the server can say which row was updated or deleted: else it refuses to, once that is published."""
    covering = [publication for publication in found.values() if table.name in publication.tables]
    if covering and all({"update", "delete"} <= set(publication.lacking) for publication in covering):
        return
    ours = not covering and not settings.publications
    for nameless in table.nameless:
        hint = f"add a primary key, or: ALTER TABLE {nameless} REPLICA IDENTITY FULL"
        if ours and not force:
            hint += f"; `headrace capture setup {settings.name} --force` publishes it as it is"
        what = "once published," if not covering else "it is published, and so"
        detail = f"{nameless} has no primary key: {what} every UPDATE and DELETE of it fails at the source"
        yield Finding("error" if ours and not force else "warning", detail, hint)


def check_slot(settings: PostgresTapSettings, session: Session, slot: Slot) -> Iterator[Finding]:
    """Look at a slot that is there: whether it is ours, still has what comes next, and how much it holds back."""
    name, remedy = settings.slot_name, f"`headrace capture reset {settings.name}` has everything read again"
    if slot.plugin != "pgoutput" or slot.database != session.info.dbname:
        detail = f"the slot {name} is another one's: {slot.plugin or 'physical'}, database {slot.database or 'none'}"
        yield Finding("error", detail, "name another slot by `slot`")
    elif slot.lost:
        yield Finding("error", f"the slot {name} no longer has what comes next: {slot.lost}", remedy)
    elif slot.held > MUCH_WAL:
        hint = "let the capture run, or drop it; max_slot_wal_keep_size bounds what a slot may hold"
        yield Finding("warning", f"the slot {name} holds {slot.held} bytes of WAL back on the server's disk", hint)


def find_slot(settings: PostgresTapSettings, session: Session) -> Slot | None:
    """Return the slot; None if there is none of its name."""
    reason = "invalidation_reason" if session.info.server_version >= _REASONS else "NULL::text"
    query = f"""SELECT coalesce(plugin, ''), coalesce(database, ''),
        coalesce((confirmed_flush_lsn - '0/0')::bigint, 0), coalesce(active_pid, 0),
        CASE WHEN wal_status = 'lost' OR {reason} IS NOT NULL
        THEN coalesce({reason}, 'the WAL was removed, see max_slot_wal_keep_size') ELSE '' END,
        coalesce((CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
            - restart_lsn)::bigint, 0)
        FROM pg_replication_slots WHERE slot_name = %s"""  # noqa: S608  # the reason's column is one of two
    try:
        row = session.execute(query.encode(), (settings.slot_name,)).fetchone()
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None
    return Slot(*row) if row else None


_REASONS = 170_000
"""Version since which a slot says why it has been invalidated."""


def raise_errors(settings: PostgresTapSettings, findings: Iterator[Finding]) -> list[Finding]:
    """Return the warnings.

    :raises StoreError: For the first error.
    """
    warnings = []
    for finding in findings:
        if finding.level == "error":
            detail = f"capture {settings.name!r}: {finding.detail}"
            raise StoreError(detail, finding.hint)
        warnings.append(finding)
    return warnings


def grants_of(table: Table, user: str) -> list[Composable]:
    """Return the statements after which `user` may read the table."""
    schema, role = Identifier(table.relation.schema), Identifier(user)
    return [
        SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role),
        SQL("GRANT SELECT ON {} TO {}").format(of(table), role),
    ]


def grant_replication(user: str) -> Composable:
    """Return the statement after which `user` may replicate."""
    return SQL("ALTER ROLE {} REPLICATION").format(Identifier(user))


def of(table: Table) -> Identifier:
    """Return the table's name for a statement."""
    return Identifier(table.relation.schema, table.relation.table)


def _list(tables: list[Table]) -> Composable:
    return SQL(", ").join(of(table) for table in tables)


def _text(statement: Composable, session: Session) -> str:
    return statement.as_string(session)


def _may_create(settings: PostgresTapSettings, session: Session) -> bool:
    return bool(_row(settings, session, "SELECT has_database_privilege(current_database(), 'CREATE')")[0])


def _row(settings: PostgresTapSettings, session: Session, query: str) -> tuple[Any, ...]:
    try:
        return session.execute(query.encode()).fetchone() or ()
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None
