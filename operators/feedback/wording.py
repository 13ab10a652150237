"""Alerts in words: one line that says what, since when, what was expected, and where to look."""

from __future__ import annotations

import hashlib

from events.alerts import Alert
from events.clock import to_iso
from operators.feedback.rules import AlertRule
from operators.feedback.watch import Event

_LONGEST = 80
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000


def alert_of(rule: AlertRule, series: str, group: dict[str, str], event: Event) -> Alert:
    """Return the alert of an event. The same episode of the same series has the same id, whenever it is found.

    :arg series: What names the series, as `events.kpis.series_of` or `events.feedback.Point.series` has it.
    """
    digest = hashlib.blake2b(series.encode(), digest_size=6).hexdigest()
    return Alert(
        id=f"{rule.name}/{digest}/{event.since}",
        kind=rule.detector,
        subject=series,
        text=text_of(rule, group, event),
        event_time=event.at,
        severity=rule.severity,
        state=event.step,
        since=event.since,
        rule=rule.name,
        expected=expected_of(event.expected),
        actual=event.actual,
        group=group,
    )


def text_of(rule: AlertRule, group: dict[str, str], event: Event) -> str:
    """Return the line for people."""
    what = rule.kpi or rule.metric
    of = " and ".join(f"{name} {_shown(value)}" for name, value in group.items())
    subject = _printable(f"{what} of {of}" if of else what)
    since = _moment(event.since)
    look = f"see `headrace kpi {rule.kpi}`" if rule.kpi else 'see `headrace sql --kpis "FROM points"`'
    if event.step == "over":
        now = f": it is {number(event.now)}" if event.now is not None and rule.detector != "missing" else ""
        return f"{subject}: over, after {_length(event.at - event.since)}{now} ({rule.name}, since {since})"
    return f"{subject} {_said(rule, event)} since {since} ({rule.name}; {look})"


def expected_of(bounds: tuple[float | None, float | None]) -> str:
    """Write what was expected, such as `0.82 to 0.97`; empty if nothing was."""
    low, high = bounds
    if low is None:
        return "" if high is None else f"at most {number(high)}"
    return f"at least {number(low)}" if high is None else f"{number(low)} to {number(high)}"


def number(value: float | None) -> str:
    """Write a number for people: four digits, or all of those before the point."""
    if value is None:
        return "nothing"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.4g}"  # noqa: PLR2004  # where digits get many


def _said(rule: AlertRule, event: Event) -> str:
    expected = expected_of(event.expected)
    if rule.detector == "missing":
        return f"is missing: nothing came for more than {_length(rule.patience)},"
    if rule.detector == "flat":
        return f"does not move: it has been {number(event.actual)} for more than {_length(rule.patience)},"
    if rule.detector == "change":
        return f"has shifted: it is {number(event.actual)}, and was {expected} before,"
    return f"is {number(event.actual)}, expected {expected},"


def _shown(value: str) -> str:
    text = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    return repr(text) if text != "" else "that is not known"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _moment(millis: int) -> str:
    try:
        return to_iso(millis)[:16].replace("T", " ") + " UTC"
    except (ValueError, OverflowError, OSError):
        return str(millis)


def _length(millis: int) -> str:
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if millis >= 2 * size:
            return f"{millis / size:.0f} {unit}"
    return f"{max(0, millis) / 1000:.0f} s"
