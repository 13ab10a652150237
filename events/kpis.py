"""What is measured: facts that KPIs count, and what a KPI was in a window.

Times are in milliseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

FactKind = Literal["answers", "questions", "ratings", "comments", "contexts", "points"]
FACT_KINDS: tuple[FactKind, ...] = ("answers", "questions", "ratings", "comments", "contexts", "points")

FactValue: TypeAlias = "str | int | float | bool | tuple[str, ...] | None"


class Fact(msgspec.Struct, frozen=True):
    """One thing that happened, joined with what belongs to it: a row that KPIs filter, group and count.

    :arg kind: Which stream of facts it belongs to.
    :arg id: Unique within its kind.
    :arg time: By which it falls into windows.
    :arg fields: By name; what is not known is None or missing. Which fields each kind has: `FIELDS`.
    """

    kind: FactKind
    id: str
    time: int
    fields: dict[str, FactValue]


FIELDS: dict[str, dict[str, type]] = {
    "answers": {
        "conversation": str, "turn": str, "application": str, "model": str, "language": str, "topic": str,
        "person": str, "latency": float, "tokens_in": int, "tokens_out": int, "tokens": int, "cost": float,
        "fallback": bool, "rated": bool, "good": bool, "bad": bool, "score": float, "stale": bool,
        "lag": float, "documents": tuple,
    },
    "questions": {
        "conversation": str, "turn": str, "application": str, "language": str, "topic": str, "person": str,
    },
    "ratings": {
        "conversation": str, "turn": str, "application": str, "model": str, "language": str, "topic": str,
        "person": str, "scale": str, "value": float, "score": float, "good": bool, "bad": bool, "stale": bool,
        "known": bool,
    },
    "comments": {
        "conversation": str, "turn": str, "application": str, "model": str, "language": str, "topic": str,
        "person": str, "category": str, "topics": tuple, "confidence": float, "text": str, "known": bool,
    },
    "contexts": {
        "conversation": str, "context": str, "application": str, "source": str, "document": str, "lag": float,
        "stale": bool,
    },
    "points": {"name": str, "series": str, "value": float},
}  # fmt: skip
"""Fields by kind. Points have their labels as fields beside these.

- `score` is the rating from 0 to 1; of an answer the mean of its ratings. `good` and `bad` are the rating's; an answer
  is `bad` (`good`) if more of its ratings are bad than good (good than bad); all are None while `rated` is false.
- `stale`: whether any piece of the shown context was: said to be so, or behind its source by more than its objective.
  None if the context is not known. `lag` is the largest of its pieces, in milliseconds.
- `documents` are those of the shown context, sorted, as `source/document`.
- `topic` of an answer is its own, else that of the question before it; a rating and a comment have their answer's.
- `known`: whether the answer (for a rating of a whole conversation: any turn) that it is about has been seen.
- a context has one fact for each of its pieces that has a source: id `conversation/context/ordinal`.
- `text` of a comment is its first 500 characters.
"""


class FactChange(msgspec.Struct, frozen=True):
    """A fact that is there, is gone, or is another one than before.

    :arg before: None if it is a new one.
    :arg after: None if it is gone. Of the same kind and id as `before`.
    :arg watermark: Of a new fact: newest event time in the partition of its own event, itself included. Of another one:
        that of the event that brought the change about, or the one that the fact was told with last if that is newer.
        What is older by more than the horizon does not change any more.
    """

    before: Fact | None
    after: Fact | None
    watermark: int


class Frontier(msgspec.Struct, frozen=True):
    """Everything before `time` has come, as far as is known.

    Every partition has been read up to there, and what was read has gone through all steps.

    :arg turn: Which of the slices of state it is for, where it is told to one after the other.
    """

    time: int
    turn: int = 0


class TooLate(msgspec.Struct, frozen=True):
    """How many events came so late that KPIs do not change any more.

    :arg id: Names the batch, so that it is counted once.
    """

    id: str
    stream: str
    partition: str
    time: int
    count: int


class KpiValue(msgspec.Struct, frozen=True):
    """What a KPI is in one window, for one group.

    :arg window: The window's specification, such as `1m`, `1h/5m`, `session:30m`.
    :arg start: Begin of the window, included.
    :arg end: End of the window, not included; of a session, its last event plus one.
    :arg group: The dimensions grouped by, in the order of the settings, with their values; empty for the total.
    :arg value: None where there is none, as the mean of nothing.
    :arg count: How many facts it is of; 0: none any more, the row goes.
    :arg late: How many of the changes came after the window was over and its allowed lateness had gone by.
    :arg examples: Ids of facts, for aggregates that name some.
    :arg watermark: Newest event time of what brought the change about.
    """

    kpi: str
    window: str
    start: int
    end: int
    group: tuple[tuple[str, str], ...]
    value: float | None
    count: int
    late: int = 0
    examples: tuple[str, ...] = ()
    watermark: int = 0

    @property
    def series(self) -> str:
        """KPI, window's specification and group as one text."""
        return series_of(self.kpi, self.window, self.group)


def series_of(kpi: str, window: str, group: tuple[tuple[str, str], ...]) -> str:
    """Return what names the series of a KPI for one group and kind of window."""
    return msgspec.json.encode([kpi, window, *group]).decode()
