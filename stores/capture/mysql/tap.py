"""The tap of MySQL and MariaDB: first the tables as they are, then every change, in the order of the binlog.

Invariant: what has been given and written down as the place is never asked for again, and what comes next is always
read from the place: what the server no longer has is an error, never passed over.

The order of things at the very first start: the tables are read in a snapshot of which it is known where the binlog
stood, and then the binlog is read from there. If that reading breaks off, its snapshot is gone. What has not been read
whole is then read of a later snapshot, and stands at its place; the binlog is still read from the first one. Changes
between the two come after reads that are newer, by position, and change nothing; those of tables that had been read
count. Tables that come later are read in the same way, while the binlog waits.

The server keeps its binlog for its own time, and nothing tells it how far we are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace
from typing_extensions import override

from events.binlog import BinlogProgress
from events.clock import Clock
from events.log import LogRecord
from stores.capture.base import Drawn, Tap
from stores.capture.finding import Finding
from stores.capture.mysql import checks, history
from stores.capture.mysql.catalog import MysqlCatalog, Table
from stores.capture.mysql.decoding import Decoder
from stores.capture.mysql.place import MysqlPlace, read_place, written_place
from stores.capture.mysql.replication import Binlog
from stores.capture.mysql.session import LostError, Session
from stores.capture.mysql.snapshot import Reading
from stores.capture_settings import MysqlTapSettings

WAIT_SECONDS = 0.01
"""How long to wait for something new."""
TELL_MILLIS = 1_000
"""Shortest time between two places without a record."""
ROW_BYTES = 100
"""What a row takes in the binlog, about: events hold many."""

_FIRST_PAUSE, _LONGEST_PAUSE = 100, 10_000
_logger = logging.getLogger(__name__)


class _Link(NamedTuple):
    """The connection of one life for questions, and what was found by it."""

    session: Session
    catalog: MysqlCatalog
    tables: dict[str, Table]


class MysqlTap(Tap):
    """One server.

    :arg place: Where it was left; None at the very first time.
    :arg decoder: Makes events of what the server sends.
    :raises StoreError: When the server is not there, refuses, or no longer has what comes next.
    """

    def __init__(self, settings: MysqlTapSettings, place: Any, clock: Clock, decoder: Decoder) -> None:
        self._settings = settings
        self._clock = clock
        self._decoder = decoder
        self._place = read_place(settings, place)
        self._link: _Link | None = None
        self._reading: Reading | None = None
        self._binlog: Binlog | None = None
        self._first: Drawn | None = None
        self._warned: set[str] = set()
        self._done = self._total = 0
        self._told_at = clock()
        self._pause, self._again_at = _FIRST_PAUSE, 0
        self._lost_at: int | None = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @override
    def draw(self, limit: int) -> Drawn | None:
        try:
            if self._link is None:
                if self._clock() < self._again_at:
                    return None
                self._open()
            if self._first is not None:
                first, self._first = self._first, None
                return first
            return self._read(limit) if self._reading is not None else self._follow(limit)
        except LostError as lost:
            self._lose(lost)
            return None

    @override
    def confirm(self, place: Any) -> None:
        """Do nothing: the server keeps its binlog for its own time."""

    @override
    def close(self) -> None:
        if self._binlog is not None:
            self._binlog.close()
        if self._reading is not None:
            self._reading.close()
        if self._link is not None:
            self._link.session.close()
        self._binlog = self._reading = self._link = self._first = None

    def _open(self) -> None:
        settings = self._settings
        session = Session(settings)
        try:
            catalog = MysqlCatalog(session)
            warnings = checks.raise_errors(settings, checks.check_server(settings, session, catalog))
            tables = catalog.find_tables(settings.tables)
            warnings += checks.raise_errors(settings, checks.check_tables(settings, session, tables))
        except BaseException:
            session.close()
            raise
        self._link = _Link(session, catalog, tables)
        self._warn(warnings)
        self._begin(self._link)
        if self._lost_at is not None:
            _logger.warning("capture %r: back after %d ms", settings.name, self._clock() - self._lost_at)
        self._lost_at = None
        self._pause = _FIRST_PAUSE

    def _begin(self, link: _Link) -> None:
        """Find out where to go on, or to begin.

        :raises StoreError: When this is another server than before, or its binlog another one.
        """
        settings, place = self._settings, self._place
        begun = place is not None and place.phase != "anew"
        if place is not None and begun:
            checks.raise_errors(settings, history.check_history(settings, link.session, link.catalog, place))
            kept = tuple(name for name in settings.tables if name in place.tables or not settings.snapshot)
            known = _of_tables(place, kept)
            if set(place.tables) != set(settings.tables):
                # What is open was counted by the changes of other tables: it comes again.
                known = replace(known, open="", index=0)
        else:
            kept = () if settings.snapshot else settings.tables
            known = MysqlPlace(phase="snapshot", server=link.catalog.server, tables=kept)
        self._decoder.begin(link.catalog, frozenset(), BinlogProgress())
        left = [link.tables[name] for name in settings.tables if name not in kept]
        if not left:
            end = known.end if known.end.file else link.catalog.point()
            self._place = replace(known, phase="stream", end=end)
            self._start(link, self._place)
            if not begun:
                self._first = Drawn((), written_place(self._place))
            return
        self._reading = Reading(settings, left)
        point = self._reading.point
        self._done = 0
        self._total = sum(table.rows for table in left)
        # What was read before may have lost rows since. What breaks off later is made good by the binlog.
        again = place is not None and place.phase != "snapshot"
        gone = [self._decoder.truncate(table.name, point, self._clock()) for table in left if again]
        self._place = replace(known, phase="snapshot", end=known.end if known.end.file else point)
        self._first = Drawn(tuple(gone), written_place(self._place))

    def _start(self, link: _Link, place: MysqlPlace) -> Binlog:
        given = BinlogProgress(place.end, place.open, place.index, self._decoder.progress.committed_at)
        self._decoder.begin(link.catalog, frozenset(self._settings.tables), given, place.keys)
        mariadb = link.catalog.product == "mariadb"
        self._binlog = Binlog(self._settings, place.end, self._clock, mariadb=mariadb)
        return self._binlog

    def _read(self, limit: int) -> Drawn | None:
        reading, place = self._reading, self._place
        if reading is None or place is None:
            return None
        part = reading.next(limit)
        if part is None:
            return None
        last = "snapshot" if part.last else "table" if part.whole else ""
        records = self._decoder.read(part.table.said, part.rows, reading.point, self._clock(), last)
        if part.whole:
            name, key = part.table.name, part.table.said.key
            place = replace(place, tables=(*place.tables, name), keys={**place.keys, name: key})
        if part.last:
            place = replace(place, phase="stream")
            reading.close()
            self._reading = None
        self._place = place
        self._done += len(part.rows)
        return Drawn(tuple(records), written_place(place), done=self._done, total=max(self._done, self._total))

    def _follow(self, limit: int) -> Drawn | None:
        link, place = self._link, self._place
        if link is None or place is None:
            return None
        stream = self._binlog or self._start(link, place)
        events, idle_at = stream.take(limit, limit * ROW_BYTES, WAIT_SECONDS)
        if not events and idle_at is None:
            return None
        records: list[LogRecord] = self._decoder.decode(events)
        progress = self._decoder.progress
        again = self._to_read_again(link)
        keys = dict(self._decoder.keys)
        self._place = replace(place, end=progress.end, open=progress.open, index=progress.index, keys=keys)
        if again:
            self._place = _of_tables(self._place, [name for name in place.tables if name not in again])
            # What is not in the place is read when the next draw opens.
            self.close()
            return Drawn(tuple(records), written_place(self._place), progress.committed_at)
        caught_up = idle_at is not None and not progress.open
        now = self._clock()
        if not records and not caught_up and 0 <= now - self._told_at < TELL_MILLIS:
            return None
        self._told_at = now
        known = [moment for moment in (progress.committed_at, idle_at if caught_up else None) if moment is not None]
        newest = max(known, default=None)
        return Drawn(tuple(records), written_place(self._place), newest, caught_up and not records)

    def _to_read_again(self, link: _Link) -> frozenset[str]:
        """Return the tables whose rows the binlog has not said, as far as they are there and may be read."""
        moved = self._decoder.take_moved()
        if not moved:
            return moved
        names, settings = ", ".join(sorted(moved)), self._settings
        if not settings.snapshot:
            what = f"capture {settings.name!r}: {names}: renamed, or with other partitions"
            _logger.warning("%s: what came or went by it is not read, as snapshot = false", what)
            return frozenset()
        again = frozenset(link.catalog.find_tables(sorted(moved)))
        if again:
            _logger.warning("capture %r: renamed, or with other partitions: %s; read again", settings.name, names)
        return again

    def _lose(self, lost: LostError) -> None:
        """Let go of everything, and try again after a pause that grows."""
        self.close()
        now = self._clock()
        if self._lost_at is None:
            self._lost_at = now
            _logger.warning("%s; trying again", lost.detail)
        self._again_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _warn(self, warnings: Sequence[Finding]) -> None:
        for warning in warnings:
            if warning.detail not in self._warned:
                self._warned.add(warning.detail)
                _logger.warning("capture %r: %s (%s)", self._settings.name, warning.detail, warning.hint)


def _of_tables(place: MysqlPlace, tables: Sequence[str]) -> MysqlPlace:
    """Return the place with these tables alone."""
    return replace(place, tables=tuple(tables), keys={name: place.keys[name] for name in tables if name in place.keys})
