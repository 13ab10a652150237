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
from typing import Any

from msgspec.structs import replace
from typing_extensions import override

from events.capture import Relation
from events.clock import Clock
from events.log import LogRecord
from stores.capture.base import Drawn, Tap
from stores.capture.finding import Finding
from stores.capture.postgres import publishing
from stores.capture.postgres.adding import Adding
from stores.capture.postgres.catalog import published_relation
from stores.capture.postgres.connecting import Connecting, Link
from stores.capture.postgres.coverage import find_coverage, has_gap
from stores.capture.postgres.decoding import Decoder
from stores.capture.postgres.place import Asked, PostgresPlace, read_place, written_place
from stores.capture.postgres.session import BusyError, LostError, StumbledError, current_lsn
from stores.capture.postgres.snapshot import Part, Reading
from stores.capture.postgres.stream import Stream
from stores.capture_settings import PostgresTapSettings

BUSY_MILLIS = 20_000
"""How long to wait for something that is to go by itself: a killed reader's slot, a server that starts."""
LOOK_MILLIS = 1_000
"""Shortest time between two looks how far the server is, and whether the publications still cover the tables."""
PUBLISH_MILLIS = 5_000
"""Time between two tries to publish a table to which somebody writes."""
OPEN_SECONDS = 2.0
"""How long the first opening is waited for; it goes on behind that."""

_FIRST_PAUSE, _LONGEST_PAUSE = 100, 10_000
_SECOND = 1_000
_WAIT_SECONDS = 0.02
_logger = logging.getLogger(__name__)


class PostgresTap(Tap):
    """One database.

    :arg place: Where it was left; None at the very first time.
    :arg decoder: Makes events of what the server sends.
    :raises StoreError: When the server is not there, refuses, or no longer has what comes next. What takes longer to
        find out is raised by the first draw.
    """

    def __init__(self, settings: PostgresTapSettings, place: Any, clock: Clock, decoder: Decoder) -> None:
        self._settings = settings
        self._clock = clock
        self._decoder = decoder
        self._place = read_place(settings, place)
        self._confirmed = self._place.end if self._place else 0
        self._link: Link | None = None
        self._connecting: Connecting | None = Connecting(settings, self._place)
        self._met = False
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
        self._begun_at: int | None = None
        self._goal_at = 0
        self._looked_at = self._published_at = clock()
        try:
            self._open(OPEN_SECONDS)
        except LostError as lost:
            self._lose(lost)

    @override
    def draw(self, limit: int) -> Drawn | None:
        try:
            if self._link is None and not self._open(_WAIT_SECONDS):
                return None
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
        if self._connecting is not None:
            self._connecting.abandon()
            self._connecting = None
        for open_ in (self._adding, self._reading, self._link):
            if open_ is not None:
                open_.close()
        self._adding = self._reading = self._link = self._stream = self._goal = self._begun_at = None

    def _open(self, seconds: float) -> bool:
        """Connect, if it is time to: tell whether that is done."""
        if self._connecting is None:
            if self._clock() < self._again_at:
                return False
            self._connecting = Connecting(self._settings, self._place)
        if not self._connecting.wait(seconds):
            return False
        connecting, self._connecting = self._connecting, None
        link = self._link = connecting.take()
        self._warn(link.opened.warnings)
        self._begin(link)
        if self._lost_at is not None:
            away = self._clock() - self._lost_at
            _logger.warning("capture %r: back after %s", self._settings.name, _span(away))
        self._met = True
        self._lost_at = self._busy_since = None
        self._pause = _FIRST_PAUSE
        return True

    def _begin(self, link: Link) -> None:
        opened = link.opened
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

    def _start(self, link: Link, place: PostgresPlace) -> Stream:
        asked = self._asked(place)
        # A transaction that is half given is ended as it was begun: else its changes had other numbers.
        given = place.asked if place.commit and place.asked is not None else asked
        return Stream(
            link.ends,
            link.catalog,
            self._decoder,
            place,
            clock=self._clock,
            confirmed=self._confirmed,
            asked=given,
            ending=given != asked,
        )

    def _asked(self, place: PostgresPlace) -> Asked:
        settings = self._settings
        # Publications that are not ours may cover more than what we are asked for.
        only = tuple(sorted(place.tables.values())) if settings.publications else None
        return Asked(publications=tuple(sorted(settings.publication_names)), messages=settings.messages, only=only)

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
        if stream.ended:
            self.close()
            return None
        records = stream.next(limit)
        progress = stream.progress
        index, asked = (progress.index, stream.asked) if progress.commit else (0, None)
        self._place = replace(place, end=stream.end, commit=progress.commit, index=index, asked=asked)
        caught_up = news = False
        try:
            now = self._clock()
            if not stream.ended:
                records += self._add(limit, link, stream)
                self._publish(link, stream, now)
                caught_up, news = self._look(link, stream, now)
        except LostError as lost:
            # What has been decoded is given all the same: the place is behind it.
            self._lose(lost)
        if not records and not news:
            return None
        if self._link is None or self._unread(self._link):
            return Drawn(tuple(records), written_place(self._place))
        known = [moment for moment in (progress.committed_at, self._known_until) if moment is not None]
        newest = max(known, default=None)
        caught_up = caught_up and not records
        return Drawn(tuple(records), written_place(self._place), newest, caught_up, true_at=self._known_until)

    def _unread(self, link: Link) -> bool:
        """Tell whether there are tables of which not even the rows have been read: nothing is known of those."""
        return bool(link.opened.added or link.opened.blocked)

    def _add(self, limit: int, link: Link, stream: Stream) -> list[LogRecord]:
        """Go on with tables that come later: return events of theirs."""
        opened = link.opened
        if not opened.added:
            return []
        if self._adding is None:
            if self._begun_at is None:
                # Behind all that was read of them before: what was deleted while they were not published has to go.
                self._begun_at = current_lsn(self._settings, link.session)
                stream.ask()
            if not stream.between or stream.sent < self._begun_at:
                return []
            stream.advance()
            self._begun_at = None
            self._adding = Adding(self._settings, link.session, opened.added, opened.published, stream.end)
            if stream.asked.only is not None:
                oids = {*stream.asked.only, *(table.oid for table in opened.added)}
                stream.asked = replace(stream.asked, only=tuple(sorted(oids)))
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
            self._link = link._replace(opened=opened._replace(added=()))
        return records

    def _reads(self, part: Part, position: int) -> list[LogRecord]:
        last = "snapshot" if part.last else "table" if part.whole else ""
        return self._decoder.read(part.relation, part.rows, position, self._clock(), last)

    def _relation(self, name: str, link: Link) -> Relation:
        table, version = link.opened.tables[name], link.session.info.server_version
        return published_relation(table, link.opened.published[name], version)

    def _publish(self, link: Link, stream: Stream, now: int) -> None:
        """Try again to publish tables to which somebody was writing; what could be is read with the next opening."""
        blocked = link.opened.blocked
        if not blocked or link.opened.added or not stream.between or 0 <= now - self._published_at < PUBLISH_MILLIS:
            return
        self._published_at = now
        if len(publishing.widen(self._settings, link.session, blocked)) < len(blocked):
            self.close()

    def _look(self, link: Link, stream: Stream, now: int) -> tuple[bool, bool]:
        """Look up to where there is something to draw: tell whether all of it is, and whether that is news.

        What is known is that all was drawn that the server had at a moment: its WAL ended there then, and what it had
        was published.
        """
        if self._link is None:
            return False, False
        if self._goal is not None and stream.between and stream.sent >= self._goal:
            self._check_coverage(link)
            self._known_until, self._goal = self._goal_at, None
            return False, not self._unread(link)
        if 0 <= now - self._looked_at < LOOK_MILLIS:
            return False, False
        self._looked_at = now
        goal = current_lsn(self._settings, link.session)
        if stream.between and stream.sent >= goal:
            self._check_coverage(link)
            self._known_until, self._goal = now, None
            return True, not self._unread(link)
        if self._goal is None:
            self._goal, self._goal_at = goal, now
        if stream.quiet:
            stream.ask()
        return False, False

    def _check_coverage(self, link: Link) -> None:
        """Look whether the stream has told all that became of the tables since the last look.

        :raises LostError: When it has not: those that changed are read anew.
        """
        known = link.opened.place.coverage
        found = find_coverage(self._settings, link.session, link.opened.tables.values())
        for name, words in known.items():
            if name not in found or has_gap(words, found[name], followed=True):
                detail = f"capture {self._settings.name!r}: {name} was altered, so that the stream lacks something"
                raise LostError(detail + ": it is read anew", soon=True)
        if found != known and self._place is not None:
            # Partitions come and go: what is known of them next time begins here.
            self._place = replace(self._place, coverage=found)
            self._link = link._replace(opened=link.opened._replace(place=replace(link.opened.place, coverage=found)))

    def _lose(self, lost: LostError) -> None:
        """Let go of everything, and try again after a pause that grows.

        :raises StoreError: When what is in the way has not gone by itself, or nothing was there at the very first.
        """
        self.close()
        first, self._met = not self._met, True
        if first and not lost.soon:
            raise lost
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
            # Of a slot's reader nobody knows whether it is going to leave by itself.
            said = str(lost) if isinstance(lost, BusyError) else lost.detail
            _logger.warning("%s; trying again", said)
        self._again_at = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _warn(self, warnings: Sequence[Finding]) -> None:
        for warning in warnings:
            if warning.detail not in self._warned:
                self._warned.add(warning.detail)
                _logger.warning("capture %r: %s (%s)", self._settings.name, warning.detail, warning.hint)


def _span(millis: int) -> str:
    return f"{millis} ms" if millis < _SECOND else f"{millis / _SECOND:.0f} s"
