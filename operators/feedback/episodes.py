"""One alert for as long as it lasts: hysteresis, cool-down, and since when.

Values come in the order of time, each once; beside them values may be tried that can still change, which can raise an
alert but not end it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from typing_extensions import Self

from operators.feedback.rules import AlertRule

Step: TypeAlias = "Literal['raised', 'over'] | None"
State: TypeAlias = "tuple[int, int, int, int | None, int | None]"


class Episode:
    """What is known of the present episode of one series.

    :arg since: When the alert that stands began (ms since epoch); None if none stands.
    """

    __slots__ = ("_bad", "_bad_since", "_calm", "_quiet", "_rule", "since")

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._bad = 0
        self._bad_since = 0
        self._calm = 0
        self._quiet: int | None = None
        self.since: int | None = None

    @classmethod
    def resume(cls, rule: AlertRule, state: State) -> Self:
        """Return the episode as `state` left it."""
        episode = cls(rule)
        episode._bad, episode._bad_since, episode._calm, episode._quiet, episode.since = state
        return episode

    def state(self) -> State:
        """Return what must be remembered, as plain values."""
        return self._bad, self._bad_since, self._calm, self._quiet, self.since

    def go_on(self, start: int, end: int, *, abnormal: bool, calm: bool, since: int | None = None) -> Step:
        """Take the next value.

        :arg since: When what is abnormal about it began, if not with it.
        """
        if self.since is not None and start < self.since:
            return None  # it was before the alert, and says nothing about its end
        if abnormal:
            if not self._bad:
                self._bad_since = start if since is None else since
            self._bad += 1
            self._calm = 0
            if self._bad < self._rule.raise_after or not self.can_raise(start):
                return None
            return self._raise(self._bad_since)
        self._bad = 0
        self._calm = self._calm + 1 if calm else 0
        if self.since is None or self._calm < self._rule.over_after:
            return None
        return self.end(end)

    def foresee(self, row: list[int], *, joined: bool) -> Step:
        """Try an abnormal value that may still change.

        :arg row: Begins of the abnormal values in a row, all of which may still change, the tried one last.
        :arg joined: Whether nothing stands between them and the last value taken.
        """
        taken = self._bad if joined else 0
        if not self.can_raise(row[-1]) or len(row) + taken < self._rule.raise_after:
            return None
        return self._raise(self._bad_since if taken else row[0])

    def can_raise(self, start: int) -> bool:
        """Tell whether an alert may begin at `start`: none stands, and it is not too soon after the last one."""
        return self.since is None and (self._quiet is None or start >= self._quiet)

    def begin(self, since: int, at: int) -> Step:
        """Begin an alert that comes of no value, but of the absence of one that has been noticed `at`."""
        return self._raise(since) if self.can_raise(at) else None

    def end(self, at: int) -> Step:
        """End the alert that stands."""
        self.since, self._calm, self._bad = None, 0, 0
        self._quiet = at + self._rule.cooldown
        return "over"

    def _raise(self, since: int) -> Step:
        self.since, self._calm = since, 0
        return "raised"
