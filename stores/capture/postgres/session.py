"""Connections to a captured PostgreSQL, and what it refuses, told in one line with a remedy.

No password leaves this module: an error names host, database and user at most, and no error of psycopg goes on as a
cause. What a server says when it is merely away for a while is told apart from what somebody has to mend.
"""

from __future__ import annotations

import os
import re
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from events.errors import StoreError, UnreachableError
from stores.capture.postgres.decoding import SESSION
from stores.capture_settings import PostgresTapSettings

Session = psycopg.Connection[tuple[Any, ...]]

OLDEST = 140_000

# Nothing of the server's or the role's defaults is to end a long read, or a connection that waits for one.
_PATIENT = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "idle_session_timeout": "0"}
_DEFAULTS: dict[str, Any] = {
    "application_name": "headrace",
    # A peer that vanished without a word is noticed within a minute.
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 4,
    "tcp_user_timeout": 60_000,
}

# SQLSTATEs (PostgreSQL's documentation, appendix A) after which trying again can help.
_AWAY = ("08", "57P01", "57P02", "57P03", "53300", "40", "57014", "57P05", "25P03")
_TOO_MANY = "53300"
_NO_MORE_SLOTS = "53400"
_IN_USE = "55006"
_LOCKED = "55P03"
_INTERNAL = "XX"


class LostError(UnreachableError):
    """The server is away, or the connection to it; it may come back.

    :arg soon: Whether it is about to: a server that starts, a slot whose last reader has just gone.
    """

    def __init__(self, detail: str, hint: str = "", *, soon: bool = False) -> None:
        super().__init__(detail, hint)
        self.soon = soon


class BusyError(LostError):
    """Somebody else streams from the slot, as it seems; maybe one that was killed, and is about to be noticed."""

    def __init__(self, settings: PostgresTapSettings, reader: int) -> None:
        by = f"process {reader} of the server" if reader else "another process"
        end = f"SELECT pg_terminate_backend({reader})" if reader else "end its connection"
        detail = f"capture {settings.name!r}: {by} streams from the slot {settings.slot_name}"
        super().__init__(detail, f"stop the other capture; if there is none: {end}", soon=True)


class LockedError(LostError):
    """Somebody holds a lock that is wanted, or wants one that is held, for longer than is waited."""


class StumbledError(LostError):
    """The server could not decode its own WAL; it may with the next try, which reads its catalog anew."""


def connect(settings: PostgresTapSettings, seconds: int = 10) -> Session:
    """Return a session in which each statement is a commit unless a transaction is begun.

    :arg seconds: How long to wait for a host that says nothing, unless the settings say it.

    :raises LostError: When the server cannot be reached.
    :raises StoreError: When it refuses, or the settings cannot be used.
    """
    try:
        session: Session = psycopg.connect(conninfo(settings, seconds), autocommit=True)
    except psycopg.Error as error:
        raise unreachable(settings, str(error)) from None
    session.prepare_threshold = None  # tables change under a prepared statement's feet
    return session


def current_lsn(settings: PostgresTapSettings, session: Session) -> int:
    """Return the LSN up to which the server's WAL is safe on its disk.

    :raises LostError: When the server is away.
    """
    try:
        row = session.execute("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint").fetchone()
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None
    return int(row[0]) if row else 0


def conninfo(settings: PostgresTapSettings, seconds: int = 10, **more: str) -> str:
    """Return the connection string, with the password.

    :raises StoreError: When it cannot be read, or the password's variable is not set.
    """
    try:
        given = conninfo_to_dict(settings.dsn)
    except psycopg.Error:
        detail = f"capture {settings.name!r}: its dsn cannot be read"
        raise StoreError(detail, "write it like `host=db user=headrace dbname=shop`") from None
    if name := settings.password_variable:
        if name not in os.environ:
            detail = f"capture {settings.name!r}: the variable {name} is not set"
            raise StoreError(detail, "put the password into it, or name another one by password_variable")
        given["password"] = os.environ[name]
    texts = {name: value for name, value in SESSION.items() if name != "client_encoding"}
    spaced = {name: value.replace(" ", "\\ ") for name, value in {**texts, **_PATIENT}.items()}
    options = " ".join(f"-c {name}={value}" for name, value in spaced.items())
    given["options"] = f"{given['options']} {options}" if given.get("options") else options
    return make_conninfo(
        "", **{**_DEFAULTS, "connect_timeout": seconds, **given, "client_encoding": SESSION["client_encoding"], **more}
    )


def unreachable(settings: PostgresTapSettings, said: str) -> StoreError:
    """Return what to raise when a connection could not be made, by what libpq said of it."""
    reason = _reason(settings, said)
    detail = f"capture {settings.name!r}: PostgreSQL cannot be reached: {reason}"
    # What comes before names host or socket, in whatever words those have.
    words = reason.rpartition(" failed: ")[2]
    if _NOT_UP.search(words):
        return LostError(detail, "wait until it has started", soon=True)
    for pattern, hint in _REFUSED:
        if pattern.search(words):
            return StoreError(detail, hint.format(variable=settings.password_variable or "PGPASSWORD"))
    if "unrecognized configuration parameter" in words:
        return too_old(settings)
    if "max_wal_senders" in words:
        hint = "raise max_wal_senders at the server and restart it, or stop another reader of its WAL"
    elif "too many" in words or "remaining connection slots" in words:
        hint = "end other connections, or raise max_connections"
    else:
        hint = "check host and port in dsn, and whether the server runs and listens there"
    return LostError(detail, hint)


def too_old(settings: PostgresTapSettings) -> StoreError:
    """Return what to raise for a server before version 14."""
    detail = f"capture {settings.name!r}: the server is older than PostgreSQL 14"
    return StoreError(detail, "upgrade it, or let Debezium read it into the log")


_NOT_UP = re.compile("the database system is (?:starting up|shutting down|in recovery mode|not (?:yet )?accepting)")
_REFUSED = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        ("password authentication failed", "put the right password into the variable {variable}, or into ~/.pgpass"),
        ("no password supplied", "name the variable that holds the password by password_variable, or use ~/.pgpass"),
        ("no pg_hba.conf entry", "let pg_hba.conf admit this user, from here, to this database"),
        ("must be superuser or replication role", "give the user the right: ALTER ROLE … REPLICATION"),
        ("permission denied to start WAL sender", "give the user the right: ALTER ROLE … REPLICATION"),
        ('role ".*" (?:does not exist|is not permitted)', "correct `user` in dsn, or create the role"),
        ('database ".*" (?:does not exist|is not)', "correct `dbname` in dsn, or create the database"),
    )
)
"""Words of the server's refusals that last until somebody does something. What is not among them is tried again."""


def refusal(settings: PostgresTapSettings, error: psycopg.Error, session: Session | None) -> StoreError:
    """Return what to raise for a statement that failed."""
    reason = " ".join((error.diag.message_primary or str(error)).split())
    return _refusal(settings, error.sqlstate or "", reason, lost=session is None or session.closed)


def refused_result(settings: PostgresTapSettings, connection: pq.abc.PGconn, result: Any) -> StoreError:
    """Return what to raise for a replication command that failed."""
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    said = (primary or connection.error_message or b"the connection was closed").decode(errors="replace")
    lost = connection.status != pq.ConnStatus.OK or not state
    return _refusal(settings, state, " ".join(said.split()), lost=lost)


def _refusal(settings: PostgresTapSettings, state: str, reason: str, *, lost: bool) -> StoreError:
    detail = f"capture {settings.name!r}: PostgreSQL refused: {reason}"
    if state == _NO_MORE_SLOTS:
        return StoreError(detail, "drop a slot that nobody uses, or raise max_replication_slots and restart the server")
    if state == _IN_USE:
        return BusyError(settings, int(next(iter(re.findall(r"PID (\d+)", reason)), 0)))
    if state.startswith(_INTERNAL):
        hint = f"look at the server's log; if it stays so, `headrace capture reset {settings.name}` reads all anew"
        return StumbledError(detail, hint)
    if state in _PASSING:
        kind, hint = _PASSING[state]
        return kind(detail, hint)
    if lost or state.startswith(_AWAY):
        detail = f"capture {settings.name!r}: the connection to PostgreSQL is lost: {reason}"
        return LostError(detail, "see whether the server runs; the capture goes on where it was")
    return StoreError(detail, f"`headrace capture check {settings.name}` says what is missing")


_PASSING = {
    _TOO_MANY: (LostError, "raise max_wal_senders at the server, or stop another reader of its WAL"),
    _LOCKED: (LockedError, "end the transaction that holds the table, pg_locks shows it; it is tried again"),
}
"""What to raise for refusals that pass, by SQLSTATE, with the remedy."""


def _reason(settings: PostgresTapSettings, said: str) -> str:
    """Return why a connection failed, in one line without the password."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = lines[0] if lines else "no reason given"
    reason = reason.removeprefix("connection failed: ").replace("FATAL:  ", "")
    password = os.environ.get(settings.password_variable, "") if settings.password_variable else ""
    return reason.replace(password, "…") if password else reason
