"""Settings of KPIs: which facts they count, in which windows, by what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import BeforeValidator, Field, field_validator, model_validator

from events.kpis import FIELDS, FactKind
from stores.sections import Section, checked_table

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WINDOW = re.compile(r"(\d{1,5})([smhd])(?:/(\d{1,5})([smhd]))?|session:(\d{1,5})([smhd])")
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MOST_STEPS = 1440
_NUMBERS = (int, float)
_OF_NUMBERS = {"sum", "mean", "min", "max", "quantile", "top"}
_ORDERED = {"above", "below", "at_least", "at_most"}
_KINDS: dict[type, str] = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
}

Scalar: TypeAlias = str | int | float | bool
Where: TypeAlias = dict[str, Scalar | tuple[Scalar, ...] | dict[str, Scalar | tuple[Scalar, ...]]]
"""`{ topic = "refund", latency = { above = 2000 }, model = ["a", "b"], context = { known = true } }`"""


class Window(NamedTuple):
    """A kind of window, in milliseconds; sessions have a gap only."""

    name: str
    size: int
    step: int
    gap: int = 0


def window_of(text: str) -> Window:
    """Read the specification of a window: `1m`, `1h/5m` (an hour, each five minutes) or `session:30m`.

    :raises ValueError: When it is none, or a window would begin more than 1,440 times within another.
    """
    found = _WINDOW.fullmatch(text)
    if found is None:
        message = f"{text!r} is no window; use such as '1m', '1h/5m' (sliding) or 'session:30m'"
        raise ValueError(message)
    size, unit, step, step_unit, gap, gap_unit = found.groups()
    if gap is not None:
        length = int(gap) * _UNITS[gap_unit]
        if not length:
            message = f"the gap of {text!r} is nothing; use such as 'session:30m'"
            raise ValueError(message)
        return Window(text, 0, 0, length)
    length = int(size) * _UNITS[unit]
    stride = int(step) * _UNITS[step_unit] if step is not None else length
    if not length or not stride or length % stride or length // stride > _MOST_STEPS:
        message = f"the step of {text!r} must divide its size, at most {_MOST_STEPS} times"
        raise ValueError(message)
    return Window(text, length, stride)


def _checked_window(text: str) -> str:
    window_of(text)
    return text


WindowText = Annotated[str, BeforeValidator(_checked_window)]


def _checked_groupings(value: object) -> object:
    flat = [field for field in value if isinstance(field, str)] if isinstance(value, (list, tuple)) else []
    if isinstance(value, str) or flat:
        example = value if isinstance(value, str) else flat[0]
        message = f'each grouping is a list of fields: write by = [["{example}"]]'
        raise ValueError(message)
    return value


Groupings = Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_checked_groupings)]


class KpiSettings(Section):
    """`[[feedback.kpis]]`: one KPI, by an aggregate or by SQL."""

    name: str = Field(description="its name: lower-case letters, digits and underscores")
    facts: FactKind = Field("answers", description="which facts it is of")
    where: Where = Field({}, description="only facts with these values of fields count")
    aggregate: Literal["count", "rate", "sum", "mean", "share", "min", "max", "distinct", "quantile", "top", "sql"] = (
        Field("count", description="how facts become a value; `share` needs `hits`, `sql` needs `sql`, others `of`")
    )
    of: str = Field("", description="field that is counted, summed, ...")
    hits: Where = Field({}, description="for `share`: the facts that are the share")
    quantile: float = Field(0.95, gt=0, lt=1, description="for `quantile`")
    sql: str = Field(
        "",
        max_length=10_000,
        description="for `sql`: a SELECT over `facts`, the facts of one window, that returns a value and the fields "
        "of `by`; one grouping only",
    )
    by: Groupings | None = Field(
        None, description="groupings, each a list of fields; `[]` is the total; default: `by` of [feedback]"
    )
    windows: tuple[WindowText, ...] = Field((), description="such as `1m`, `1h/5m`, `session:30m`; default: [feedback]")
    unit: str = Field("", max_length=20, description="shown beside values: `ms`, `%`, ...")
    better: Literal["", "high", "low"] = Field("", description="which values are good; colours them")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_table(value)

    @model_validator(mode="after")
    def _complete(self) -> KpiSettings:
        if self.aggregate not in {"count", "rate", "share", "sql"} and not self.of:
            message = f"the KPI {self.name!r} does not say `of` which field"
            raise ValueError(message)
        if (self.aggregate == "share") != bool(self.hits) or (self.aggregate == "sql") != bool(self.sql):
            message = f"the KPI {self.name!r}: `hits` belongs to the aggregate `share`, `sql` to `sql`"
            raise ValueError(message)
        if self.aggregate == "sql" and (any(window.startswith("session") for window in self.windows)):
            message = f"the KPI {self.name!r}: SQL is for windows of a fixed size"
            raise ValueError(message)
        if self.aggregate == "sql" and self.by is not None and len(self.by) != 1:
            message = f"the KPI {self.name!r}: SQL has one grouping, such as by = [['topic']]"
            raise ValueError(message)
        if len(set(self.by or ())) != len(self.by or ()):
            message = f"the KPI {self.name!r} names a grouping twice"
            raise ValueError(message)
        named = [self.of, *self.where, *self.hits, *(field for fields in self.by or () for field in fields)]
        known = FIELDS[self.facts]
        wrong = [name for name in named if name and name not in known and self.facts != "points"]
        wrong += [name for name in named if name and not _FIELD.fullmatch(name)]
        if wrong:
            message = f"the KPI {self.name!r}: {self.facts} have no field {wrong[0]!r}; use one of {', '.join(known)}"
            raise ValueError(message)
        for problem in (self._uncountable(), *_unfitting(self.facts, self.where), *_unfitting(self.facts, self.hits)):
            if problem:
                message = f"the KPI {self.name!r}: {problem}"
                raise ValueError(message)
        return self

    def _uncountable(self) -> str:
        """Say why the aggregate cannot be of its field; nothing if it can."""
        kind = _type_of(self.facts, self.of)
        # True counts as 1, false as 0.
        if not self.of or self.aggregate not in _OF_NUMBERS or kind in {*_NUMBERS, bool}:
            return ""
        numbers = [name for name, type_ in FIELDS[self.facts].items() if type_ in _NUMBERS]
        remedy = f"use one of {', '.join(numbers)}" if numbers else "use `count`, `share` or `distinct`"
        return f"{self.of!r} of {self.facts} is not a number, which {self.aggregate!r} needs; {remedy}"


def _type_of(facts: FactKind, field: str) -> type:
    """Return what the values of a field are; fields that points have by their labels are text."""
    return FIELDS[facts].get(field, str)


def _unfitting(facts: FactKind, where: Where) -> Iterator[str]:
    """Say which conditions no fact can fulfil, as their values are of another kind than the field's."""
    for field, said in where.items():
        kind = _type_of(facts, field)
        for comparison, value in (said if isinstance(said, dict) else {"is": said}).items():
            ordered = comparison in _ORDERED
            if ordered and kind not in _NUMBERS:
                yield f"{field!r} is {_KINDS[kind]}, so nothing is {comparison.replace('_', ' ')} anything of it"
            # What a comparison needs else is said where it is read.
            elif ordered or comparison in {"is", "not"}:
                for one in value if isinstance(value, tuple) else (value,):
                    if not _fits(one, kind):
                        yield f"{field!r} is {_KINDS[kind]}, which {one!r} is not"


def _fits(value: Scalar, kind: type) -> bool:
    if isinstance(value, str):
        return kind in {str, tuple}
    return kind is bool if isinstance(value, bool) else kind in _NUMBERS


KPIS = (
    KpiSettings(name="answers", facts="answers"),
    KpiSettings(name="users", facts="questions", aggregate="distinct", of="person"),
    KpiSettings(name="rating_mean", facts="ratings", aggregate="mean", of="score"),
    KpiSettings(
        name="thumbs_up_rate", facts="ratings", where={"scale": "thumbs"}, aggregate="share", hits={"good": True},
        better="high",
    ),
    KpiSettings(
        name="csat", facts="ratings", where={"scale": ("stars", "csat")}, aggregate="share", hits={"good": True},
        better="high",
    ),
    KpiSettings(
        name="satisfied_share", facts="comments", where={"category": {"known": True}}, aggregate="share",
        hits={"category": "satisfied"}, better="high",
    ),
    KpiSettings(
        name="dissatisfied_share", facts="comments", where={"category": {"known": True}}, aggregate="share",
        hits={"category": "dissatisfied"}, better="low",
    ),
    KpiSettings(
        name="neutral_share", facts="comments", where={"category": {"known": True}}, aggregate="share",
        hits={"category": "neutral"},
    ),
    KpiSettings(
        name="complaints", facts="comments", where={"category": "dissatisfied"}, aggregate="top", of="confidence",
        better="low",
    ),
    KpiSettings(
        name="latency_p50", facts="answers", aggregate="quantile", of="latency", quantile=0.5, unit="ms", better="low",
    ),
    KpiSettings(
        name="latency_p95", facts="answers", aggregate="quantile", of="latency", quantile=0.95, unit="ms", better="low",
    ),
    KpiSettings(name="tokens", facts="answers", aggregate="sum", of="tokens"),
    KpiSettings(name="cost", facts="answers", aggregate="sum", of="cost"),
    KpiSettings(name="rated_share", facts="answers", aggregate="share", hits={"rated": True}),
    KpiSettings(name="fallback_rate", facts="answers", aggregate="share", hits={"fallback": True}, better="low"),
    KpiSettings(
        name="bad_share", facts="answers", where={"rated": True}, aggregate="share", hits={"bad": True}, better="low",
    ),
    KpiSettings(
        name="stale_share_of_bad", facts="answers", where={"bad": True}, aggregate="share", hits={"stale": True},
        better="low",
    ),
    KpiSettings(
        name="context_lag", facts="contexts", aggregate="max", of="lag", by=(("source",),), unit="ms", better="low",
    ),
)  # fmt: skip
"""KPIs that are there without being declared."""
