"""Settings of the feedback and lake flows: streams, KPIs, alerts, sentiment, and what is kept how long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from events.kpis import FIELDS, FactKind
from stores.sections import Section, checked_name, checked_table, refuse_ours

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


class FeedbackStreamSettings(Section):
    """`[[feedback.streams]]`: one stream of conversations, ratings, comments, contexts or metric points."""

    name: str = Field(description="name of the stream on the log")
    format: Literal["auto", "headrace", "otel", "langfuse"] = Field(
        "auto", description="how its events are written; `auto` looks at each"
    )
    application: str = Field("", max_length=200, description="application of events that do not name one")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        refuse_ours(value)
        return checked_name(value)


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


class AlertSettings(Section):
    """`[[feedback.alerts]]`: when a series of a KPI or of a metric is abnormal."""

    name: str = Field(description="its name: lower-case letters, digits and underscores")
    detector: Literal["anomaly", "change", "flat", "missing", "threshold"] = "anomaly"
    severity: Literal["info", "warning", "critical"] = "warning"
    kpi: str = Field("", description="name of a KPI")
    metric: str = Field("", max_length=200, description="name of a metric, each of whose series is looked at by itself")
    window: str = Field("", description="which windows of the KPI; default: its first")
    by: tuple[str, ...] = Field((), description="which grouping of the KPI: each of its groups is looked at by itself")
    direction: Literal["both", "up", "down"] = Field("both", description="which deviations count")
    above: float | None = Field(None, allow_inf_nan=False, description="for `threshold`")
    below: float | None = Field(None, allow_inf_nan=False, description="for `threshold`")
    sensitivity: float = Field(
        4.0, gt=0, le=1000, allow_inf_nan=False, description="robust standard deviations that are too far"
    )
    season_hours: float = Field(
        0, ge=0, le=8784, allow_inf_nan=False, description="after how many hours the series repeats itself; 0: not"
    )
    probation: int = Field(20, ge=1, le=100_000, description="windows or points that are only learnt from")
    least_count: int = Field(10, ge=0, description="windows of fewer facts are not judged")
    patience_seconds: float = Field(600, gt=0, le=31_536_000, allow_inf_nan=False, description="for `flat`, `missing`")
    raise_after: int = Field(1, ge=1, le=1000, description="abnormal ones in a row before it is raised")
    over_after: int = Field(2, ge=1, le=1000, description="normal ones in a row before it is over")
    cooldown_seconds: float = Field(
        600, ge=0, le=31_536_000, allow_inf_nan=False, description="time after which the same series is raised again"
    )

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_table(value)

    @model_validator(mode="after")
    def _complete(self) -> AlertSettings:
        if bool(self.kpi) == bool(self.metric):
            message = f"the alert {self.name!r} needs either `kpi` or `metric`"
            raise ValueError(message)
        if self.detector == "threshold" and self.above is None and self.below is None:
            message = f"the alert {self.name!r} says neither `above` nor `below` what"
            raise ValueError(message)
        if self.metric and (self.by or self.window):
            message = f"the alert {self.name!r}: a metric has neither windows nor groupings"
            raise ValueError(message)
        return self


ALERTS = (
    AlertSettings(
        name="answers_turned_bad", kpi="bad_share", by=("topic",), direction="up", severity="critical",
        least_count=5, probation=10,
    ),
    AlertSettings(
        name="complaints_rose", kpi="dissatisfied_share", window="1h", by=("topic",), direction="up", least_count=20,
    ),
    AlertSettings(name="answers_slow", kpi="latency_p95", direction="up", sensitivity=6, least_count=20),
)  # fmt: skip
"""Alerts that are there without being declared, as far as their KPIs, windows and groupings are. Beside them,
`context_stale` is raised when a source of shown contexts is behind by more than its objective."""


class SentimentSettings(Section):
    """`[feedback.sentiment]`: what comments say, and what questions are about."""

    backend: Literal["classifier", "endpoint", "none"] = Field(
        "classifier", description="a small one over the embedding model, or an OpenAI-compatible chat endpoint"
    )
    examples: tuple[Path, ...] = Field((), description="JSON Lines of your own, added to those that come with Headrace")
    own_examples_only: bool = Field(False, description="leave out those that come with Headrace")
    categories: tuple[str, ...] = Field(
        ("satisfied", "dissatisfied", "neutral"), min_length=2, max_length=50, description="what a comment may be"
    )
    topics: tuple[str, ...] = Field((), max_length=200, description="default: all that the examples name")
    least_confidence: float = Field(0.5, ge=0, le=1, description="a topic that is less sure is none")
    url: str = Field("", description="of the endpoint, such as http://127.0.0.1:8000/v1")
    model: str = Field("", description="of the endpoint")
    key: SecretStr | None = Field(None, description="of the endpoint; only by variable")
    concurrency: int = Field(8, ge=1, le=256, description="requests at the same time")
    timeout_seconds: float = Field(20, gt=0, le=600, allow_inf_nan=False, description="of one request")
    attempts: int = Field(
        5, ge=1, le=20, description="how often one text is tried; while the endpoint is down, all wait and none counts"
    )
    most_requests_an_hour: int = Field(10_000, ge=0, description="a budget; what is beyond it waits")

    @field_validator("categories", "topics")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            message = "a name stands twice"
            raise ValueError(message)
        return tuple(checked_name(name) for name in value)

    @model_validator(mode="after")
    def _reachable(self) -> SentimentSettings:
        if self.backend == "endpoint" and not (self.url.startswith(("http://", "https://")) and self.model):
            message = "the backend 'endpoint' needs `url` (http:// or https://) and `model`"
            raise ValueError(message)
        return self


class WebhookSettings(Section):
    """`[feedback.webhook]`: an address that alerts are sent to."""

    url: str = Field("", description="http:// or https://; empty: none")
    key: SecretStr | None = Field(None, description="signs what is sent (HMAC-SHA256); only by variable")
    timeout_seconds: float = Field(10, gt=0, le=120, allow_inf_nan=False, description="of one attempt")
    attempts: int = Field(8, ge=1, le=50, description="how often one alert is tried, ever later")
    least: Literal["info", "warning", "critical"] = Field("warning", description="less severe alerts are not sent")

    @field_validator("url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            message = "what is given is no address; it begins with http:// or https://"  # which may be a secret
            raise ValueError(message)
        return value


class FeedbackSettings(Section):
    """`[feedback]`: the feedback flow."""

    streams: tuple[FeedbackStreamSettings, ...] = Field((), description="the streams that feedback comes from")
    windows: tuple[WindowText, ...] = Field(("1m", "1h", "1d"), min_length=1, description="of KPIs that name none")
    by: Groupings = Field(
        ((), ("topic",), ("model",)),
        description="groupings of KPIs that name none; those of fields that facts have not drop out",
    )
    builtin: bool = Field(True, description="whether there are the KPIs and alerts that come with Headrace")
    kpis: tuple[KpiSettings, ...] = Field((), description="`[[feedback.kpis]]`: KPIs of your own")
    alerts: tuple[AlertSettings, ...] = Field((), description="`[[feedback.alerts]]`: alerts of your own")
    sentiment: SentimentSettings = SentimentSettings()
    webhook: WebhookSettings = WebhookSettings()
    lateness_seconds: float = Field(
        60, ge=0, le=31_536_000, allow_inf_nan=False, description="event time after a window's end until it is final"
    )
    horizon_hours: float = Field(
        48, gt=0, le=87_840, allow_inf_nan=False, description="event time back to which anything can still change"
    )
    idle_seconds: float = Field(
        10, gt=0, le=86_400, allow_inf_nan=False, description="a partition that is quiet for so long holds nobody up"
    )
    ahead_seconds: float = Field(
        300, ge=0, le=31_536_000, allow_inf_nan=False, description="events further ahead of the clock are refused"
    )
    objectives: dict[str, float] = Field(
        {}, description="seconds that a source may be behind when its context is shown; more is stale"
    )
    objective_seconds: float = Field(60, gt=0, le=31_536_000, allow_inf_nan=False, description="of all other sources")
    currency: str = Field("EUR", max_length=10, description="of costs")
    facts_days: float = Field(90, gt=0, le=36_500, allow_inf_nan=False, description="how long facts are kept")
    kpis_days: float = Field(730, gt=0, le=36_500, allow_inf_nan=False, description="how long KPIs are kept")
    batch_size: int = Field(1000, ge=1, le=100_000, description="events that are decoded and stored at once")
    max_event_bytes: int = Field(2**20, ge=1024, description="larger events become dead letters")
    heartbeat_seconds: float = Field(
        1.0, gt=0, le=3600, allow_inf_nan=False, description="how often an idle stream confirms that it is idle"
    )

    @model_validator(mode="after")
    def _distinct(self) -> FeedbackSettings:
        for what, names in (
            ("streams", [stream.name for stream in self.streams]),
            ("KPIs", [kpi.name for kpi in self.all_kpis()]),
            ("alerts", [alert.name for alert in self.all_alerts()]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                message = f"two {what} are named {twice[0]!r}; give each its own name"
                raise ValueError(message)
        kpis = {kpi.name for kpi in self.all_kpis()}
        unknown = [alert.kpi for alert in self.alerts if alert.kpi and alert.kpi not in kpis]
        if unknown:
            message = f"an alert is of the KPI {unknown[0]!r}, which is not there; `headrace kpi` lists all"
            raise ValueError(message)
        return self

    def all_kpis(self) -> tuple[KpiSettings, ...]:
        """Return the KPIs that come with Headrace, unless one of the settings has their name, and those."""
        own = {kpi.name for kpi in self.kpis}
        return (*(kpi for kpi in KPIS if self.builtin and kpi.name not in own), *self.kpis)

    def all_alerts(self) -> tuple[AlertSettings, ...]:
        """Return the alerts that come with Headrace, unless one of the settings has their name, and those."""
        own = {alert.name for alert in self.alerts}
        return (*(alert for alert in ALERTS if self.builtin and alert.name not in own), *self.alerts)


class LakeSettings(Section):
    """`[lake]`: the lake of conversations. It reads the streams of [feedback]."""

    dir: Path | None = Field(None, description="folder of the lake; default: `lake` in the data folder")
    keep_days: float = Field(
        90, gt=0, le=36_500, allow_inf_nan=False, description="event time for which late feedback amends a conversation"
    )
    compact_every: int = Field(60, ge=1, description="commits between two compactions")
    retain_hours: float = Field(
        24, ge=0, le=87_840, allow_inf_nan=False, description="how long replaced files are kept for readers"
    )
    batch_size: int = Field(1000, ge=1, le=100_000, description="events that are taken in at once")
