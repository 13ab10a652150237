"""The marks that Debezium puts where the source did not send a column's unchanged value.

They are written as the column's type wants it: a text, its bytes, a list of its letters' numbers. (Debezium, "Toasted
values" of the PostgreSQL connector; `unavailable.value.placeholder` at its default.)
"""

from __future__ import annotations

import base64
from typing import Any

from events.changes import Row
from operators.changes.duplicate_keys import reject_depth

MARK = "__debezium_unavailable_value"

_BYTES = MARK.encode()
_HSTORE = {MARK: MARK}
_TEXTS = frozenset(
    {
        MARK,
        base64.b64encode(_BYTES).decode(),
        base64.urlsafe_b64encode(_BYTES).decode(),
        _BYTES.hex(),
        f'{{"{MARK}":"{MARK}"}}',
    }
)
_UUID = "b68a35a7-17ad-35b3-af2a-ae46edb4545a"
"""The UUID of version 3 that is made of the mark alone, without a namespace."""
_LISTS: list[Any] = [[MARK], list(_BYTES), [_UUID]]
_POINTS = frozenset(
    base64.b64encode(bytes.fromhex(wkb)).decode()
    for wkb in (
        "0101000020E6100000000000FC83D797C1000000FC83D797C1",
        "0101000020E61000000C21E7FDFF7F66401842CEFBFF7F5640",
    )
)


def unavailable_in(row: Row) -> tuple[str, ...]:
    """Return the columns of `row`, as its event wrote it, that hold a mark in place of their value.

    :raises RejectedError: When a value is nested too deeply: here is where each is looked at.
    """
    try:
        if _TEXTS.isdisjoint(row.values()):
            return ()
    except TypeError:
        # A list or an object among the values.
        reject_depth(row)
    return tuple(column for column, value in row.items() if is_mark(value))


def is_mark(value: Any) -> bool:
    """Tell whether `value` stands for one that was not sent."""
    kind = type(value)
    if kind is str:
        return value in _TEXTS
    if kind is list:
        return value in _LISTS
    if kind is dict:
        return value == _HSTORE or (type(wkb := value.get("wkb")) is str and wkb in _POINTS)
    return False
