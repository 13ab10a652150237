"""What the activities of a record come to, kept up one by one: exact whatever their order, and small however many.

A summary holds the newest activities, the newest open ones and the times of the oldest, of each at least as many as are
shown: as long as that is so, one activity more or less is known without a look at the others. What it holds beyond that
depends on its history; what it shows does not.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

import msgspec

from events.changes import Row, position_text
from events.profiles import Activity, Collection, RecordRow
from operators.moments import moment_of
from operators.profiles.rules import ActivityRules

MOST_OPEN = 20
"""Open activities that a profile shows."""

_RESERVE = 10
"""Activities that a summary holds beyond those that are shown: that many may go before it has to be summed up anew."""
_OLDEST = 32
"""Times of the oldest activities that a summary holds; one is shown."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_DIGITS = 400
"""Digits on either side of the point that a number to be summed up may have."""
_EXACT = Context(prec=4 * _DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)


class Summary(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What all activities of one record in one table come to.

    :arg newest: The newest activities, newest first.
    :arg open: The newest open ones, newest first.
    :arg oldest: When the oldest happened, oldest first.
    """

    count: int = 0
    open_count: int = 0
    newest: tuple[Activity, ...] = ()
    open: tuple[Activity, ...] = ()
    oldest: tuple[int, ...] = ()
    sums: dict[str, str] = {}


def activity_of(rules: ActivityRules, row: RecordRow) -> Activity:
    """Return what a row says; its time is that of its change where its own column does not tell."""
    columns = row.row
    at = moment_of(columns.get(rules.time)) if rules.time else None
    return Activity(
        row.record,
        row.as_of if at is None else at,
        _shown(columns, rules.show),
        position_text(row.position),
        row.as_of,
        row.applied_at,
        bool(rules.open) and all(_is_one_of(columns.get(column), values) for column, values in rules.open.items()),
        {column: text for column in rules.sums for text in [decimal_text(columns.get(column))] if text is not None},
    )


def added(rules: ActivityRules, summary: Summary, activity: Activity) -> Summary:
    """Return the summary with one more activity."""
    newest = _inserted(summary.newest, summary.count, activity, max(rules.last, 1) + _RESERVE)
    open_ = summary.open
    if activity.open:
        open_ = _inserted(open_, summary.open_count, activity, MOST_OPEN + _RESERVE)
    oldest = summary.oldest
    if len(oldest) == summary.count or activity.at < oldest[-1]:
        oldest = tuple(sorted((*oldest, activity.at))[:_OLDEST])
    sums = _totals(rules, (summary.sums, activity.sums))
    return Summary(summary.count + 1, summary.open_count + activity.open, newest, open_, oldest, sums)


def removed(rules: ActivityRules, summary: Summary, activity: Activity) -> Summary | None:
    """Return the summary with one activity less, None if what it holds no longer tells.

    :arg activity: One that has been added.
    """
    count, open_count = summary.count - 1, summary.open_count - activity.open
    newest = _without(summary.newest, summary.count, activity)
    open_ = _without(summary.open, summary.open_count, activity) if activity.open else summary.open
    oldest = _without_time(summary.oldest, summary.count, activity.at)
    if newest is None or open_ is None or oldest is None or count < 0 or open_count < 0:
        return None
    if not count:
        return Summary()
    if not oldest or len(newest) < min(count, max(rules.last, 1)) or len(open_) < min(open_count, MOST_OPEN):
        return None
    gone = {column: _negative(text) for column, text in activity.sums.items()}
    return Summary(count, open_count, newest, open_, oldest, _totals(rules, (summary.sums, gone)))


def summed(rules: ActivityRules, activities: Iterable[Activity]) -> Summary | None:
    """Return the summary of activities, None without any."""
    summary = Summary()
    for activity in activities:
        summary = added(rules, summary, activity)
    return summary if summary.count else None


def combined(rules: ActivityRules, summaries: Sequence[Summary]) -> Collection:
    """Return all activities of one table that the records of a person have."""
    newest = [activity for summary in summaries for activity in summary.newest]
    open_ = [activity for summary in summaries for activity in summary.open]
    if len(summaries) > 1:
        newest.sort(key=_order)
        open_.sort(key=_order)
    return Collection(
        sum(summary.count for summary in summaries),
        sum(summary.open_count for summary in summaries),
        tuple(open_[:MOST_OPEN]),
        tuple(newest[: rules.last]),
        _totals(rules, [summary.sums for summary in summaries]),
        min((summary.oldest[0] for summary in summaries if summary.oldest), default=None),
        newest[0].at if newest else None,
    )


def decimal_text(value: object) -> str | None:
    """Return a number exactly, as decimal text without an exponent or zeros that say nothing; None if it is none.

    Numbers are int, float, Decimal and text that is one. What has more than 400 digits before or after the point is no
    number that could be summed up.
    """
    number: Decimal | None = None
    if isinstance(value, str):
        text = value.strip()
        number = Decimal(text) if len(text) <= 2 * _DIGITS and _NUMBER.fullmatch(text) else None
    elif isinstance(value, float):
        number = Decimal(repr(value))
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
    if number is None or not number.is_finite() or (number and number.adjusted() >= _DIGITS):
        return None
    return _plain(number) if _places(number) <= _DIGITS else None


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _plain(number: Decimal) -> str:
    if not number:
        return "0"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _negative(text: str) -> str:
    return text[1:] if text.startswith("-") else f"-{text}"


def _totals(rules: ActivityRules, sums: Iterable[Mapping[str, str]]) -> dict[str, str]:
    if not rules.sums:
        return {}
    totals = dict.fromkeys(rules.sums, Decimal())
    for each in sums:
        for column, text in each.items():
            if column in totals:
                totals[column] = _EXACT.add(totals[column], Decimal(text))
    return {column: _plain(total) for column, total in totals.items()}


def _order(activity: Activity) -> tuple[int, str]:
    return -activity.at, activity.record


def _inserted(held: tuple[Activity, ...], count: int, activity: Activity, most: int) -> tuple[Activity, ...]:
    """Return the newest activities with one more.

    :arg held: The newest of `count`.
    :arg most: How many are held.
    """
    place = bisect.bisect_left(held, _order(activity), key=_order)
    if place == len(held) < count:
        # Whether there are others between the last one and this is not known.
        return held
    return (*held[:place], activity, *held[place:])[:most]


def _without(held: tuple[Activity, ...], count: int, activity: Activity) -> tuple[Activity, ...] | None:
    """Return the newest activities without one; None if it is not where it has to be."""
    place = bisect.bisect_left(held, _order(activity), key=_order)
    if place < len(held) and held[place].record == activity.record:
        return (*held[:place], *held[place + 1 :])
    return held if place == len(held) < count else None


def _without_time(held: tuple[int, ...], count: int, at: int) -> tuple[int, ...] | None:
    place = bisect.bisect_left(held, at)
    if place < len(held) and held[place] == at:
        return (*held[:place], *held[place + 1 :])
    return held if place == len(held) < count else None


def _is_one_of(value: object, values: Sequence[str | int | bool]) -> bool:
    # The number 1 is not the truth value.
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def _shown(row: Row, columns: Sequence[str]) -> Row:
    shown: dict[str, Any] = {column: row[column] for column in columns if column in row} if columns else row
    return shown


_encode = msgspec.json.Encoder(decimal_format="number").encode


def _real(text: str) -> float | Decimal:
    value = float(text)
    return value if repr(value) == text or _encode(value).decode() == text else Decimal(text)


_decode = msgspec.json.Decoder(Summary, float_hook=_real).decode


def to_bytes(summary: Summary) -> bytes:
    """Write a summary as JSON, every digit of its numbers kept."""
    text = _encode(summary)
    # JSON has no word for these, and rows that have been stored have none of them.
    if b"NaN" in text or b"Infinity" in text:
        return _encode(_finite(msgspec.to_builtins(summary, builtin_types=(Decimal,))))
    return text


def from_bytes(text: bytes) -> Summary:
    """Read what `to_bytes` wrote."""
    return _decode(text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, Decimal) and not value.is_finite() else value
