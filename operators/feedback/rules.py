"""What KPIs and alerts need to know: which facts count, how, in which windows; what is abnormal."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from events.alerts import Severity
from events.kpis import FactKind

Comparison = Literal["is", "not", "above", "below", "at_least", "at_most", "known"]
Aggregate = Literal["count", "rate", "sum", "mean", "share", "min", "max", "distinct", "quantile", "top"]
Scalar: TypeAlias = "str | int | float | bool"


class Condition(msgspec.Struct, frozen=True):
    """A test of one field. A field that is None or missing passes `known: false` only.

    :arg values: For `is` and `not` one of them; a field of several values `is` one if any of its values is.
    """

    field: str
    comparison: Comparison
    values: tuple[Scalar, ...]


class WindowRule(msgspec.Struct, frozen=True):
    """How event time is cut into windows. All in milliseconds; windows are aligned to 1970-01-01 UTC.

    :arg name: As it stands in the settings: `1m`, `1h/5m`, `session:30m`.
    :arg size: Length of a window; 0 for sessions.
    :arg step: From the begin of one to the begin of the next; as long as `size` for tumbling windows, 0 for sessions.
    :arg gap: A session is over when nothing has come for so long: two events belong to one session if they are not
        more than this apart; 0 for other windows.
    """

    name: str
    size: int
    step: int
    gap: int = 0


class KpiRule(msgspec.Struct, frozen=True):
    """One KPI.

    :arg facts: Which facts it is of.
    :arg where: Only facts that pass all of these count.
    :arg aggregate: `count`; `rate`: count per second of the window; `sum`, `mean`, `min`, `max`, `quantile` of the
        numbers in `of` (None does not count); `share`: of the facts whose fields in `hits` are known, those that pass
        `hits`; `distinct`: how many different values of `of`; `top`: how many, naming those with the highest `of`.
    :arg of: Field; empty for `count`, `rate` and `share`.
    :arg hits: For `share`.
    :arg quantile: For `quantile`, between 0 and 1.
    :arg by: Groupings, each a tuple of fields; `()` is the total. A fact falls into one group of each grouping, a
        field of several values into one for each of them; what is not known is grouped as the empty text.
    """

    name: str
    facts: FactKind
    aggregate: Aggregate
    windows: tuple[WindowRule, ...]
    of: str = ""
    where: tuple[Condition, ...] = ()
    hits: tuple[Condition, ...] = ()
    quantile: float = 0.5
    by: tuple[tuple[str, ...], ...] = ((),)


class Limits(msgspec.Struct, frozen=True):
    """How late is late, in milliseconds of event time.

    :arg lateness: A window is final when the frontier is past its end by this.
    :arg horizon: How far back anything can still change: an event older than its partition's newest by more than this
        is too late; a rating belongs to its answer only if they are not further apart; a window that ended longer ago
        than this, by the watermark of what would change it, stays as it is.
    """

    lateness: int = 60_000
    horizon: int = 172_800_000


class AlertRule(msgspec.Struct, frozen=True):
    """When a series is abnormal. One of `kpi` and `metric` is given.

    :arg kpi: Name of a KPI; with `window` and `by`, which of its series.
    :arg metric: Name of a metric: each of its series, point by point.
    :arg detector: `anomaly`: far from what the series' own past, by season if it has one, lets expect; `change`: its
        level has shifted for good; `flat`: it does not move any more; `missing`: nothing came for longer than
        `patience`; `threshold`: above or below a fixed value.
    :arg direction: Which deviations count.
    :arg above: For `threshold`; None: no upper bound.
    :arg below: For `threshold`; None: no lower bound.
    :arg objectives: For `threshold`: upper bounds by value of the first field of `by`, where they differ from `above`.
    :arg sensitivity: For `anomaly` and `change`: how many robust standard deviations are too far.
    :arg season: Milliseconds after which the series repeats itself; 0 for none.
    :arg probation: Windows or points that are only learnt from.
    :arg least_count: Windows of fewer facts are not judged.
    :arg patience: For `flat` and `missing`, milliseconds of event time.
    :arg raise_after: Abnormal windows or points in a row before the alert is raised.
    :arg over_after: Normal ones in a row before it is over.
    :arg cooldown: Milliseconds of event time within which the same series is not raised again after it was over.
    :arg unit: Of the values, such as `ms`; for people.
    :arg is_share: Whether the values are shares of 1, which people read in percent.
    """

    name: str
    detector: Literal["anomaly", "change", "flat", "missing", "threshold"]
    severity: Severity = "warning"
    kpi: str = ""
    window: str = ""
    by: tuple[str, ...] = ()
    metric: str = ""
    direction: Literal["both", "up", "down"] = "both"
    above: float | None = None
    below: float | None = None
    objectives: dict[str, float] = {}
    sensitivity: float = 4.0
    season: int = 0
    probation: int = 20
    least_count: int = 10
    patience: int = 600_000
    raise_after: int = 1
    over_after: int = 2
    cooldown: int = 600_000
    unit: str = ""
    is_share: bool = False
