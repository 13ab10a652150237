"""Draws from the shards of a stream: parents before their children, several shards at once.

Invariant: the place says exactly what has been given. It changes in `draw` alone; the threads do nothing but ask.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import msgspec

from events.clock import Clock
from events.errors import StoreError
from events.log import LogRecord
from stores.capture.base import Drawn
from stores.capture.shard_cursor import Cursor, growing_pause
from stores.capture.shards import (
    CLOSED,
    OLDEST,
    Lapsed,
    Later,
    Listing,
    Page,
    Shard,
    ShardedStream,
    ShardPlace,
    Trimmed,
    since,
)

THREADS = 8
"""Requests that are under way at once."""

_MAX_HELD_BYTES = 64 * 2**20
_CHILDLESS_MILLIS = 1000
_REPORT_MILLIS = 1000
_COMPLAIN_AFTER = (3, 20, 100)
_logger = logging.getLogger(__name__)


class Manner(NamedTuple):
    """How a stream is read.

    :arg what: What messages call it.
    :arg name: The tap's name.
    :arg start: Where to begin when nothing is known.
    :arg on_expired: What to do when retention has removed what was to be given next.
    :arg idle_millis: Pause of a shard that had nothing new.
    :arg busy_millis: Shortest time between two reads of one shard.
    :arg look_millis: Time between two looks for new shards, unless one is expected.
    """

    what: str
    name: str
    start: Literal["oldest", "newest"]
    on_expired: Literal["fail", "oldest"]
    idle_millis: int
    busy_millis: int
    look_millis: int


class ShardReader:
    """Draws from one stream. See `Tap` for what its verbs promise.

    :arg place: Where it was left; None at the very first time.
    :arg clock: For pauses. The time that retention is measured by is the service's own.
    :raises StoreError: When the stream cannot be read, or is not the one that was read before.
    """

    def __init__(self, stream: ShardedStream, place: ShardPlace | None, manner: Manner, clock: Clock) -> None:
        self._stream = stream
        self._manner = manner
        self._clock = clock
        self._cursors: dict[str, Cursor] = {}
        self._seen: int | None = None
        self._event_time: int | None = None
        self._turn = 0
        self._looking: Future[Listing] | None = None
        self._looked_at = clock()
        self._look_pause = 0
        self._look_failures = 0
        self._given: tuple[ShardPlace | None, bool, int] = (place, False, clock())
        listing = stream.look()
        self._identity, self._retention, self._at = listing.stream, listing.retention, listing.at
        if place is not None and listing.stream != place.stream:
            self._lost(f"{manner.what} has been deleted and made again")
            self._take_in(listing)
        else:
            self._begin(listing, place)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=f"tap-{manner.name}")

    @property
    def finished(self) -> bool:
        """Whether all shards are closed, and have been given to their end."""
        return all(cursor.ended for cursor in self._cursors.values())

    def draw(self, limit: int) -> Drawn | None:
        """Return what has been read of the shards, and read on."""
        now = self._clock()
        self._gather_listing()
        self._gather_pages()
        records = self._give(limit)
        self._look(now)
        self._read_on(now)
        self._note_seen()
        return self._drawn(records, now)

    def close(self) -> None:
        """Wait for what is under way, and let go of the stream."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stream.close()

    def _drawn(self, records: list[LogRecord], now: int) -> Drawn | None:
        place = ShardPlace(self._identity, {name: one.place for name, one in self._cursors.items()}, self._seen)
        caught_up = (
            self._seen is not None and all(cursor.at_tip for cursor in self._cursors.values()) and not self._childless()
        )
        before, was_caught_up, given_at = self._given
        news = bool(records) or caught_up != was_caught_up or before is None or place.shards != before.shards
        if not news and (place == before or 0 <= now - given_at < _REPORT_MILLIS):
            return None
        self._given = (place, caught_up, now)
        return Drawn(tuple(records), msgspec.to_builtins(place), self._event_time, caught_up, true_at=self._seen)

    def _begin(self, listing: Listing, place: ShardPlace | None) -> None:
        if place is not None:
            self._seen = place.seen
            for name, known in place.shards.items():
                shard = listing.shards.get(name, Shard(name, closed=True))
                self._cursors[name] = Cursor(shard, known, self._seen)
        elif self._manner.start == "newest":
            for name, shard in listing.shards.items():
                self._cursors[name] = Cursor(shard, CLOSED if shard.closed else since(listing.at), listing.at)
        self._take_in(listing)

    def _look(self, now: int) -> None:
        if self._looking is None and not 0 <= now - self._looked_at < self._look_pause:
            self._looked_at = now
            self._looking = self._pool.submit(self._stream.look)

    def _gather_listing(self) -> None:
        if self._looking is None or not self._looking.done():
            return
        looking, self._looking = self._looking, None
        try:
            listing = looking.result()
        except Later as error:
            self._look_failures += 1
            self._look_pause = growing_pause(self._look_failures)
            self._complain(self._look_failures, error)
            return
        self._look_failures = 0
        if listing.stream != self._identity:
            detail = f"{self._manner.what} has been deleted and made again"
            raise StoreError(detail, self._remedy())
        self._take_in(listing)

    def _take_in(self, listing: Listing) -> None:
        self._at, self._retention = max(self._at, listing.at), listing.retention
        for name, shard in listing.shards.items():
            if name in self._cursors:
                self._cursors[name].shard = shard
            else:
                self._cursors[name] = Cursor(shard, OLDEST, self._seen)
        for name in self._cursors.keys() - listing.shards.keys():
            self._vanish(self._cursors[name])
        self._look_pause = _CHILDLESS_MILLIS if self._childless() else self._manner.look_millis

    def _vanish(self, cursor: Cursor) -> None:
        """Forget a shard that is not listed any more."""
        if not cursor.ended:
            if cursor.waiting or cursor.reading is not None:
                return
            if cursor.known_to is not None and not cursor.may_have_lost(self._at, self._retention):
                return  # retention cannot have taken it: it is the list that is not whole
            self._lost(f"{self._manner.what}: retention has taken {cursor.shard.id} before it was read to its end")
        del self._cursors[cursor.shard.id]

    def _childless(self) -> bool:
        """Tell whether a shard has been given to its end, and what came of it is not known yet."""
        parents = {parent for cursor in self._cursors.values() for parent in cursor.shard.parents}
        return any(cursor.ended and name not in parents for name, cursor in self._cursors.items())

    def _read_on(self, now: int) -> None:
        held = sum(cursor.held_bytes for cursor in self._cursors.values())
        for cursor in self._cursors.values():
            if held >= _MAX_HELD_BYTES:
                break
            if cursor.waiting or cursor.reading is not None or cursor.ended:
                continue
            if not cursor.due(now) or not self._may_begin(cursor):
                continue
            reading = self._pool.submit(_read, self._stream, cursor.shard, cursor.place, cursor.iterator)
            cursor.ask(now, reading)

    def _may_begin(self, cursor: Cursor) -> bool:
        """Tell whether those that a shard came from have been given; those that retention has taken count as given."""
        parents = (self._cursors.get(parent) for parent in cursor.shard.parents)
        return all(parent is None or parent.ended for parent in parents)

    def _gather_pages(self) -> None:
        for cursor in self._cursors.values():
            if cursor.reading is None or not cursor.reading.done():
                continue
            reading, cursor.reading = cursor.reading, None
            try:
                page = reading.result()
            except Later as error:
                cursor.fail()
                self._complain(cursor.failures, error)
            except Lapsed:
                cursor.fail()
                cursor.begin_anew()
            except Trimmed:
                cursor.fail()
                if cursor.may_have_lost(self._at, self._retention):
                    self._expire(cursor)
                cursor.forget()
            else:
                self._at = max(self._at, page.at)
                if cursor.accept(page, self._retention, self._manner.idle_millis, self._manner.busy_millis):
                    self._expire(cursor)
                self._expect_children(cursor)

    def _give(self, limit: int) -> list[LogRecord]:
        records: list[LogRecord] = []
        for cursor in self._rotation():
            records += cursor.give(limit - len(records))
            self._expect_children(cursor)
            if len(records) >= limit:
                break
        if records:
            newest = max(record.event_time for record in records)
            self._event_time = newest if self._event_time is None else max(newest, self._event_time)
        return records

    def _expect_children(self, cursor: Cursor) -> None:
        if cursor.ended:
            self._look_pause = 0

    def _rotation(self) -> Iterator[Cursor]:
        """Go round once over the shards that are being read, each time beginning at another one."""
        cursors = [cursor for cursor in self._cursors.values() if not cursor.ended]
        self._turn += 1
        for number in range(len(cursors)):
            yield cursors[(self._turn + number) % len(cursors)]

    def _note_seen(self) -> None:
        if self._childless():
            return  # what goes into the shards that are not known yet is not given
        moments = [cursor.known_to for cursor in self._cursors.values() if not cursor.ended]
        known = [moment for moment in moments if moment is not None]
        if known and len(known) == len(moments):
            self._seen = max(min(known), self._seen or 0)

    def _expire(self, cursor: Cursor) -> None:
        self._lost(f"{self._manner.what}: retention has removed records of {cursor.shard.id} that were to come next")
        cursor.known_to = None

    def _lost(self, detail: str) -> None:
        """Stop because of a gap, or say that there is one, as it is set."""
        if self._manner.on_expired == "fail":
            raise StoreError(detail, self._remedy())
        _logger.warning("%s; going on from the oldest that there is", detail)

    def _remedy(self) -> str:
        return (
            f"`headrace capture reset {self._manner.name}`, or on_expired = 'oldest', goes on from what is still "
            "there; what is not has to be brought in again from where it comes from"
        )

    @staticmethod
    def _complain(failures: int, error: Later) -> None:
        if failures in _COMPLAIN_AFTER:
            _logger.warning("%s; tried %d times, and going on trying", error.detail, failures)


def open_reader(stream: ShardedStream, place: ShardPlace | None, manner: Manner, clock: Clock) -> ShardReader:
    """Return what reads `stream` from where it was left; the stream is let go of when that fails.

    :raises StoreError: When it fails.
    """
    try:
        return ShardReader(stream, place, manner, clock)
    except BaseException:
        stream.close()
        raise


def read_place(place: Any, name: str) -> ShardPlace | None:
    """Return the place of a tap, from what JSON holds of it.

    :raises StoreError: When it is none.
    """
    try:
        return None if place is None else msgspec.convert(place, ShardPlace)
    except msgspec.ValidationError as error:
        detail = f"the place of {name!r} is not one of a stream in shards: {error}"
        raise StoreError(
            detail, f"was it another kind of source? `headrace capture reset {name}` begins anew"
        ) from None


def _read(stream: ShardedStream, shard: Shard, place: str, iterator: str | None) -> Page:
    return stream.read(shard, stream.iterator(shard, place) if iterator is None else iterator)
