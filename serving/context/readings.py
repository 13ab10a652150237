"""Values as conditions on a column: a name in a question is a text, its column may hold numbers, or moments of a day.

A value that a column cannot have gives no condition; where it is not known what a column holds, each reading gives one.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TypeAlias

from serving.context.dates import next_day
from stores.rows.base import Condition

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_LONGEST_NUMBER = 300
_NUMBERS = {"int", "float", "decimal"}

Conditions: TypeAlias = "tuple[Condition, ...]"
"""All of them hold."""


def readings(column: str, value: str | float | Decimal, kind: str) -> list[Conditions]:
    """Return the conditions by which a column of a kind has a value: none if it cannot have it, several if it is open.

    A day is fulfilled by all moments of it.
    """
    found: list[Conditions] = []
    if isinstance(value, bool):
        return [] if kind == "text" or kind in _NUMBERS else [(Condition(column, "=", value),)]
    text = value if isinstance(value, str) else _written(value)
    if kind not in _NUMBERS and kind != "bool":
        following = next_day(text)
        day = (Condition(column, ">=", text), Condition(column, "<", following)) if following else None
        found.append(day or (Condition(column, "=", text),))
    if kind not in {"text", "bool"}:
        number = _number(value)
        if number is not None:
            found.append((Condition(column, "=", number),))
    if kind == "bool" and text in {"true", "false"}:
        found.append((Condition(column, "=", text == "true"),))
    return found


def _number(value: str | float | Decimal) -> int | float | None:
    """Return a number as conditions take it; None if it is none, or they cannot hold all its digits."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        found = _NUMBER.fullmatch(value)
        if found is None:
            return None
        if not found[2]:
            return int(value) if len(value) <= _LONGEST_NUMBER else None
    rounded = float(value)
    return rounded if Decimal(repr(rounded)) == Decimal(value) else None


def _written(number: float | Decimal) -> str:
    return (
        str(number)
        if isinstance(number, int)
        else f"{Decimal(repr(number) if isinstance(number, float) else number):f}"
    )
