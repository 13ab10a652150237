"""What is abnormal, of all series of KPIs and metrics: one alert for each episode, and one more when it is over.

Series are spread over a fixed number of keys, whose state is plain values. What an alert says is a function of the
events; see `watch.py` for when a value is judged.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Stream, operator
from bytewax.operators import StatefulBatchLogic
from typing_extensions import override

from events.alerts import Alert
from events.kpis import FactChange, Frontier, KpiValue
from operators.feedback.rules import AlertRule, Limits
from operators.feedback.watch import Event, Watch
from operators.feedback.watch import State as WatchState
from operators.feedback.wording import alert_of

VERSION = 1
KEYS = 64
"""Number of state keys. Part of the state's schema: never changes."""
_ALL = [f"{number:02d}" for number in range(KEYS)]
LIVE_STEP = 5_000
"""Live, how far a frontier moves on until it is told again: it touches all keys, and so costs all state."""
FORGET = 4
"""How many times the horizon, the season or the patience nothing comes of a series until it is forgotten."""

Watched: TypeAlias = "KpiValue | FactChange | Frontier"
State: TypeAlias = "tuple[int, int | None, dict[tuple[str, str], WatchState]]"
"""Version of the layout, the frontier, and for each rule and series its state."""


class Watchers:
    """All series of one key.

    In a replay the frontier is taken at its word one step later only, when what came with it is there as well.
    """

    def __init__(self, rules: Rules, limits: Limits, *, live: bool, state: State | None = None) -> None:
        self._rules = rules
        self._limits = limits
        self._live = live
        self._front: int | None = None
        self._watches: dict[tuple[str, str], Watch] = {}
        if state is not None:
            version, self._front, states = state
            if version != VERSION:
                message = f"detect: state of layout {version} cannot be read by layout {VERSION}"
                raise ValueError(message)
            for place, known in states.items():
                rule = rules.named.get(place[0])
                if rule is not None:
                    self._watches[place] = self._watch(rule, place[1]).resume(known)

    def take(self, items: Iterable[Watched]) -> list[Alert]:
        """Take in what came; return what follows."""
        out: list[Alert] = []
        for item in items:
            if isinstance(item, Frontier):
                out += self._advance(item.time)
            elif isinstance(item, KpiValue):
                value = item.value if item.count else None
                for rule in self._rules.of_value(item):
                    watch = self._of(rule, item.series)
                    events = watch.put((item.start, ""), item.end, value, item.count)
                    out += [told(rule, item.series, event) for event in events]
            elif item.after is not None:
                series, number = str(item.after.fields.get("series")), item.after.fields.get("value")
                for rule in self._rules.of_point(item):
                    value = float(number) if isinstance(number, (int, float)) else None
                    time = item.after.time
                    events = self._of(rule, series).put((time, item.after.id), time + 1, value, 0)
                    out += [told(rule, series, event) for event in events]
        return out

    def end(self) -> list[Alert]:
        """Return what follows from there being nothing to come."""
        return [] if self._live or self._front is None else self._settle(self._front, ended=True)

    def state(self) -> State:
        """Return what must be remembered, as plain values."""
        return VERSION, self._front, {place: watch.state() for place, watch in self._watches.items()}

    def _of(self, rule: AlertRule, series: str) -> Watch:
        place = (rule.name, series)
        watch = self._watches.get(place)
        if watch is None:
            watch = self._watches[place] = self._watch(rule, series)
        return watch

    def _advance(self, front: int) -> list[Alert]:
        before, self._front = self._front, front if self._front is None else max(front, self._front)
        reached = self._front if self._live else before
        return [] if reached is None else self._settle(reached, ended=False)

    def _settle(self, front: int, *, ended: bool) -> list[Alert]:
        out: list[Alert] = []
        gone: list[tuple[str, str]] = []
        for place, watch in self._watches.items():
            rule = self._rules.named[place[0]]
            events = list(watch.settle(front, ended=ended))
            if watch.is_gone(front - FORGET * max(self._limits.horizon, rule.season, rule.patience)):
                gone.append(place)
                events += watch.leave(front)
            out += [told(rule, place[1], event) for event in events]
        for place in gone:
            del self._watches[place]
        return out

    def _watch(self, rule: AlertRule, series: str) -> Watch:
        group = group_of(rule, series)
        first = group.get(rule.by[0], "") if rule.by else ""
        return Watch(rule, first, self._limits, live=self._live)


class Rules:
    """Which rules look at what."""

    def __init__(self, rules: Sequence[AlertRule], limits: Limits) -> None:
        self.named = {rule.name: rule for rule in rules}
        self._lateness = limits.lateness
        self._of_kpis: dict[tuple[str, str, tuple[str, ...]], list[AlertRule]] = {}
        self._of_metrics: dict[str, list[AlertRule]] = {}
        for rule in rules:
            if rule.metric:
                self._of_metrics.setdefault(rule.metric, []).append(rule)
            else:
                self._of_kpis.setdefault((rule.kpi, rule.window, rule.by), []).append(rule)

    def of_value(self, value: KpiValue) -> Sequence[AlertRule]:
        """Return the rules that look at a KPI in this kind of window, by this grouping."""
        return self._of_kpis.get((value.kpi, value.window, tuple(name for name, _ in value.group)), ())

    def of_point(self, change: FactChange) -> Sequence[AlertRule]:
        """Return the rules that look at a point: not at one that is amended, nor at one that comes out of its turn."""
        fact = change.after
        if fact is None or change.before is not None or fact.kind != "points":
            return ()
        is_late = fact.time + 1 + self._lateness <= change.watermark
        return () if is_late else self._of_metrics.get(str(fact.fields.get("name")), ())


def group_of(rule: AlertRule, series: str) -> dict[str, str]:
    """Return the dimensions, or labels, of a series by its name."""
    parts = msgspec.json.decode(series)
    return {str(name): str(value) for name, value in parts[1 if rule.metric else 2 :]}


def told(rule: AlertRule, series: str, event: Event) -> Alert:
    """Return the alert of what happened to a series."""
    return alert_of(rule, series, group_of(rule, series), event)


class _WatchersLogic(StatefulBatchLogic[list[Watched], Alert, State]):
    def __init__(self, watchers: Watchers) -> None:
        self._watchers = watchers

    @override
    def on_batch(self, values: list[list[Watched]]) -> tuple[Iterable[Alert], bool]:
        return self._watchers.take(item for items in values for item in items), StatefulBatchLogic.RETAIN

    @override
    def on_eof(self) -> tuple[Iterable[Alert], bool]:
        return self._watchers.end(), StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> State:
        return self._watchers.state()


class Spread:
    """Brings each item to its key, and frontiers to all keys; what no rule looks at goes nowhere."""

    def __init__(self, rules: Rules, *, live: bool) -> None:
        self._rules = rules
        self._step = LIVE_STEP if live else 1
        self._told: int | None = None

    def __call__(self, items: Iterable[Watched]) -> list[tuple[str, list[Watched]]]:
        """Gather items into one list for each key, their order kept."""
        groups: dict[str, list[Watched]] = {}
        for item in items:
            if isinstance(item, Frontier):
                if self._told is None or item.time >= self._told + self._step:
                    self._told = item.time
                    for key in _ALL:
                        groups.setdefault(key, []).append(item)
                continue
            if isinstance(item, KpiValue):
                series = item.series if self._rules.of_value(item) else None
            else:
                series = str(item.after.fields.get("series")) if item.after and self._rules.of_point(item) else None
            if series is not None:
                groups.setdefault(key_of(series), []).append(item)
        return list(groups.items())


def key_of(series: str) -> str:
    """Return the state key of a series: the same in every process, on every machine, for ever."""
    return _ALL[zlib.crc32(series.encode()) % KEYS]


@operator
def detect(
    step_id: str, up: Stream[Watched], rules: Sequence[AlertRule], limits: Limits, *, live: bool
) -> Stream[Alert]:
    """Watch series of KPIs and metrics.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Values of KPIs, facts that are points, and frontiers of the turn -1. A frontier comes after everything
        that was read in the epochs before it.
    :arg rules: What is abnormal; a rule without a series costs nothing.
    :arg limits: When windows are final, and when they do not change any more.
    :arg live: Whether values are judged as they come, before they are final.
    :returns: Alerts, each when it begins and when it is over.
    """
    known = Rules(rules, limits)
    spread = Spread(known, live=live)

    def shim_builder(state: State | None) -> _WatchersLogic:
        return _WatchersLogic(Watchers(known, limits, live=live, state=state))

    grouped = op.flat_map_batch("spread", up, spread)
    alerts = op.stateful_batch("watch", grouped, shim_builder)
    return op.key_rm("unkey", alerts)
