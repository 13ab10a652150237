"""When records that are gone may be forgotten: once nothing from before they went is to be expected any more.

Time is event time. A wrong one, far ahead of all others, is cut to a day after the source was read; and what is still
catching up holds everything back, since old events may come from there. So does a partition that an earlier run has
read, until it is heard of in this run. Of one that no run has read nothing is known: its old events are taken for what
they say, also of records that went long before; and a stream that is taken out of the settings holds back for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

from events.log import Applied, Mark

DAY = 86_400_000
SKEW = DAY
"""How far event times may be apart of what comes at the same time from sources that have caught up: what is forgotten
has been gone for longer than the horizon to all of them."""
FORGOTTEN_AT_ONCE = 1_000


class Tombstones:
    """Names of records by when they went.

    :arg horizon: Milliseconds of event time for which they are remembered.
    """

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._heap: list[tuple[int, str]] = []
        self._seen: int | None = None
        self._newest: int | None = None
        self._unheard: set[tuple[str, str]] = set()
        self._behind: dict[tuple[str, str], int] = {}

    def expect(self, partitions: Iterable[Applied]) -> None:
        """Forget nothing before each of these partitions has said in a mark how far it is."""
        self._unheard.update((one.source, one.partition) for one in partitions)

    def add(self, record: str, event_time: int) -> None:
        """Remember that a record went, at its latest event."""
        heapq.heappush(self._heap, (event_time, record))

    def see(self, event_time: int) -> None:
        """Take note of an event's time; it counts once a mark says when the source was read."""
        if self._seen is None or event_time > self._seen:
            self._seen = event_time

    def mark(self, mark: Mark) -> None:
        """Take note of how far a source has come."""
        key = mark.source, mark.partition
        if mark.caught_up:
            self._unheard.discard(key)
            self._behind.pop(key, None)
        elif mark.event_time is not None:
            self._unheard.discard(key)
            self._behind[key] = mark.event_time
        if self._seen is not None:
            seen = min(self._seen, mark.read_at + DAY)
            self._newest = seen if self._newest is None else max(seen, self._newest)
            self._seen = None

    def due(self) -> Iterator[tuple[int, str]]:
        """Take out some of the records that may be forgotten: when they went, and their names."""
        if self._newest is None or self._unheard:
            return
        before = min(self._newest, *self._behind.values()) if self._behind else self._newest
        for _ in range(FORGOTTEN_AT_ONCE):
            if not self._heap or self._heap[0][0] >= before - self._horizon - SKEW:
                return
            yield heapq.heappop(self._heap)

    def drop(self, records: Collection[str]) -> None:
        """Forget records at once; looks at all there are."""
        self._heap = [entry for entry in self._heap if entry[1] not in records]
        heapq.heapify(self._heap)
