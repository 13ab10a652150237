"""Settings of alerts: what is abnormal, and whom it is told to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from stores.sections import Section, checked_table


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
