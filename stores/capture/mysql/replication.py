"""The binlog as the server sends it: read by a thread of its own into a buffer that has an end.

Invariant: what is taken has come whole, in order, and with the checksum that the server gave it; behind an error
nothing is taken. The library connects and asks for the binlog, by GTID or by file and place; it never asks a second
time, as it would for a connection that broke, from a place of its own.
"""

from __future__ import annotations

import socket
import threading
import zlib
from collections import deque
from contextlib import suppress
from typing import Any

from events.binlog import BinlogPoint
from events.clock import Clock
from events.errors import MissingExtraError
from stores.capture.mysql.session import LostError, arguments_of, explained, refusal
from stores.capture_settings import MysqlTapSettings

HEARTBEAT_SECONDS = 0.5
"""How soon, and how often, a server that has nothing more says so."""

_MOST_BYTES = 32 * 2**20
_JOIN_SECONDS = 5
_FORMAT, _HEARTBEAT = 15, 27
_KIND_AT = 4
_CHECKSUM = 4


class Binlog:
    """What stands in the binlog from a point on, and whatever is written to it.

    :arg mariadb: Whether the server is MariaDB: its GTID position counts, if there is one.
    :raises LostError: When the server is away.
    :raises StoreError: When it does not let us read, or no longer has what comes next.
    """

    def __init__(self, settings: MysqlTapSettings, point: BinlogPoint, clock: Clock, *, mariadb: bool) -> None:
        self._settings = settings
        self._clock = clock
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._idle_at: int | None = None
        self._error: Exception | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._reader = _reader(settings, point, mariadb=mariadb)
        with explained(settings):
            try:
                # The first event says which file comes.
                self._first = self._reader.fetchone()
                if self._first is None:
                    self._over()
            except BaseException:
                self._reader.close()
                raise
        self._connection = self._reader._stream_connection
        self._events.append(_rotation(self._first))
        self._thread = threading.Thread(target=self._read, name=f"binlog-{settings.name}", daemon=True)
        self._thread.start()

    def take(self, limit: int, size: int, wait: float) -> tuple[list[bytes], int | None]:
        """Return up to `limit` events, of about `size` bytes; waits for the first one, up to `wait` seconds.

        With them: when the server has said that there was nothing more than these; None if it has not.

        :raises LostError: When the connection is gone, and all that came before has been taken.
        :raises StoreError: When the server refuses to go on.
        """
        taken: list[bytes] = []
        with self._changed:
            if not self._events and self._error is None and self._idle_at is None:
                self._changed.wait(wait)
            while self._events and len(taken) < limit and size > 0:
                event = self._events.popleft()
                taken.append(event)
                size -= len(event)
                self._bytes -= len(event)
            idle_at, error = (None, None) if self._events else (self._idle_at, self._error)
            self._idle_at = None if idle_at is not None else self._idle_at
            self._changed.notify_all()
        if error is not None and not taken:
            raise refusal(self._settings, error) if not isinstance(error, LostError) else error
        return taken, idle_at

    def close(self) -> None:
        """End the thread and the connection. Closing twice does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Whoever waits for the server is told at once.
        with suppress(OSError, AttributeError):
            self._connection._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_SECONDS)
        with suppress(OSError):
            self._connection._force_close()
        self._reader.close()

    def _read(self) -> None:
        try:
            checksum = True
            while True:
                packet = self._connection._read_packet()
                if packet.is_eof_packet():
                    self._over()
                event = packet.get_all_data()[1:]
                kind = event[_KIND_AT]
                if kind == _FORMAT:
                    # Its last bytes are always a checksum; the one before says whether the others have one.
                    checksum = event[-_CHECKSUM - 1] == 1
                if checksum or kind == _FORMAT:
                    event = self._checked(event, checksum)
                if not self._put(event, idle=kind == _HEARTBEAT):
                    return
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _put(self, event: bytes, *, idle: bool) -> bool:
        with self._changed:
            while self._bytes > _MOST_BYTES and not self._closed:
                self._changed.wait()
            if idle:
                self._idle_at = self._clock()
            else:
                self._idle_at = None
                self._events.append(event)
                self._bytes += len(event)
            self._changed.notify_all()
            return not self._closed

    def _checked(self, event: bytes, checksum: bool) -> bytes:
        said, event = event[-_CHECKSUM:], event[:-_CHECKSUM]
        if checksum and zlib.crc32(event) != int.from_bytes(said, "little"):
            detail = f"capture {self._settings.name!r}: an event of the binlog has come with a wrong checksum"
            raise LostError(detail, "look at the server's disk, and the way to it")
        return event

    def _over(self) -> None:
        detail = f"capture {self._settings.name!r}: the server has ended the reading of its binlog"
        raise LostError(detail, "see whether it runs; the capture goes on where it was")


def _reader(settings: MysqlTapSettings, point: BinlogPoint, *, mariadb: bool) -> Any:
    try:
        import pymysql
        from pymysqlreplication import BinLogStreamReader
        from pymysqlreplication.event import RotateEvent
    except ImportError:
        package, extra = "pymysqlreplication", "mysql"
        raise MissingExtraError(package, extra) from None
    opened: list[Any] = []

    def connect(**arguments: Any) -> Any:
        if len(opened) == 2:  # noqa: PLR2004  # the binlog's, and one for the library's questions
            detail = f"capture {settings.name!r}: the connection to MySQL is lost"
            raise LostError(detail, "see whether the server runs; the capture goes on where it was")
        # The library names it as the driver did once.
        database = arguments.pop("db", None)
        opened.append(pymysql.connect(**arguments, database=database))
        return opened[-1]

    by_gtid = mariadb and bool(point.gtid)
    where = {"auto_position": point.gtid} if by_gtid else {"log_file": point.file, "log_pos": point.pos}
    return BinLogStreamReader(
        arguments_of(settings),
        server_id=settings.server_id,
        blocking=True,
        resume_stream=True,
        is_mariadb=by_gtid,
        only_events=[RotateEvent],
        slave_heartbeat=HEARTBEAT_SECONDS,
        pymysql_wrapper=connect,
        enable_logging=False,
        **where,
    )


def _rotation(event: Any) -> bytes:
    """Return the library's first event as the server sent it, without its checksum."""
    name = event.next_binlog if isinstance(event.next_binlog, bytes) else event.next_binlog.encode()
    return bytes((0, 0, 0, 0, 4)) + bytes(14) + int(event.position).to_bytes(8, "little") + name
