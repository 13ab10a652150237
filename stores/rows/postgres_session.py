"""Sessions with PostgreSQL, and its errors told without the connection string.

What psycopg says may hold the host, the user, and pieces of a connection string that it could not read, a password
among them. So no error of psycopg leaves these modules, not even as a cause: only PostgreSQL's reason does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from events.errors import StoreError, UnreachableError

Session = psycopg.Connection[tuple[Any, ...]]


class Purpose(NamedTuple):
    """What a session is for, in the words of errors.

    :arg store: What is kept there.
    :arg variable: Where the connection string comes from.
    """

    store: str
    variable: str


ROW_STORE = Purpose("the row store", "HEADRACE_ROWS__DSN")

_DEFAULTS: dict[str, Any] = {
    "application_name": "headrace",
    "connect_timeout": 10,
    # A peer that vanished without a word is noticed within a minute, and a dead writer's lock let go.
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 4,
}
_OLDEST = 140000
_LASTING = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied",
    "certificate",
    "does not support SSL",
)
"""Words of refusals that last until somebody does something."""


def connect(dsn: str, purpose: Purpose = ROW_STORE) -> Session:
    """Return a session in which each statement is a commit unless a transaction is begun.

    :raises StoreError: When there is no such server, or it is too old or cannot hold all texts.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error:
        detail = f"the connection string of {purpose.store} cannot be read"
        raise StoreError(
            detail, f"set {purpose.variable} to something like postgresql://user:password@host/database"
        ) from None
    try:
        session: Session = psycopg.connect(**{**_DEFAULTS, **given}, autocommit=True)
    except psycopg.Error as error:
        detail = f"PostgreSQL cannot be reached: {_reason(error, given)}"
        lasting = any(words in str(error) for words in _LASTING)
        raise (StoreError if lasting else UnreachableError)(
            detail, f"check the server and {purpose.variable}"
        ) from None
    except ValueError:  # such as a NUL
        detail = f"the connection string of {purpose.store} cannot be used"
        raise StoreError(detail, f"correct {purpose.variable}") from None
    encoding = session.info.parameter_status("server_encoding")
    if session.info.server_version < _OLDEST or encoding != "UTF8":
        session.close()
        detail = f"{purpose.store} needs PostgreSQL 14 or later and a database in UTF8, not {encoding}"
        raise StoreError(detail, "make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0")
    session.prepare_threshold = None  # views change under a prepared statement's feet
    return session


@contextmanager
def told(session: Session, hint: str = "") -> Iterator[None]:
    """Tell an error of PostgreSQL as a StoreError."""
    try:
        yield
    except psycopg.Error as error:
        raise failure(error, session, hint) from None


def failure(error: psycopg.Error, session: Session | None, hint: str = "") -> StoreError:
    """Return what to raise for an error of PostgreSQL."""
    if session is None or session.closed:
        return UnreachableError("the connection to PostgreSQL is lost", "start the flow again: it goes on where it was")
    return StoreError(f"PostgreSQL refused: {reason_of(error)}", hint)


def reason_of(error: psycopg.Error) -> str:
    """Return the server's reason in one line."""
    return " ".join((error.diag.message_primary or str(error)).split())


def _reason(error: psycopg.Error, given: dict[str, Any]) -> str:
    """Return why a connection failed, without where to and who."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = lines[0].rpartition("failed: ")[2].strip() if lines else "no reason given"
    for value in sorted({str(value) for value in given.values() if value}, key=len, reverse=True):
        reason = reason.replace(value, "…")
    return reason
