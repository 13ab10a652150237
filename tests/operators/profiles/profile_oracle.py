"""Profiles by brute force: every rule as a comparison of two rows, every collection from the list of all activities."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from events.changes import position_text
from events.profiles import Activity, Collection, Field, RecordRow, Value
from operators.profiles.rules import ActivityRules, FieldRules


class Said(NamedTuple):
    value: Any
    as_of: int
    row: RecordRow

    def shown(self) -> Value:
        row = self.row
        return Value(self.value, row.record, position_text(row.position), self.as_of, row.applied_at)


def expected_field(rules: FieldRules, said: Sequence[Said]) -> Field | None:
    """Return the field that texts and truth values make; `said` is what rows have for it, in any order."""
    if rules.rule in {"consent", "strictest"}:
        words = {"yes": True, "granted": True, "no": False, "withdrawn": False, True: True, False: False}
        said = [one._replace(value=words[one.value]) for one in said if one.value in words]
    if not said:
        return None

    def rank(one: Said) -> int:
        return [*rules.priority, one.row.table].index(one.row.table)

    def votes(value: Any) -> int:
        return sum(_alike(one.value, value) for one in said)

    def freshest(value: Any) -> Said:
        return _first([one for one in said if _alike(one.value, value)], _is_newer)

    def merit(one: Said) -> int:
        """Return how good a value is by its rule alone: more is better."""
        if rules.rule == "priority":
            return -rank(one)
        if rules.rule == "longest":
            return len(str(one.value).strip())
        if rules.rule == "frequent":
            return votes(one.value)
        return int(rules.rule == "strictest" and one.value is False)

    def beats(one: Said, two: Said) -> bool:
        if merit(one) != merit(two):
            return merit(one) > merit(two)
        if rules.rule == "frequent" and not _alike(one.value, two.value):
            return _is_newer(freshest(one.value), freshest(two.value))
        if rules.rule == "consent" and one.as_of == two.as_of and one.value is not two.value:
            return one.value is False
        return _is_newer(one, two)

    kept: list[Said] = []
    for one in _sorted(said, beats):
        if not any(_alike(one.value, other.value) for other in kept):
            kept.append(one)
    if rules.rule == "union":
        return Field([one.value for one in kept], tuple(one.shown() for one in kept))
    return Field(kept[0].value, (kept[0].shown(),), tuple(one.shown() for one in kept[1:21]))


def expected_collection(rules: ActivityRules, activities: Sequence[Activity]) -> Collection:
    """Return what a list of activities comes to."""
    newest = sorted(sorted(activities, key=lambda one: one.record), key=lambda one: one.at, reverse=True)
    open_ = [one for one in newest if one.open]
    sums = {
        column: _thousandths(sum(int(Fraction(one.sums[column]) * 1000) for one in activities if column in one.sums))
        for column in rules.sums
    }
    return Collection(
        len(newest),
        len(open_),
        tuple(open_[:20]),
        tuple(newest[: rules.last]),
        sums,
        min((one.at for one in newest), default=None),
        max((one.at for one in newest), default=None),
    )


def _alike(one: Any, two: Any) -> bool:
    if isinstance(one, str) and isinstance(two, str):
        return one.casefold().split() == two.casefold().split()
    return type(one) is type(two) and bool(one == two)


def _is_newer(one: Said, two: Said) -> bool:
    return one.as_of > two.as_of or (one.as_of == two.as_of and one.row.record < two.row.record)


def _sorted(said: Sequence[Said], beats: Callable[[Said, Said], bool]) -> list[Said]:
    def compared(one: Said, two: Said) -> int:
        return -1 if beats(one, two) else int(beats(two, one))

    return sorted(said, key=functools.cmp_to_key(compared))


def _first(said: Sequence[Said], beats: Callable[[Said, Said], bool]) -> Said:
    return next(one for one in said if not any(beats(two, one) for two in said if two is not one))


def _thousandths(count: int) -> str:
    whole, part = divmod(abs(count), 1000)
    text = f"{whole}.{part:03}".rstrip("0").removesuffix(".")
    return f"-{text}" if count < 0 else text
