"""Snapshots of a store in PostgreSQL: each is one read-only transaction in a session of its own.

They wait neither for each other nor for the writer, but there are only so many sessions at once. A session that has
been lost is replaced. A store that has not been made is empty; a server that cannot be reached is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.pq import TransactionStatus
from typing_extensions import override

from events.errors import StoreError
from stores.pool import Pool
from stores.rows.postgres_image import json_of, whole
from stores.rows.postgres_session import ROW_STORE, Purpose, Session, connect, failure

T = TypeVar("T")

_MOST, _SPARE = 16, 8
_WAIT_SECONDS = 10.0
_CUT_SECONDS = 30
"""How long a cut may rest between two reads: as long as it is open, the server keeps what its writers have replaced."""
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# It is the first query that takes the snapshot. A read that fails goes back to the savepoint, where nothing is lost.
_BEGIN_CUT = f"""{BEGIN}; SET LOCAL idle_in_transaction_session_timeout = '{_CUT_SECONDS}s'; SELECT 1; SAVEPOINT look"""


class PostgresSnapshots:
    """Gives snapshots of the database that `dsn` names.

    :arg purpose: What they are for, in the words of errors.
    """

    def __init__(self, dsn: str, purpose: Purpose = ROW_STORE) -> None:
        self._dsn = dsn
        self._purpose = purpose
        self._pool = Pool(
            "PostgreSQL", self._open, _rest, _close, most=_MOST, spare=_SPARE, seconds=_WAIT_SECONDS
        )  # fmt: skip

    def read(self, run: Callable[[Session], T], empty: T) -> T:
        """Return what `run` finds in the newest commit, `empty` where there is no store or table (yet)."""

        def once(fresh: bool) -> T:
            with self._pool.lent(fresh=fresh) as db, _told(db):
                db.execute(BEGIN)
                try:
                    return run(db)
                except psycopg.errors.UndefinedTable:
                    return empty

        try:
            return once(fresh=False)
        except _LostError:
            # Since the last call: PostgreSQL was restarted, or closes idle sessions.
            return once(fresh=True)

    @contextmanager
    def cut(self) -> Iterator[PostgresCut]:
        """Hold on to the newest commit for the block."""
        with ExitStack() as lent:
            try:
                cut = PostgresCut(self._begun(lent, fresh=False))
            except _LostError:
                lent.close()
                cut = PostgresCut(self._begun(lent, fresh=True))
            try:
                yield cut
            finally:
                cut.close()

    def close(self) -> None:
        """Let go of all sessions."""
        self._pool.clear()

    def _begun(self, lent: ExitStack, *, fresh: bool) -> Session:
        db = lent.enter_context(self._pool.lent(fresh=fresh))
        with _told(db):
            db.execute(_BEGIN_CUT)
        return db

    def _open(self) -> Session:
        db = connect(self._dsn, self._purpose)
        # A setting that the tokens of statements depend on.
        db.execute("SET standard_conforming_strings = on")
        db.adapters.register_loader("numeric", _Number)
        db.adapters.register_loader("jsonb", _Json)
        return db


class PostgresCut:
    """A snapshot that several reads look at, for one thread. The server ends it when it rests for too long."""

    def __init__(self, db: Session) -> None:
        self._db = db
        self._closed = False

    def read(self, run: Callable[[Session], T], empty: T) -> T:
        """Return what `run` finds, `empty` where there was no store or table (yet).

        :raises StoreError: When the cut has been closed, or the server has ended it.
        """
        if self._closed:
            self._raise("it has been closed")
        try:
            with _told(self._db):
                try:
                    return run(self._db)
                except psycopg.errors.UndefinedTable:
                    return empty
                finally:
                    if self._db.info.transaction_status == TransactionStatus.INERROR:
                        self._db.execute("ROLLBACK TO look")
        except _LostError:
            self._raise(f"the connection is lost, or it rested for more than {_CUT_SECONDS} s")

    @contextmanager
    def cut(self) -> Iterator[PostgresCut]:
        """Give the same snapshot: there is no other one to be seen from here."""
        yield self

    def close(self) -> None:
        """Let go of the snapshot."""
        self._closed = True

    def _raise(self, reason: str) -> NoReturn:
        detail = f"this cut of the store in PostgreSQL cannot be read any more: {reason}"
        raise StoreError(detail, "begin another one") from None


class _LostError(StoreError):
    """The session has been lost."""


@contextmanager
def _told(db: Session) -> Iterator[None]:
    """Tell an error of PostgreSQL as a StoreError."""
    try:
        yield
    except psycopg.Error as error:
        told = failure(error, db)
        raise (_LostError(told.detail, told.hint) if db.closed else told) from None


def _rest(db: Session) -> bool:
    if not db.closed and db.info.transaction_status != TransactionStatus.IDLE:
        with suppress(psycopg.Error):
            db.execute("ROLLBACK")
    return not db.closed and db.info.transaction_status == TransactionStatus.IDLE


def _close(db: Session) -> None:
    db.close()


class _Number(Loader):
    """Reads `numeric`: whole numbers as int, others as Decimal."""

    @override
    def load(self, data: Buffer) -> int | Decimal:
        text = bytes(data).decode()
        return whole(text) if text.lstrip("-").isdecimal() else Decimal(text)


class _Json(Loader):
    """Reads `jsonb`, with its numbers to the last digit."""

    @override
    def load(self, data: Buffer) -> Any:
        return json_of(bytes(data).decode())
