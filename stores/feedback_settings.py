"""Settings of the feedback flow: streams, KPIs, alerts, sentiment, and what is kept how long."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from stores.alert_settings import ALERTS, AlertSettings, WebhookSettings
from stores.kpi_settings import KPIS, Groupings, KpiSettings, WindowText
from stores.sections import Section, checked_name, refuse_ours


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
