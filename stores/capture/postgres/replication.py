"""One replication connection: the commands of the streaming replication protocol, and its COPY in both directions.

libpq's own calls, as psycopg has no more of it (PostgreSQL's documentation: Streaming Replication Protocol, Logical
Streaming Replication Protocol). Nothing here waits longer than it is told, but for the answers to commands.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import pq

from stores.capture.postgres.session import LostError, conninfo, refused_result, unreachable
from stores.capture_settings import PostgresTapSettings

_EPOCH_MILLIS = 946_684_800_000
"""Midnight of 2000-01-01, from which PostgreSQL counts (ms since 1970)."""

_STATUS = struct.Struct(">cqqqqb")
_DATA, _KEEPALIVE = ord("w"), ord("k")
_DATA_HEADER = 25
_LSN = struct.Struct(">q")
_REPLY_AT = 17
_RELATION = ord("R")

BATCH_BYTES = 8_000_000
"""Size of messages after which no more are put together, however few they are."""
_LOOK_MILLIS = 50


class Identity(NamedTuple):
    """Which server this is."""

    system: str
    timeline: int


class NewSlot(NamedTuple):
    """A slot just made: the LSN from which on it streams commits, and the snapshot of all before."""

    start: int
    snapshot: str


class Received(NamedTuple):
    """What has come in.

    :arg changes: Messages of pgoutput.
    :arg relations: Which of them describe a table, by their place in `changes`.
    :arg newest: LSN of the last one; 0 if there is none.
    :arg sent: The server has sent all before this LSN that there was to send; 0 if it did not say so.
    :arg asked: Whether the server wants to hear of us.
    :arg more: Whether there may be more already.
    """

    changes: list[bytes]
    relations: list[int]
    newest: int
    sent: int
    asked: bool
    more: bool


class Replication:
    """A connection in replication mode.

    :raises LostError: When the server cannot be reached.
    :raises StoreError: When it refuses.
    """

    def __init__(self, settings: PostgresTapSettings) -> None:
        self._settings = settings
        self._connection = pq.PGconn.connect(conninfo(settings, replication="database").encode())
        if self._connection.status != pq.ConnStatus.OK:
            said = self._connection.error_message.decode(errors="replace")
            self._connection.finish()
            raise unreachable(settings, said)
        self._connection.notice_handler = None
        self._poll = select.poll()
        self._poll.register(self._connection.socket, select.POLLIN)

    def identify(self) -> Identity:
        """Ask the server which one it is."""
        row = self._row("IDENTIFY_SYSTEM")
        return Identity(row[0], int(row[1]))

    def left_timeline_at(self, timeline: int, current: int) -> int | None:
        """Return the LSN at which the server's history has left `timeline`; None if it has never been on it."""
        for line in self._row(f"TIMELINE_HISTORY {current}")[1].splitlines():
            fields = line.split("\t")
            if len(fields) > 1 and fields[0].strip() == str(timeline):
                return lsn_of(fields[1])
        return None

    def create_slot(self, slot: str, go_on: Callable[[int], bool]) -> NewSlot:
        """Make a slot, and export the snapshot that goes with it until the next command of this connection.

        The server waits for the end of every transaction that has written something, for however long.

        :arg go_on: Asked every now and then, with the time waited so far (ms), whether to wait on.
        """
        waited, wanted = 0, True
        try:
            self._connection.send_query(f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL pgoutput EXPORT_SNAPSHOT'.encode())
            while self._connection.is_busy():
                if not self._poll.poll(_LOOK_MILLIS):
                    waited += _LOOK_MILLIS
                    if wanted and not go_on(waited):
                        wanted = False
                        self._connection.get_cancel().cancel()
                    continue
                self._connection.consume_input()
            result = self._connection.get_result()
            while self._connection.get_result() is not None:
                pass
        except psycopg.Error as error:
            raise self._broken(error) from None
        row = self._row_of(result)
        return NewSlot(lsn_of(row[1]), row[2])

    def start(self, slot: str, start: int, publications: Sequence[str], *, messages: bool) -> None:
        """Begin to stream all transactions whose commits are at `start` or behind it."""
        names = ",".join('"' + name.replace('"', '""') + '"' for name in publications).replace("'", "''")
        options = f"proto_version '1', publication_names '{names}'" + (", messages 'true'" if messages else "")
        command = f'START_REPLICATION SLOT "{slot}" LOGICAL {lsn_text(start)} ({options})'
        result = self._connection.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise refused_result(self._settings, self._connection, result)

    def receive(self, limit: int, wait_millis: int) -> Received:
        """Return what has come in: `limit` messages at most, less if large, or what there is after `wait_millis`.

        :raises LostError: When the connection broke and nothing had come before.
        :raises StoreError: When the server has ended the stream for a reason that lasts.
        """
        changes: list[bytes] = []
        relations: list[int] = []
        newest: memoryview | None = None
        sent, asked, waited, more, left = 0, False, False, True, BATCH_BYTES
        take = self._connection.get_copy_data
        try:
            while len(changes) < limit and left > 0:
                size, view = take(1)
                if size > 0:
                    left -= size
                    kind = view[0]
                    if kind == _DATA:
                        payload = bytes(view[_DATA_HEADER:])
                        if payload[0] == _RELATION:
                            relations.append(len(changes))
                        changes.append(payload)
                        newest, sent = view, 0
                    elif kind == _KEEPALIVE:
                        sent = _lsn_in(view)
                        asked = asked or view[_REPLY_AT] == 1
                elif size < 0:
                    if changes:
                        break  # the next call says so again
                    raise refused_result(self._settings, self._connection, self._connection.get_result())
                else:
                    ready = self._poll.poll(0 if changes or waited else wait_millis)
                    if not ready:
                        more = False
                        break
                    waited = True
                    self._connection.consume_input()
        except psycopg.Error as error:
            if not changes:
                raise self._broken(error) from None
        return Received(changes, relations, 0 if newest is None else _lsn_in(newest), sent, asked, more)

    def tell(self, written: int, confirmed: int, at: int, *, ask: bool = False) -> None:
        """Tell the server how far we are: received up to `written`, safe up to `confirmed`.

        :arg at: The present (ms since epoch).
        :arg ask: Whether the server is to say at once how far it is.
        :raises LostError: When the connection is broken.
        """
        micros = (at - _EPOCH_MILLIS) * 1000
        try:
            self._connection.put_copy_data(_STATUS.pack(b"r", written, confirmed, confirmed, micros, ask))
            self._connection.flush()
        except psycopg.Error as error:
            raise self._broken(error) from None

    def close(self) -> None:
        """End the connection; the server lets go of the slot at once. Closing twice does nothing."""
        self._connection.finish()

    def _row(self, command: str) -> list[str]:
        return self._row_of(self._connection.exec_(command.encode()))

    def _row_of(self, result: pq.abc.PGresult | None) -> list[str]:
        if result is None or result.status != pq.ExecStatus.TUPLES_OK or not result.ntuples:
            raise refused_result(self._settings, self._connection, result)
        return [(result.get_value(0, column) or b"").decode() for column in range(result.nfields)]

    def _broken(self, error: psycopg.Error) -> LostError:
        reason = next(iter(str(error).splitlines()), "") or "closed by the server"
        detail = f"capture {self._settings.name!r}: the connection to PostgreSQL is lost: {reason}"
        return LostError(detail, "see whether the server runs; the capture goes on where it was")


def _lsn_in(message: memoryview) -> int:
    lsn: int = _LSN.unpack_from(message, 1)[0]
    return lsn


def lsn_of(text: str) -> int:
    """Read an LSN such as `0/16B3748`."""
    high, _, low = text.strip().partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(lsn: int) -> str:
    """Write an LSN as PostgreSQL does."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
