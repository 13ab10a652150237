"""The tap of PostgreSQL: first the tables as they are, then every change, in the order of the commits.

Invariant: what has been given and written down as the place is never asked for again, and what has not is never let go
of: the server hears of a place only when it has been confirmed. How the snapshot is handed over to the stream, and what
counts as a gap, stands in `opening`; tables that come later in `adding`.

A slot moves although nothing of the captured tables changes: while no transaction is under way, the server's word that
it has sent all up to an LSN is a place as good as the end of a commit. Nothing has to be written at the source.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace
from typing_extensions import override

from events.capture import Relation
from events.clock import Clock
from events.log import LogRecord
from stores.capture.base import Drawn, Tap
from stores.capture.postgres import checks
from stores.capture.postgres.adding import Adding
from stores.capture.postgres.catalog import (
    PostgresCatalog,
    find_publications,
    find_tables,
    published,
    published_relation,
)
from stores.capture.postgres.checks import Finding
from stores.capture.postgres.decoding import Decoder
from stores.capture.postgres.opening import Ends, Opened, open_place
from stores.capture.postgres.place import PostgresPlace, read_place, written_place
from stores.capture.postgres.replication import Replication
from stores.capture.postgres.session import BusyError, LostError, Session, StumbledError, connect, current_lsn
from stores.capture.postgres.snapshot import Part, Reading
from stores.capture.postgres.stream import Stream
from stores.capture_settings import PostgresTapSettings

BUSY_MILLIS = 20_000
"""How long to wait for something that is to go by itself: a killed reader's slot, a server that starts."""
LOOK_MILLIS = 1_000
"""Shortest time between two looks whether a quiet server has more."""
RECHECK_MILLIS = 30_000
"""Time between two looks whether the publications still cover the tables."""

_FIRST_PAUSE, _LONGEST_PAUSE = 100, 10_000
_logger = logging.getLogger(__name__)


class _Link(NamedTuple):
    """The connections of one life, and what was found by them."""

    ends: Ends
    catalog: PostgresCatalog
    opened: Opened

    @property
    def session(self) -> Session:
        return self.ends.session

    def close(self) -> None:
        self.ends.replication.close()
        self.ends.session.close()


class PostgresTap(Tap):
    """One database.

    :arg place: Where it was left; None at the very first time.
    :arg decoder: Makes events of what the server sends.
    :raises StoreError: When the server is not there, refuses, or no longer has what comes next.
    """

    def __init__(self, settings: PostgresTapSettings, place: Any, clock: Clock, decoder: Decoder) -> None:
        self._settings = settings
        self._clock = clock
        self._decoder = decoder
        self._place = read_place(settings, place)
        self._confirmed = self._place.end if self._place else 0
        self._link: _Link | None = None
        self._reading: Reading | None = None
        self._stream: Stream | None = None
        self._adding: Adding | None = None
        self._first: Drawn | None = None
        self._warned: set[str] = set()
        self._done = 0
        self._pause, self._again_at = _FIRST_PAUSE, 0
        self._lost_at: int | None = None
        self._busy_since: int | None = None
        self._stumbled_since: int | None = None
        self._known_until: int | None = None
        self._goal: int | None = None
        self._goal_at = 0
        self._looked_at = self._checked_at = clock()
        try:
            self._open()
        except LostError as lost:
            if not lost.soon:
                self.close()
                raise
            self._lose(lost)

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
            drawn = self._read(limit) if self._reading is not None else self._follow(limit)
            if drawn is not None:
                self._stumbled_since = None
            return drawn
        except LostError as lost:
            self._lose(lost)
            return None

    @override
    def confirm(self, place: Any) -> None:
        known = read_place(self._settings, place)
        if known is None or known.phase != "stream":
            return
        self._confirmed = max(self._confirmed, known.end)
        if self._stream is not None:
            try:
                self._stream.confirm(self._confirmed)
            except LostError as lost:
                self._lose(lost)

    @override
    def close(self) -> None:
        for open_ in (self._adding, self._reading, self._link):
            if open_ is not None:
                open_.close()
        self._adding = self._reading = self._link = self._stream = self._goal = None

    def _open(self) -> None:
        session = connect(self._settings)
        try:
            self._warn(checks.raise_errors(self._settings, checks.check_server(self._settings, session)))
            replication = Replication(self._settings)
        except BaseException:
            session.close()
            raise
        try:
            ends = Ends(self._settings, session, replication)
            opened = open_place(ends, self._place)
        except BaseException:
            replication.close()
            session.close()
            raise
        self._link = _Link(ends, PostgresCatalog(self._settings, session), opened)
        self._warn(opened.warnings)
        self._begin(opened, self._link)
        if self._lost_at is not None:
            away = self._clock() - self._lost_at
            _logger.warning("capture %r: back after %d ms", self._settings.name, away)
        self._lost_at = self._busy_since = None
        self._pause = _FIRST_PAUSE
        self._checked_at = self._clock()

    def _begin(self, opened: Opened, link: _Link) -> None:
        place = self._place = opened.place
        self._confirmed = max(self._confirmed, place.end if opened.begun else 0)
        left = [opened.tables[name] for name in self._settings.tables if name not in place.tables]
        self._decoder.begin(link.catalog, self._decoder.progress)
        if opened.begun:
            now = self._clock()
            gone = [
                self._decoder.truncate(self._relation(name, link), place.end, now)
                for name in self._settings.tables
                if opened.truncated
            ]
            self._first = Drawn(tuple(gone), written_place(place))
        if place.phase == "snapshot" and left:
            # At once: the next command of the slot's connection would end the snapshot that it has exported.
            self._reading = Reading(self._settings, left, opened.published, opened.exported)
            self._done = sum(table.rows for name, table in opened.tables.items() if name in place.tables)
        else:
            self._place = replace(place, phase="stream")
            self._stream = self._start(link, self._place)

    def _start(self, link: _Link, place: PostgresPlace) -> Stream:
        # Publications that are not ours may cover more than what we are asked for.
        only = frozenset(place.tables.values()) if self._settings.publications else None
        return Stream(
            link.ends, link.catalog, self._decoder, place, clock=self._clock, confirmed=self._confirmed, only=only
        )

    def _read(self, limit: int) -> Drawn | None:
        link, reading, place = self._link, self._reading, self._place
        if link is None or reading is None or place is None:
            return None
        part = reading.next(limit)
        if part is None:
            return None
        records = self._reads(part, place.end)
        if part.whole:
            place = replace(place, tables={**place.tables, part.table.name: part.table.oid})
        if part.last:
            place = replace(place, phase="stream")
            reading.close()
            self._reading = None
        self._place = place
        self._done += len(part.rows)
        total = max(self._done, sum(table.rows for table in link.opened.tables.values()))
        return Drawn(tuple(records), written_place(place), done=self._done, total=total)

    def _follow(self, limit: int) -> Drawn | None:
        link, place = self._link, self._place
        if link is None or place is None:
            return None
        stream = self._stream = self._stream or self._start(link, place)
        records = stream.next(limit)
        progress = stream.progress
        place = replace(place, end=stream.end, commit=progress.commit, index=progress.index if progress.commit else 0)
        self._place = place
        caught_up = news = False
        try:
            if link.opened.added:
                records += self._add(limit, link, stream)
            now = self._clock()
            if stream.between and not 0 <= now - self._checked_at < RECHECK_MILLIS:
                self._recheck(link, now)
            caught_up, news = self._look(link, stream, now)
        except LostError as lost:
            # What has been decoded is given all the same: the place is behind it.
            self._lose(lost)
        if not records and not news:
            return None
        known = [moment for moment in (progress.committed_at, self._known_until) if moment is not None]
        newest = None if link.opened.added else max(known, default=None)
        return Drawn(tuple(records), written_place(self._place), newest, caught_up and not records)

    def _add(self, limit: int, link: _Link, stream: Stream) -> list[LogRecord]:
        """Go on with tables that come later: return events of theirs."""
        if self._adding is None:
            if not stream.between:
                return []
            opened = link.opened
            self._adding = Adding(self._settings, link.session, opened.added, opened.published, stream.end)
            if stream.only is not None:
                stream.only = frozenset(table.oid for table in opened.tables.values())
        adding, begun = self._adding, self._adding.begun
        part = adding.next(limit)
        if part is None or self._place is None:
            return []
        now = self._clock()
        gone = [] if begun else [self._relation(table.name, link) for table in adding.tables]
        records = [self._decoder.truncate(relation, adding.position, now) for relation in gone]
        records += self._reads(part, adding.position)
        if part.last:
            added = {table.name: table.oid for table in adding.tables}
            self._place = replace(self._place, tables={**self._place.tables, **added})
            adding.close()
            self._adding = None
            self._link = link._replace(opened=link.opened._replace(added=()))
        return records

    def _reads(self, part: Part, position: int) -> list[LogRecord]:
        last = "snapshot" if part.last else "table" if part.whole else ""
        return self._decoder.read(part.relation, part.rows, position, self._clock(), last)

    def _relation(self, name: str, link: _Link) -> Relation:
        table, version = link.opened.tables[name], link.session.info.server_version
        return published_relation(table, link.opened.published[name], version)

    def _look(self, link: _Link, stream: Stream, now: int) -> tuple[bool, bool]:
        """Look up to where there is something to draw: tell whether all of it is, and whether that is news.

        What is known is that all was drawn that the server had at a moment: its WAL ended there then.
        """
        if link.opened.added:  # nothing is known of a table that is still to be read
            return False, False
        if self._goal is not None and stream.between and stream.sent >= self._goal:
            self._known_until, self._goal = self._goal_at, None
            return False, True
        if not stream.quiet or 0 <= now - self._looked_at < LOOK_MILLIS:
            return False, False
        self._looked_at = now
        goal = current_lsn(self._settings, link.session)
        if stream.between and stream.sent >= goal:
            self._known_until, self._goal = now, None
            return True, True
        if self._goal is None:
            self._goal, self._goal_at = goal, now
        stream.ask()
        return False, False

    def _recheck(self, link: _Link, now: int) -> None:
        """Look whether the publications still cover the tables that they did, and whether those are the same."""
        self._checked_at = now
        covered = published(find_publications(self._settings, link.session))
        tables = find_tables(self._settings, link.session, self._settings.tables)
        for name, table in link.opened.tables.items():
            if name not in covered or name not in tables or tables[name].oid != table.oid:
                detail = f"capture {self._settings.name!r}: the table {name} is published no longer, or another one"
                raise LostError(detail, soon=True)

    def _lose(self, lost: LostError) -> None:
        """Let go of everything, and try again after a pause that grows.

        :raises StoreError: When what is in the way has not gone by itself.
        """
        self.close()
        now = self._clock()
        since: int | None = None
        if isinstance(lost, BusyError):
            since = self._busy_since = now if self._busy_since is None else self._busy_since
        elif isinstance(lost, StumbledError):
            since = self._stumbled_since = now if self._stumbled_since is None else self._stumbled_since
        if since is not None and now - since > BUSY_MILLIS:
            raise lost
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
