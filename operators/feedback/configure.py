"""Rules made of what the settings say. What is read of them is named here, so that no operator needs the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, cast

import msgspec

from events.alerts import Severity
from events.errors import SettingsError
from events.kpis import FIELDS, FactKind
from operators.feedback.rules import (
    Aggregate,
    AlertRule,
    Comparison,
    Condition,
    KpiRule,
    Limits,
    Scalar,
    WindowRule,
)

_SECOND, _HOUR = 1_000, 3_600_000
_COMPARISONS: tuple[Comparison, ...] = ("is", "not", "above", "below", "at_least", "at_most", "known")
_ORDERED = {"above", "below", "at_least", "at_most"}

Where: TypeAlias = "Mapping[str, Scalar | tuple[Scalar, ...] | Mapping[str, Scalar | tuple[Scalar, ...]]]"
WindowOf: TypeAlias = "Callable[[str], tuple[str, int, int, int]]"
"""Reads the specification of a window: name, size, step and gap in milliseconds."""


class Objectives(msgspec.Struct, frozen=True):
    """How far behind a source may be, in milliseconds, when a context of it is shown.

    :arg by_source: Of these sources; of all others `default`.
    """

    default: float
    by_source: dict[str, float] = {}

    def of(self, source: str) -> float:
        """Return the objective of one source."""
        return self.by_source.get(source, self.default)


class KpiConfig(Protocol):
    """As `[[feedback.kpis]]` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def facts(self) -> FactKind: ...  # noqa: D102
    @property
    def where(self) -> Where: ...  # noqa: D102
    @property
    def aggregate(self) -> str: ...  # noqa: D102
    @property
    def of(self) -> str: ...  # noqa: D102
    @property
    def hits(self) -> Where: ...  # noqa: D102
    @property
    def quantile(self) -> float: ...  # noqa: D102
    @property
    def by(self) -> tuple[tuple[str, ...], ...] | None: ...  # noqa: D102
    @property
    def windows(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102


class AlertConfig(Protocol):
    """As `[[feedback.alerts]]` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def detector(self) -> Literal["anomaly", "change", "flat", "missing", "threshold"]: ...  # noqa: D102
    @property
    def severity(self) -> Severity: ...  # noqa: D102
    @property
    def kpi(self) -> str: ...  # noqa: D102
    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def window(self) -> str: ...  # noqa: D102
    @property
    def by(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def direction(self) -> Literal["both", "up", "down"]: ...  # noqa: D102
    @property
    def above(self) -> float | None: ...  # noqa: D102
    @property
    def below(self) -> float | None: ...  # noqa: D102
    @property
    def sensitivity(self) -> float: ...  # noqa: D102
    @property
    def season_hours(self) -> float: ...  # noqa: D102
    @property
    def probation(self) -> int: ...  # noqa: D102
    @property
    def least_count(self) -> int: ...  # noqa: D102
    @property
    def patience_seconds(self) -> float: ...  # noqa: D102
    @property
    def raise_after(self) -> int: ...  # noqa: D102
    @property
    def over_after(self) -> int: ...  # noqa: D102
    @property
    def cooldown_seconds(self) -> float: ...  # noqa: D102


class FeedbackConfig(Protocol):
    """As `[feedback]` has it."""

    @property
    def windows(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def by(self) -> tuple[tuple[str, ...], ...]: ...  # noqa: D102
    @property
    def alerts(self) -> Sequence[AlertConfig]: ...  # noqa: D102
    @property
    def builtin(self) -> bool: ...  # noqa: D102
    @property
    def lateness_seconds(self) -> float: ...  # noqa: D102
    @property
    def horizon_hours(self) -> float: ...  # noqa: D102
    @property
    def objectives(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def objective_seconds(self) -> float: ...  # noqa: D102
    @property
    def currency(self) -> str: ...  # noqa: D102
    def all_kpis(self) -> Sequence[KpiConfig]: ...  # noqa: D102
    def all_alerts(self) -> Sequence[AlertConfig]: ...  # noqa: D102


def limits(feedback: FeedbackConfig) -> Limits:
    """Return how late is late."""
    return Limits(round(feedback.lateness_seconds * _SECOND), round(feedback.horizon_hours * _HOUR))


def objectives(feedback: FeedbackConfig) -> Objectives:
    """Return how far behind sources may be."""
    by_source = {source: seconds * _SECOND for source, seconds in feedback.objectives.items()}
    return Objectives(feedback.objective_seconds * _SECOND, by_source)


def kpi_rules(feedback: FeedbackConfig, window_of: WindowOf) -> tuple[KpiRule, ...]:
    """Return the rules of all KPIs that are not SQL.

    :raises SettingsError: When a condition cannot be understood.
    """
    return tuple(kpi_rule(feedback, kpi, window_of) for kpi in feedback.all_kpis() if kpi.aggregate != "sql")


def kpi_rule(feedback: FeedbackConfig, kpi: KpiConfig, window_of: WindowOf) -> KpiRule:
    """Return the rule of one KPI.

    :raises SettingsError: When a condition cannot be understood.
    """
    windows = tuple(WindowRule(*window_of(text)) for text in kpi.windows or feedback.windows)
    return KpiRule(
        name=kpi.name,
        facts=kpi.facts,
        aggregate=cast("Aggregate", kpi.aggregate),
        windows=windows,
        of=kpi.of,
        where=conditions(kpi.where, f"feedback.kpis, {kpi.name}, where"),
        hits=conditions(kpi.hits, f"feedback.kpis, {kpi.name}, hits"),
        quantile=kpi.quantile,
        by=groupings(feedback, kpi),
    )


def groupings(feedback: FeedbackConfig, kpi: KpiConfig) -> tuple[tuple[str, ...], ...]:
    """Return the groupings of a KPI: its own, or of the common ones those whose fields its facts have."""
    if kpi.by is not None:
        return kpi.by
    known = FIELDS[kpi.facts]
    return tuple(dict.fromkeys(by for by in feedback.by if all(field in known for field in by)))


def conditions(where: Where, place: str) -> tuple[Condition, ...]:
    """Return what `where` says, by field.

    :arg place: Where it stands in the settings, for the error.
    :raises SettingsError: When a comparison is unknown, or its values cannot be compared.
    """
    found = []
    for field, said in where.items():
        if not isinstance(said, Mapping):
            found.append(Condition(field, "is", _values(said)))
            continue
        for comparison, value in said.items():
            values = _values(value)
            if comparison not in _COMPARISONS:
                detail = f"{place}: there is no comparison {comparison!r}"
                raise SettingsError(detail, f"use one of {', '.join(_COMPARISONS)}")
            numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
            if comparison in _ORDERED and (len(values) != 1 or not numbers):
                detail = f"{place}: {comparison!r} of {field!r} needs one number"
                raise SettingsError(detail, "correct it in headrace.toml")
            if comparison == "known" and values not in {(True,), (False,)}:
                detail = f"{place}: 'known' of {field!r} is either true or false"
                raise SettingsError(detail, "correct it in headrace.toml")
            found.append(Condition(field, comparison, values))
    return tuple(found)


def alert_rules(feedback: FeedbackConfig, window_of: WindowOf) -> tuple[AlertRule, ...]:
    """Return the rules of all alerts; those that come with Headrace as far as there is what they look at.

    :raises SettingsError: When one of the settings looks at a window or grouping that its KPI has not, or at a KPI in
        SQL, which is computed in the store when it is asked for: nobody would see its values here.
    """
    own = {alert.name for alert in feedback.alerts}
    kpis = {kpi.name: kpi for kpi in feedback.all_kpis() if kpi.aggregate != "sql"}
    in_sql = {kpi.name for kpi in feedback.all_kpis() if kpi.aggregate == "sql"}
    rules = [_context_stale(feedback, window_of)] if feedback.builtin and "context_lag" in kpis else []
    for alert in feedback.all_alerts():
        kpi = kpis.get(alert.kpi)
        if alert.metric:
            rules.append(_alert_rule(alert))
            continue
        if alert.kpi in in_sql and alert.name in own:
            detail = f"the alert {alert.name!r} looks at {alert.kpi!r}, a KPI in SQL, which has no alerts"
            raise SettingsError(detail, "let it look at a KPI that is not SQL, or at a metric")
        windows = () if kpi is None else kpi.windows or feedback.windows
        found = () if kpi is None else groupings(feedback, kpi)
        window = alert.window or next(iter(windows), "")
        if kpi is not None and window in windows and alert.by in found:
            rules.append(_alert_rule(alert, window, _unit_of(feedback, kpi), is_share=_is_share(kpi)))
        elif alert.name in own:
            detail = f"the alert {alert.name!r} looks at {alert.kpi!r} by {list(alert.by)} in windows of {window!r}"
            has = f"by {', '.join(str(list(by)) for by in found)} in windows of {', '.join(windows)}"
            raise SettingsError(detail, f"that KPI has values {has}; correct `window` or `by`")
    return tuple(rule for rule in rules if rule is not None)


def _context_stale(feedback: FeedbackConfig, window_of: WindowOf) -> AlertRule | None:
    kpi = next(kpi for kpi in feedback.all_kpis() if kpi.name == "context_lag")
    windows = sorted(kpi.windows or feedback.windows, key=lambda text: window_of(text)[1])
    fixed = [text for text in windows if window_of(text)[1]]
    if not fixed or ("source",) not in groupings(feedback, kpi):
        return None
    goals = objectives(feedback)
    return AlertRule(
        "context_stale", "threshold", "warning", "context_lag", fixed[0], ("source",), above=goals.default,
        objectives=goals.by_source, direction="up", least_count=1, probation=1, unit=_unit_of(feedback, kpi),
    )  # fmt: skip


def _is_share(kpi: KpiConfig) -> bool:
    """Tell whether values are from 0 to 1; who names a unit has another one in mind."""
    return kpi.aggregate == "share" and not kpi.unit


def _unit_of(feedback: FeedbackConfig, kpi: KpiConfig) -> str:
    return kpi.unit or (feedback.currency if kpi.of == "cost" and kpi.aggregate not in {"count", "distinct"} else "")


def _alert_rule(alert: AlertConfig, window: str = "", unit: str = "", *, is_share: bool = False) -> AlertRule:
    return AlertRule(
        name=alert.name,
        detector=alert.detector,
        severity=alert.severity,
        kpi=alert.kpi,
        window=window,
        by=alert.by,
        metric=alert.metric,
        direction=alert.direction,
        above=alert.above,
        below=alert.below,
        sensitivity=alert.sensitivity,
        season=round(alert.season_hours * _HOUR),
        probation=alert.probation,
        least_count=alert.least_count,
        patience=round(alert.patience_seconds * _SECOND),
        raise_after=alert.raise_after,
        over_after=alert.over_after,
        cooldown=round(alert.cooldown_seconds * _SECOND),
        unit=unit,
        is_share=is_share,
    )


def _values(said: Scalar | Iterable[Scalar]) -> tuple[Scalar, ...]:
    return (said,) if isinstance(said, (str, int, float, bool)) else tuple(said)
