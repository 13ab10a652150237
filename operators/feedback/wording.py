"""Alerts in words: one line that says what, since when, what was expected, and where to look."""

from __future__ import annotations

import hashlib
import math

from events.alerts import Alert
from events.clock import to_iso
from operators.feedback.rules import AlertRule
from operators.feedback.watch import Event

_LONGEST = 80
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_SMALL, _LARGE = 1e-4, 1e15
"""Numbers beyond these are written with a power of ten."""


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
        expected=Written(rule, *event.expected, event.actual, event.now).expected(event.expected),
        actual=event.actual,
        group=group,
    )


def text_of(rule: AlertRule, group: dict[str, str], event: Event) -> str:
    """Return the line for people."""
    what = rule.kpi or rule.metric
    of = " and ".join(f"{name} {_shown(value)}" for name, value in group.items())
    subject = _printable(f"{what} of {of}" if of else what)
    written = Written(rule, *event.expected, event.actual, event.now)
    if event.step == "over":
        was = f"{_was(rule, event, written)}, {_span(event.since, event.at)}"
        length = _length(event.at - event.since)
        return f"{subject}: over after {length} ({was}){_again(rule, event, written)} ({rule.name})"
    look = f"see `headrace kpi {rule.kpi}`" if rule.kpi else 'see `headrace sql --kpis "FROM points"`'
    return f"{subject} {_said(rule, event, written)} since {_moment(event.since)} ({rule.name}; {look})"


class Written:
    """Writes values of a KPI or a metric for people: in percent or with their unit, each other than the others.

    :arg values: Those that are named together: as many digits are shown as it takes to tell them apart.
    """

    def __init__(self, rule: AlertRule, *values: float | None) -> None:
        self._is_share = rule.is_share
        self._unit = "%" if rule.is_share else rule.unit
        self._scale = 100 if rule.is_share else 1
        # Of a share one decimal, of others four digits, and more only where they are needed.
        self._number = _decimals if rule.is_share else _digits
        distinct = {value for value in values if value is not None}
        few, most = (1, 12) if rule.is_share else (4, 17)
        enough = (
            count for count in range(few, most) if len({self._text(one, count) for one in distinct}) == len(distinct)
        )
        self._count = next(enough, most)

    def value(self, value: float | None) -> str:
        """Write one value."""
        return "nothing" if value is None else f"{self._text(value, self._count)} {self._unit}".rstrip()

    def expected(self, bounds: tuple[float | None, float | None]) -> str:
        """Write what was expected, such as `82 % to 97 %`; empty if nothing was."""
        # What lies beyond none and all of the facts is nothing that a share could be.
        low, high = (min(max(bound, 0), 1) if self._is_share and bound is not None else bound for bound in bounds)
        if low is None:
            return "" if high is None else f"at most {self.value(high)}"
        return f"at least {self.value(low)}" if high is None else f"{self.value(low)} to {self.value(high)}"

    def _text(self, value: float, count: int) -> str:
        return self._number(value * self._scale, count)


def _decimals(value: float, count: int) -> str:
    """Write a number with so many decimals, without zeros at its end."""
    text = f"{value:,.{count}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _digits(value: float, count: int) -> str:
    """Write a number with so many digits, or all of those before the point."""
    if value and not _SMALL <= abs(value) < _LARGE:
        return f"{value:.{count}g}"
    before = (
        len(str(int(abs(value)))) if abs(value) >= 1 else 0 if not value else 1 + math.floor(math.log10(abs(value)))
    )
    return _decimals(value, max(0, count - before))


def _said(rule: AlertRule, event: Event, written: Written) -> str:
    actual, expected = written.value(event.actual), written.expected(event.expected)
    if rule.detector == "missing":
        return f"is missing: nothing came for more than {_length(rule.patience)},"
    if rule.detector == "flat":
        return f"does not move: it has been {actual} for more than {_length(rule.patience)},"
    if rule.detector == "change":
        return f"has shifted: it is {actual}, and was {expected} before,"
    return f"is {actual}, expected {expected},"


def _was(rule: AlertRule, event: Event, written: Written) -> str:
    """Say what it was when the alert was raised."""
    actual, expected = written.value(event.actual), written.expected(event.expected)
    if rule.detector == "missing":
        return "nothing came"
    if rule.detector == "flat":
        return f"did not move from {actual}"
    return f"was {actual}, {'before' if rule.detector == 'change' else 'expected'} {expected}"


def _again(rule: AlertRule, event: Event, written: Written) -> str:
    if event.now is None or rule.detector == "missing":
        return ""
    again = " again" if rule.detector in {"anomaly", "threshold"} else ""
    return f"; it is {written.value(event.now)}{again}"


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


def _span(since: int, until: int) -> str:
    """Write from when to when; the day only once if it is one."""
    begin, end = _moment(since), _moment(until)
    same, day = len("2026-11-01 "), begin[: len("2026-11-01")]
    return f"{begin.removesuffix(' UTC')} to {end[same:] if end.startswith(f'{day} ') else end}"


def _length(millis: int) -> str:
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if millis >= 2 * size:
            return f"{millis / size:.0f} {unit}"
    return f"{max(0, millis) / 1000:.0f} s"
