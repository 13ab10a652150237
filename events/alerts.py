"""Something that somebody should look at, raised by a flow."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """One alert. Raised again it has the same id, so that it can be told from another one.

    :arg id: Names what it is about, such as `mass-delete/flights/29383910`.
    :arg kind: What sort of alert it is, such as `mass-delete`, `threshold`, `anomaly`.
    :arg subject: The thing concerned, such as the live table, or the series of a KPI.
    :arg text: One line for people, with the remedy.
    :arg event_time: When it happened, by the events' own time (ms since epoch).
    :arg severity: How bad it is.
    :arg state: `over` when what had been raised with the same id has come to its end.
    :arg since: Since when it has been so (ms since epoch); 0 if that is the event time.
    :arg rule: Name of the rule that raised it; empty for those that no rule of the settings raises.
    :arg expected: What the value should have been, such as `0.82 to 0.97`; empty if there is no such thing.
    :arg actual: What it is, None if there is no value.
    :arg group: Dimensions of the series, with their values.
    :arg documents: Documents that the answers behind it were given from, the most suspicious first.
    :arg rows: SQL for `headrace sql --kpis` that shows the rows behind it; empty if there are none.
    """

    id: str
    kind: str
    subject: str
    text: str
    event_time: int
    severity: Severity = "warning"
    state: Literal["raised", "over"] = "raised"
    since: int = 0
    rule: str = ""
    expected: str = ""
    actual: float | None = None
    group: dict[str, str] = {}
    documents: tuple[str, ...] = ()
    rows: str = ""
