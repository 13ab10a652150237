"""One shard that is being read: where it is, what has been read of it and not been given, when it is asked again.

Invariant: the place is that of the last record given; what was read ahead is not in it.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from events.log import LogRecord
from stores.capture.shards import CLOSED, OLDEST, Found, Page, Shard, millis_of, sequence_of

_EMPTY_PAGES = 5
_PATIENCE = 5
_FIRST_PAUSE_MILLIS, _LONGEST_PAUSE_MILLIS = 200, 30_000


class Cursor:
    """One shard.

    :arg place: See `ShardPlace`.
    :arg known_to: Everything that came into it before this moment has been given (ms since epoch, the service's time);
        None if that is not known.
    """

    def __init__(self, shard: Shard, place: str, known_to: int | None) -> None:
        self.shard = shard
        self.place = place
        self.known_to = known_to
        self.iterator: str | None = None
        self.reading: Future[Page] | None = None
        self.failures = 0
        self.held_bytes = 0
        self._fresh = True  # whether the iterator has still to show that it begins where the place is
        self._page: deque[Found] = deque()
        self._page_known_to: int | None = None  # becomes `known_to` once the page has been given
        self._last_page = False
        self._empty_pages = 0
        self._tip = False
        self._asked_at: int | None = None
        self._pause = 0

    @property
    def ended(self) -> bool:
        """Whether the shard is closed, and has been given to its end."""
        return self.place == CLOSED

    @property
    def at_tip(self) -> bool:
        """Whether all that there was has been given."""
        return self.ended or (self._tip and not self._page)

    @property
    def waiting(self) -> bool:
        """Whether something has been read, and not been given."""
        return bool(self._page)

    def may_have_lost(self, at: int, retention: int) -> bool:
        """Tell whether retention may have taken, by the moment `at`, what has not been given."""
        return self.known_to is not None and at - self.known_to > retention

    def due(self, now: int) -> bool:
        """Tell whether it is time to ask again."""
        return self._asked_at is None or not 0 <= now - self._asked_at < self._pause

    def ask(self, now: int, reading: Future[Page]) -> None:
        """Note that the shard is asked."""
        self._asked_at, self.reading = now, reading

    def fail(self) -> None:
        """Note that it was asked in vain: the next pause is longer."""
        self.failures += 1
        self._pause = growing_pause(self.failures)
        self._tip = False  # what came meanwhile is not known
        if self.failures % _PATIENCE == 0:
            # It may be the iterator that is refused.
            self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the iterator: the next one begins at the place, and shows whether what comes next is still there."""
        self.iterator, self._fresh = None, True

    def forget(self) -> None:
        """Go on from the oldest record that there is."""
        self.place = OLDEST
        self.begin_anew()

    def accept(self, page: Page, retention: int, idle_millis: int, busy_millis: int) -> bool:
        """Take in what was read; return whether records before it may have been lost."""
        self.failures = 0
        if not self._fresh and self.may_have_lost(page.at, retention):
            # An iterator goes on behind a gap without a word: only one that begins at the place shows it.
            self.begin_anew()
            self._pause = busy_millis
            return False
        found, lost = page.found, False
        self.iterator = page.following
        self._last_page = page.following is None
        self._empty_pages = 0 if found else self._empty_pages + 1
        # A service that does not tell may answer with nothing although there is more, but not again and again.
        self._tip = page.behind == 0 if page.behind is not None else self._empty_pages >= _EMPTY_PAGES
        if self._fresh and (found or self._tip or self._last_page):
            self._fresh = False
            if found and found[0].sequence == sequence_of(self.place):
                found = _behind(found, self.place)
            else:
                lost = self.may_have_lost(page.at, retention)
        self._page_known_to = None if self._fresh else self._known_by(page)
        oldest = millis_of(self.place)
        if oldest is not None:
            found = [one._replace(record=_not_older(one.record, oldest)) for one in found]
        self._page.extend(found)
        self.held_bytes = sum(len(one.record.value or b"") for one in found if one.record is not None)
        self._pause = busy_millis if page.found else idle_millis
        if not self._page:
            self._turn_page()
        return lost

    def give(self, limit: int) -> list[LogRecord]:
        """Return up to `limit` of the records that have been read; the place is behind them."""
        records: list[LogRecord] = []
        while self._page and len(records) < limit:
            one = self._page.popleft()
            self.place = one.place
            if one.record is not None:
                records.append(one.record)
        if not self._page:
            self._turn_page()
        return records

    def _turn_page(self) -> None:
        self.held_bytes = 0
        if self._page_known_to is not None:
            self.known_to = max(self._page_known_to, self.known_to or 0)
        if self._last_page:
            self.place = CLOSED

    def _known_by(self, page: Page) -> int | None:
        if page.behind is not None:
            return page.at - page.behind
        if self._tip:
            return page.at
        return max((one.record.event_time for one in page.found if one.record is not None), default=None)


def growing_pause(failures: int) -> int:
    """Return how long to wait after so many failures, one after the other (ms)."""
    return min(_LONGEST_PAUSE_MILLIS, _FIRST_PAUSE_MILLIS << min(failures - 1, 16))


def _behind(found: list[Found], place: str) -> list[Found]:
    """Return what comes behind `place`, which is in the first of the records found."""
    for index, one in enumerate(found):
        if one.place == place:
            return found[index + 1 :]
    return found


def _not_older(record: LogRecord | None, oldest: int) -> LogRecord | None:
    return record if record is not None and record.event_time >= oldest else None
