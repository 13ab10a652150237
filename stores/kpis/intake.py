"""From the flow into the store: what came in an epoch is one commit, with what is applied.

An alert does not wait for the epoch: it is committed with all that is known at that moment, and told. After a crash the
flow may compute again, from earlier events, what the store has already in a later state: until it is as far as the
store, nothing of that is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from typing_extensions import override

from events.alerts import Alert
from events.clock import Clock
from events.erasure import Erasure
from events.kpis import FactChange, Frontier, KpiValue, TooLate
from events.log import Mark, furthest, replay_stream
from stores.kpis.writer import Batch, KpiWriter
from stores.settings import Settings
from stores.sink import EpochWriter

FLOW = "feedback"
QUIET_MILLIS = 2_000
"""How old `applied` may become while nothing happens: an idle flow need not write each second that it is idle."""
_CLOSING_SECONDS = 60.0

KpiItem: TypeAlias = "FactChange | KpiValue | Frontier | TooLate | Alert | Erasure"


class KpiIntake(EpochWriter[KpiItem]):
    """Drives the store from the feedback flow.

    :arg settings: Where the store is, and what is in it; streams that they do not name are waited for by nobody.
    :arg clock: Tells `applied_at`.
    :arg tell: Is called with each alert after it has been committed; an alert that stands in the same state already
        is not told again. If it has a `close`, that is called at the end.
    :arg is_erased: Tells whether a conversation was that of a person who has been erased: what was under way of it then
        is passed over. It knows of an erasure before that comes here.
    :raises StoreError: When another writer holds the store, or it cannot be used.
    :raises SettingsError: When a KPI in SQL cannot be understood.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        tell: Callable[[Alert], None],
        is_erased: Callable[[str], bool] = lambda conversation: False,
    ) -> None:
        self._is_erased = is_erased
        self._clock = clock
        self._tell = tell
        self._store = KpiWriter(settings.kpis_path, settings.feedback, clock)
        self._batch = Batch()
        self._marks: dict[tuple[str, str], Mark] = {}
        self._unexplained: dict[tuple[str, str], Alert] = {}
        self._written_at = clock()
        streams = {replay_stream(FLOW), *(stream.name for stream in settings.feedback.streams)}
        self._awaited = {key: mark.offset for key, mark in self._store.applied.items() if key[0] in streams}
        self._say(self._store.untold)

    @property
    def holding(self) -> bool:
        """Whether the flow is not yet as far as the store has been before."""
        return bool(self._awaited)

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

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            key = mark.source, mark.partition
            self._marks[key] = furthest(mark, self._marks.get(key))
            # A log that ends earlier by now will never be where it was.
            if key in self._awaited and (mark.offset >= self._awaited[key] or mark.caught_up):
                del self._awaited[key]
        # What an alert was raised for may have come after it: by now all of the epoch is there.
        self._batch.alerts = self._unexplained | self._batch.alerts
        self._unexplained = {}
        if self._awaited or not self._due():
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
            if not self._awaited and self._store.pending:
                self._store.commit(Batch(), sql_seconds=_CLOSING_SECONDS)
        finally:
            self._store.close()
            done = getattr(self._tell, "close", None)
            if done is not None:
                done()

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
        # An idle partition's frontier follows the clock: that alone is as quiet as a mark that does.
        return self._batch.frontier is not None and self._clock() - self._written_at >= QUIET_MILLIS

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
