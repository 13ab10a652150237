"""Conditions of the settings as SQL: the same facts pass them here as in the operators.

A field that is null passes `known = false` only; a value of another type than the field's is never equal to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from events.errors import SettingsError
from events.kpis import FIELDS
from stores.kpi_settings import Scalar, Where
from stores.kpis.schema import LABELS, literal

_SIGNS = {"above": ">", "below": "<", "at_least": ">=", "at_most": "<="}


def predicate(kind: str, where: Where, place: str) -> str:
    """Return an SQL condition that facts of this kind fulfil if they pass `where`; `true` if there is none.

    :arg place: Where it stands in the settings, for the error.
    :raises SettingsError: When a comparison is unknown, or its values cannot be compared.
    """
    parts: list[str] = []
    for field, said in where.items():
        comparisons = said if isinstance(said, Mapping) else {"is": said}
        for comparison, value in comparisons.items():
            values = value if isinstance(value, tuple) else (value,)
            parts.append(_part(kind, field, comparison, values, place))
    return " AND ".join(parts) or "true"


def column_of(kind: str, field: str) -> str:
    """Return the SQL expression of a field."""
    return field if field in FIELDS[kind] else f"{LABELS}[{literal(field)}]"


def _part(kind: str, field: str, comparison: str, values: tuple[Scalar, ...], place: str) -> str:
    column, type_ = column_of(kind, field), FIELDS[kind].get(field, str)
    if comparison == "known":
        return f"{column} IS {'NOT ' if values == (True,) else ''}NULL"
    if comparison in _SIGNS:
        (value, *others) = values
        if others or isinstance(value, (bool, str)):
            detail = f"{place}: {comparison!r} of {field!r} needs one number"
            raise SettingsError(detail, "correct it in headrace.toml")
        return f"{column} {_SIGNS[comparison]} {value!r}" if type_ in {int, float} else "false"
    if comparison not in {"is", "not"}:
        detail = f"{place}: there is no comparison {comparison!r}"
        raise SettingsError(detail, f"use one of is, not, known, {', '.join(_SIGNS)}")
    fitting = ", ".join(_literal(value) for value in values if _fits(value, type_))
    if type_ is tuple:
        among = f"list_has_any({column}, [{fitting}]::VARCHAR[])"
    else:
        among = f"{column} IN ({fitting})" if fitting else "false"
    return among if comparison == "is" else f"{column} IS NOT NULL AND NOT {among}"


def _fits(value: Scalar, type_: type) -> bool:
    if isinstance(value, str):
        return type_ in {str, tuple}
    return type_ is bool if isinstance(value, bool) else type_ in {int, float}


def _literal(value: Scalar) -> str:
    return literal(value) if isinstance(value, str) else repr(value).lower() if isinstance(value, bool) else repr(value)
