"""One series under one rule: which of its values are judged when, and the alerts that follow.

A value is taken once, in the order of time, when it is as good as settled: only then is it learnt from, and only then
can it end an alert. Live, each value is also tried as it comes, so that an alert does not wait for that. In a replay
nothing is tried, and windows are taken when nothing can change them any more: the alerts are a function of the events,
whatever came first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from typing_extensions import Self

from operators.feedback.anomaly import Anomaly
from operators.feedback.detectors import Detector, Finding, Flat, Memory, Present, Sample, Threshold
from operators.feedback.episodes import Episode
from operators.feedback.levels import Change
from operators.feedback.rules import AlertRule, Limits

MOST_WAITING = 20_000
"""Values of one series that wait to be settled, at most; beyond that the oldest are taken as they are."""
WORTH_WAITING = 5
"""How many times the lateness a final window of too few facts waits for more, such as ratings that take their time."""

Key: TypeAlias = "tuple[int, str]"
"""Begin of a window, or time of a point; id of the point."""
State: TypeAlias = "tuple[Any, ...]"
Reason: TypeAlias = "tuple[float | None, float | None, float | None]"
"""Why an alert was raised: lower and upper bound of what was expected, and what it was."""


class Event(NamedTuple):
    """An alert begins or is over.

    :arg at: When that happened, by the events' time (ms since epoch).
    :arg expected: As it was when the alert began: lower and upper bound, None if there is none.
    :arg actual: As it was when the alert began, None if there is no value.
    :arg now: The present value, None if there is none.
    """

    step: Literal["raised", "over"]
    since: int
    at: int
    expected: tuple[float | None, float | None] = (None, None)
    actual: float | None = None
    now: float | None = None


def detector_of(rule: AlertRule, first: str = "") -> Detector:
    """Return the detector of a rule.

    :arg first: The series' value of the first field that it is grouped by.
    """
    if rule.detector == "threshold":
        return Threshold(rule, first)
    if rule.detector == "anomaly":
        return Anomaly(rule)
    if rule.detector == "change":
        return Change(rule)
    return Flat(rule) if rule.detector == "flat" else Present()


class Watch:
    """Follows one series.

    :arg first: The series' value of the first field that it is grouped by.
    :arg live: Whether values are tried as they come.
    """

    __slots__ = (
        "_detector", "_episode", "_grace", "_limits", "_live", "_memory", "_newest", "_reason", "_rule", "_seen",
        "_settled", "_state", "_taken", "_waiting",
    )  # fmt: skip

    def __init__(self, rule: AlertRule, first: str, limits: Limits, *, live: bool) -> None:
        self._rule = rule
        self._limits = limits
        self._live = live
        # Points do not change: they only have to be brought into their order.
        self._settled = limits.lateness if live or rule.metric else limits.horizon
        self._grace = WORTH_WAITING * limits.lateness
        self._detector = detector_of(rule, first)
        self._episode = Episode(rule)
        self._memory: Memory = ()
        self._waiting: dict[Key, tuple[int, float, int]] = {}
        self._seen = 0
        self._taken: tuple[int, int] | None = None
        self._newest: int | None = None
        self._reason: Reason = (None, None, None)
        self._state: State | None = None

    def resume(self, state: State) -> Self:
        """Take over what `state` returned; what another detector has learnt is worth nothing."""
        detector, memory, waiting, seen, self._taken, self._newest, self._reason, episode = state
        self._waiting = dict(waiting)
        self._episode = Episode.resume(self._rule, episode)
        if detector == self._name:
            self._memory, self._seen = memory, seen
        return self

    def state(self) -> State:
        """Return what must be remembered, as plain values; made anew only if something has changed."""
        if self._state is None:
            self._state = (
                self._name, self._memory, tuple(self._waiting.items()), self._seen, self._taken, self._newest,
                self._reason, self._episode.state(),
            )  # fmt: skip
        return self._state

    def put(self, key: Key, end: int, value: float | None, count: int) -> Iterator[Event]:
        """Take in what a window or a point is, or is by now.

        :arg value: None if there is none.
        :arg count: 0 for a point, and for a window that is not there any more.
        """
        if value is None and count and self._rule.detector == "missing":
            value = 0.0  # it is there, and nothing else counts
        self._state = None
        if value is None:
            self._waiting.pop(key, None)
            return
        if self._taken is None or key[0] > self._taken[0] or key in self._waiting:
            self._waiting[key] = (end, value, count)
            self._newest = end if self._newest is None else max(self._newest, end)
            while len(self._waiting) > MOST_WAITING:
                yield from self._take(min(self._waiting))
        if self._live and self._detector.is_early:
            yield from self._try(key, Sample(key[0], end, value, count))

    def settle(self, front: int, *, ended: bool = False) -> Iterator[Event]:
        """Take what does not change any more, everything before `front` having come.

        :arg ended: Whether nothing is to come: then what is final does not change either.
        """
        final = front - self._limits.lateness
        settled = final if ended else front - self._settled
        for key in sorted(key for key, (end, _, _) in self._waiting.items() if end <= settled):
            end, value, count = self._waiting[key]
            may_grow = self._live and end > final - self._grace
            if not may_grow or self._is_enough(Sample(key[0], end, value, count)):
                yield from self._take(key)
        if (self._live or ended) and self._newest is not None:
            yield from self._miss(self._newest, front)

    def is_gone(self, before: int) -> bool:
        """Tell whether nothing has come since `before`."""
        return not self._waiting and (self._newest is None or self._newest < before)

    def leave(self, at: int) -> Iterator[Event]:
        """End the alert that stands, if one does, as the series is not followed any more."""
        since = self._episode.since
        if since is not None:
            yield self._over(since, at, None)

    @property
    def _name(self) -> str:
        """What the memory is of; a rule with another season has another one."""
        return f"{self._rule.detector}/{self._rule.season}"

    def _take(self, key: Key) -> Iterator[Event]:
        self._state = None
        end, value, count = self._waiting.pop(key)
        if self._taken is not None:
            yield from self._miss(self._taken[1], key[0])
        self._taken = (key[0], end) if self._taken is None else (max(self._taken[0], key[0]), max(self._taken[1], end))
        sample = Sample(key[0], end, value, count)
        if not self._is_enough(sample):
            return
        knows = self._knows()
        finding = self._detector.look(self._memory, sample)
        self._memory = self._detector.learn(self._memory, sample)
        self._seen += 1
        if not knows:
            return
        since = self._episode.since
        step = self._episode.go_on(key[0], end, abnormal=finding.abnormal, calm=finding.calm, since=finding.since)
        if step == "raised":
            yield self._raised(sample, finding)
        elif step == "over" and since is not None:
            yield self._over(since, end, value)

    def _try(self, key: Key, sample: Sample) -> Iterator[Event]:
        if not self._knows() or not self._is_enough(sample) or not self._episode.can_raise(sample.start):
            return
        finding = self._detector.look(self._memory, sample)
        if not finding.abnormal:
            return
        row, joined = self._row(key)
        if self._episode.foresee(row, joined=joined):
            yield self._raised(sample, finding)

    def _row(self, key: Key) -> tuple[list[int], bool]:
        """Return the begins of the abnormal values in a row that wait, up to `key`, and whether none else is before."""
        row = [key[0]]
        if self._rule.raise_after == 1:
            return row, False
        for other in sorted((other for other in self._waiting if other < key), reverse=True):
            if len(row) >= self._rule.raise_after:
                return row, False
            sample = Sample(other[0], *self._waiting[other])
            if self._is_enough(sample):
                if not self._detector.look(self._memory, sample).abnormal:
                    return row, False
                row.insert(0, other[0])
        return row, True

    def _is_enough(self, sample: Sample) -> bool:
        """Tell whether a window is of enough facts to mean something; one whose absence would be told, always is."""
        rule = self._rule
        return bool(rule.metric) or rule.detector == "missing" or sample.count >= rule.least_count

    def _knows(self) -> bool:
        return not self._detector.needs_past or self._seen >= self._rule.probation

    def _miss(self, last: int, now: int) -> Iterator[Event]:
        """Tell that nothing came from `last` to `now`, if that is too long."""
        rule = self._rule
        if rule.detector != "missing" or self._seen < rule.probation or now - last <= rule.patience:
            return
        if self._episode.begin(last, last + rule.patience):
            self._state = None
            self._reason = (None, None, None)
            yield Event("raised", last, last + rule.patience)

    def _raised(self, sample: Sample, finding: Finding) -> Event:
        self._reason = (finding.low, finding.high, sample.value)
        since = sample.start if self._episode.since is None else self._episode.since
        return Event("raised", since, sample.start, self._reason[:2], sample.value, sample.value)

    def _over(self, since: int, at: int, now: float | None) -> Event:
        low, high, actual = self._reason
        return Event("over", since, at, (low, high), actual, now)
