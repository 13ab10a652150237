"""From the flow into the store: what came in an epoch is one commit, with what is applied.

An alert does not wait for the epoch: it is committed with all that is known at that moment, and told. After a crash the
flow may compute again, from earlier events, what the store has already in a later state: until it is as far as the
store, nothing of that is shown. Where the log does not go back as far as the store does, what stands there is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from typing_extensions import override

from events.alerts import Alert
from events.clock import Clock, to_iso
from events.erasure import Erasure
from events.kpis import FactChange, Frontier, KpiValue, TooLate
from events.log import Applied, Mark, furthest, replay_stream
from stores.kpis.writer import Batch, KpiWriter
from stores.log.base import Log
from stores.settings import Settings
from stores.sink import EpochWriter

FLOW = "feedback"
QUIET_MILLIS = 2_000
"""How old `applied` may become while nothing happens: an idle flow need not write each second that it is idle."""
_CLOSING_SECONDS = 60.0
logger = logging.getLogger(__name__)

KpiItem: TypeAlias = "FactChange | KpiValue | Frontier | TooLate | Alert | Erasure"


class KpiIntake(EpochWriter[KpiItem]):
    """Drives the store from the feedback flow.

    :arg settings: Where the store is, and what is in it; streams that they do not name are waited for by nobody.
    :arg clock: Tells `applied_at`.
    :arg tell: Is called with each alert after it has been committed; an alert that stands in the same state already
        is not told again. If it has a `close`, that is called at the end.
    :arg is_erased: Tells whether a conversation was that of a person who has been erased: what was under way of it then
        is passed over. It knows of an erasure before that comes here.
    :arg log: Where the events come from: what it does not have any more is waited for by nobody.
    :raises StoreError: When another writer holds the store, or it cannot be used.
    :raises SettingsError: When a KPI in SQL cannot be understood.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        tell: Callable[[Alert], None],
        is_erased: Callable[[str], bool] = lambda conversation: False,
        log: Log | None = None,
    ) -> None:
        self._is_erased = is_erased
        self._log = log
        self._live = settings.mode == "live"
        self._lateness = round(settings.feedback.lateness_seconds * 1000)
        self._clock = clock
        self._tell = tell
        self._store = KpiWriter(settings.kpis_path, settings.feedback, clock, live=self._live)
        self._batch = Batch()
        self._marks: dict[tuple[str, str], Mark] = {}
        self._unexplained: dict[tuple[str, str], Alert] = {}
        self._unsearched: set[str] = set()
        self._written_at = clock()
        streams = {replay_stream(FLOW), *(stream.name for stream in settings.feedback.streams)}
        self._reached = {key: mark for key, mark in self._store.applied.items() if key[0] in streams}
        self._awaited = {key: mark.offset for key, mark in self._reached.items() if self._is_there(*key)}
        self._said_awaited = False
        self._say(self._store.untold)

    @property
    def holding(self) -> bool:
        """Whether the flow is not yet as far as the store has been before."""
        return bool(self._awaited)

    @override
    def begin(self, *, resumed: bool) -> None:
        if resumed or not self._reached:
            return
        # Events that had been given up and came again are few: for those that the log has no more, all others are not
        # left uncounted.
        marks = [mark for mark in self._reached.values() if mark.source != replay_stream(FLOW)]
        since = max(map(self._whole_since, marks), default=0)
        self._store.begin_anew(since)
        if since:
            logger.warning(
                "all is read again, but the log does not go back to where the store begins: values of windows that "
                "begin before %s stay as they are",
                to_iso(since),
            )

    @override
    def write(self, items: Sequence[KpiItem]) -> None:
        batch = self._batch
        alerted = False
        for item in items:
            if isinstance(item, KpiValue):
                batch.values[item.series, item.start] = item
            elif isinstance(item, FactChange):
                self._take(item)
            elif isinstance(item, Frontier):
                batch.frontier = item.time if batch.frontier is None else max(batch.frontier, item.time)
            elif isinstance(item, TooLate):
                batch.late[item.id] = item
            elif isinstance(item, Erasure):
                self._erase(item)
            else:
                batch.alerts[item.id, item.state] = item
                alerted = True
        if alerted and not self._awaited:
            raised = self._batch.alerts
            self._commit(())
            self._unexplained |= raised
            self._unsearched |= self._store.unexplained

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            key = mark.source, mark.partition
            self._marks[key] = furthest(mark, self._marks.get(key))
            # A log that ends earlier by now will never be where it was.
            if key in self._awaited and (mark.offset >= self._awaited[key] or mark.caught_up):
                del self._awaited[key]
        self._explain_again()
        if self._awaited:
            self._say_awaited(bool(marks))
            return
        if not self._due():
            return
        reached = list(self._marks.values())
        self._marks = {}
        self._commit(reached)

    @override
    def identity(self) -> str:
        return self._store.identity

    @override
    def progress(self) -> int:
        return self._store.progress

    @override
    def close(self) -> None:
        try:
            # What is under way was not finished; a frontier that came without anything else is of what was.
            frontier = None if self._batch else self._batch.frontier
            if not self._awaited and (self._store.pending or frontier is not None):
                self._store.commit(Batch(frontier=frontier), sql_seconds=_CLOSING_SECONDS)
        finally:
            self._store.close()
            done = getattr(self._tell, "close", None)
            if done is not None:
                done()

    def _is_there(self, stream: str, partition: str) -> bool:
        return self._log is None or partition in map(str, self._log.partitions(stream))

    def _whole_since(self, mark: Applied) -> int:
        """Return the event time from which on the log has everything of a partition (ms since epoch); 0: all of it."""
        if self._log is None:
            return 0
        oldest, end = self._log.bounds(mark.source, int(mark.partition))
        gone = (mark.event_time or 0) + 1
        if end < mark.offset or not self._is_there(mark.source, mark.partition):
            # It is gone, or is another one than that which was read.
            return gone
        if not oldest:
            return 0
        first, _ = self._log.read(mark.source, int(mark.partition), oldest, 1)
        # What was before it is older, but for what came late.
        return first[0].event_time + self._lateness if first else gone

    def _say_awaited(self, moved: bool) -> None:
        if self._said_awaited or not moved:
            return
        self._said_awaited = True
        names = ", ".join(sorted(f"{stream}/{partition}" for stream, partition in self._awaited))
        logger.info("the values of before are kept until the flow has come as far again in %s", names)

    def _explain_again(self) -> None:
        """Look again for what is behind alerts of this epoch: it may have come after them."""
        again = self._unexplained
        if not self._batch.facts:
            again = {key: alert for key, alert in again.items() if alert.id in self._unsearched}
        self._batch.alerts = again | self._batch.alerts
        self._unexplained, self._unsearched = {}, set()

    def _take(self, change: FactChange) -> None:
        batch = self._batch
        fact = change.after or change.before
        conversation = None if fact is None else fact.fields.get("conversation")
        if fact is None or (isinstance(conversation, str) and self._is_erased(conversation)):
            return
        batch.facts.setdefault(fact.kind, {})[fact.id] = change.after
        for one in (change.before, change.after):
            if one is not None and one.time < batch.oldest:
                batch.oldest = one.time
        batch.windows.update(self._store.touched(change))

    def _erase(self, erasure: Erasure) -> None:
        """Remove what an erasure names: from the store, however far behind it the flow is, and of what is under way."""
        gone = frozenset(erasure.conversations)
        for kind, facts in self._batch.facts.items():
            left = {
                id_: fact for id_, fact in facts.items() if fact is None or fact.fields.get("conversation") not in gone
            }
            self._batch.facts[kind] = left
        self._store.erase(erasure)

    def _due(self) -> bool:
        if self._batch or self._store.pending or self._frontier_moved():
            return True
        moved = any(
            (applied := self._store.applied.get(key)) is None
            or applied.offset != mark.offset
            or applied.caught_up != mark.caught_up
            for key, mark in self._marks.items()
        )
        return moved or (bool(self._marks) and self._clock() - self._written_at >= QUIET_MILLIS)

    def _frontier_moved(self) -> bool:
        frontier, stored = self._batch.frontier, self._store.frontier
        if frontier is None or (stored is not None and frontier <= stored):
            return False
        # In live mode an idle partition's frontier follows the clock: that alone is as quiet as a mark that does.
        return not self._live or self._clock() - self._written_at >= QUIET_MILLIS

    def _commit(self, marks: Sequence[Mark]) -> None:
        batch, self._batch = self._batch, Batch()
        try:
            alerts = self._store.commit(batch, marks)
        except BaseException:
            self._batch = batch
            raise
        self._written_at = self._clock()
        self._say(alerts)

    def _say(self, alerts: Sequence[Alert]) -> None:
        if not alerts:
            return
        for alert in alerts:
            self._tell(alert)
        # At once: whoever is killed now tells them again.
        self._store.commit(Batch(told={alert.id for alert in alerts}), ())
