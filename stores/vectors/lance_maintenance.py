"""Maintenance beside the writer: without it each commit makes the next one, and every search, a little slower.

It never changes what the store says, only how it is laid out. A compaction has the table to itself: one that
loses against a commit is not merely in vain, it leaves its files behind for days. So it begins right after a commit,
takes a fifth of the time at most, and runs in the writer's own thread only when it has fallen far behind. A version
keeps its files for RETAIN after another one has taken its place, so that whoever reads it gets to the end.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stores.vectors.lance_folder import index_filters
from stores.vectors.lance_schema import DELETED, DOCUMENT, GONE, one_of

if TYPE_CHECKING:
    from lancedb.table import Table
else:
    Table = Any

logger = logging.getLogger(__name__)

RETAIN = timedelta(seconds=60)
"""For how long versions keep their files when they are no longer the newest: longer than anything reads one of them."""

REMEMBER_DELETED_MILLIS = 7 * 24 * 3_600_000
"""Event time for which a deleted document's position is kept, so that an older update cannot bring it back."""

_BACKLOG = 5  # times `every`: from here on the writer waits for a run
_REST = 4.0  # times the duration of a run: pause before the next one
_PIECES = 10  # of the vector index; each run that finds new rows adds one
_IDS_IN_FILTER = 2_000
_ROWS = 2_000  # new ones, which searches look at one by one: measured, 20,000 of them make one of 50 ms take 300 ms
_QUIET_SECONDS = 2.0  # without a commit: nobody is in the way
_SLACK_SECONDS = 10.0  # that a commit may take: a version is as old as its beginning
_FOREVER = timedelta(days=10_000)
_SCAN_EVERY = 500  # runs: look through the whole table for what a former process left, and for old deletions


class Maintenance:
    """Removes what is gone, compacts, and keeps the indices up to date, in a thread with its own table handle.

    :arg table: Its own handle, used by nobody else.
    :arg writing: Held by whoever changes the table: the writer during its commits, maintenance during a run.
    :arg every: Commits between two runs.
    :arg index_above: Rows above which a vector index is built.
    :arg drop_former: Removes what was the table before a reindex, if that is still there.
    """

    def __init__(
        self,
        table: Table,
        writing: threading.Lock,
        *,
        every: int,
        index_above: int,
        drop_former: Callable[[], None] | None = None,
    ) -> None:
        self._table = table
        self._writing = writing
        self._every = every
        self._index_above = index_above
        self._gone: set[str] = set()
        self._runs = 0
        self._rows = 0
        self._drop_former = drop_former
        self._opened = time.monotonic()
        # When the commits were after which a version may still be read, oldest first; when the first was is not known.
        self._commits = deque([-math.inf])
        # A former process may have ended before its turn: every fragment is work for at most one commit's worth.
        self._pending = int(table.stats()["fragment_stats"]["num_fragments"])
        self._trained = self._rows_indexed()
        self._running = threading.Lock()
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name="vectors-maintenance", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Commits since the last run: about as many small fragments lie beside the large ones."""
        return self._pending

    def committed(self, gone: Iterable[str], back: Iterable[str]) -> None:
        """Take note of a commit: chunks that went, and those that are (again) there.

        Runs at once, in the writer's own thread, when the pauses have not been enough.
        """
        came = frozenset(back)
        with self._wake:
            self._gone.difference_update(came)
            self._gone.update(gone)
            self._commits.append(time.monotonic())
            self._pending += 1
            self._rows += len(came)
            far_behind = self._pending >= _BACKLOG * self._every
            self._wake.notify()
        if far_behind and self._running.acquire(blocking=False):
            try:
                self._tidy()
            finally:
                self._running.release()

    def close(self) -> None:
        """Stop after the run that is under way, if any, and leave no more behind than a search gets over quickly."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()
        if self._rows >= _ROWS:
            self._tidy()

    def _loop(self) -> None:
        while True:
            self._await_work()
            if self._stopped:
                return
            start = time.monotonic()
            with self._running:
                self._tidy()
                self._attempt(self._train)
                self._attempt(self._forget_former)
            with self._wake:
                self._wake.wait_for(lambda: self._stopped, timeout=_REST * (time.monotonic() - start))

    def _await_work(self) -> None:
        """Wait until there is enough to do, or something, and nothing more comes for now."""
        with self._wake:
            while not self._due() and self._more(self._pending):
                pass

    def _more(self, pending: int) -> bool:
        """Wait for another commit than the `pending` ones; return false when none comes, and there is work to do."""
        seconds = _QUIET_SECONDS if pending else None
        return self._wake.wait_for(lambda: self._stopped or self._pending != pending, seconds)

    def _due(self) -> bool:
        return self._stopped or self._pending >= self._every or self._rows >= _ROWS

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do a part of a run. Whatever goes wrong is left for the next turn: the writer must outlive it."""
        try:
            self._table.checkout_latest()
            work()
        except Exception as error:
            logger.warning("maintenance of the vector store failed, the next turn tries again: %s", error)

    def _tidy(self) -> None:
        """Remove what is gone, compact, bring the indices up to date, and remove the files of old versions."""
        with self._writing:
            with self._wake:
                self._pending = self._rows = 0
                older = self._unread()
            self._attempt(lambda: index_filters(self._table))
            self._attempt(self._remove_gone)
            # Files that no version names are of commits that failed or were killed: nobody else is at work here.
            self._attempt(lambda: self._table.optimize(cleanup_older_than=older, delete_unverified=True))

    def _unread(self) -> timedelta:
        """Return the age from which on nobody reads a version any more.

        Not RETAIN: in a quiet store the version that was the newest a moment ago may be hours old.
        """
        now = time.monotonic()
        while len(self._commits) > 1 and self._commits[1] <= now - RETAIN.total_seconds():
            self._commits.popleft()
        since = self._commits[0]
        return _FOREVER if since == -math.inf else timedelta(seconds=now - since + _SLACK_SECONDS)

    def _forget_former(self) -> None:
        if self._drop_former and time.monotonic() - self._opened > RETAIN.total_seconds():
            self._drop_former()
            self._drop_former = None

    def _remove_gone(self) -> None:
        scan = self._runs % _SCAN_EVERY == 0
        self._runs += 1
        with self._wake:
            gone, self._gone = self._gone, set()
        filters = []
        if scan or len(gone) > _IDS_IN_FILTER:
            filters.append(f"kind = '{GONE}'")
        elif gone:
            # The kind as well: a chunk may have come back since.
            filters.append(f"{one_of('id', sorted(gone))} AND kind = '{GONE}'")
        if scan:
            filters.append(f"kind = '{DELETED}' AND as_of < {self._newest_change() - REMEMBER_DELETED_MILLIS}")
        for rows in filters:
            self._table.delete(rows)

    def _newest_change(self) -> int:
        """Return the newest event time of any document, 0 if there is none."""
        import pyarrow.compute as pc

        times = self._table.search().where(one_of("kind", [DOCUMENT, DELETED])).select(["as_of"]).to_arrow()
        return int(pc.max(times["as_of"]).as_py() or 0)

    def _train(self) -> None:
        """Build the vector index when there is enough to search, and again when it has become a bad fit.

        It has when the rows have doubled, or when many runs have each added a piece: a search visits them all.
        Commits go on meanwhile: a new index and a commit do not get into each other's way.
        """
        from lancedb.index import IvfRq

        rows = self._table.count_rows()
        if rows <= self._index_above or (rows < 2 * self._trained and self._pieces() < _PIECES):
            return
        # Cheap to build, and as exact as any other one once the best are ranked again by their full vectors.
        self._table.create_index("vector", config=IvfRq(distance_type="cosine"), replace=True)
        self._trained = rows

    def _pieces(self) -> int:
        return sum(index.num_segments or 0 for index in self._table.list_indices() if index.columns == ["vector"])

    def _rows_indexed(self) -> int:
        for index in self._table.list_indices():
            if index.columns == ["vector"]:
                return int(index.num_indexed_rows or 0)
        return 0
