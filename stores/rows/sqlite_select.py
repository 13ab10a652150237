"""Row queries in SQLite: what `Condition` and `RowQuery` say, as SQL over images.

A column's value is compared as what it is, to the last digit and letter: where SQLite's own values are not as exact as
the image's text, as with long decimals or a NUL within a text, the text decides.
"""

from __future__ import annotations

import math
import operator
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from stores.rows.base import GONE, Comparison, Condition, RowQuery
from stores.rows.sqlite_image import json_path, member
from stores.rows.sqlite_schema import COLUMNS, key_value, literal, row_table, value

_EXACT = 2**53
_NUMBER_BEGINS = "-0123456789"
_COMPARE: dict[Comparison, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# By a float's or a long number's first digits alone only that much can be told.
_ROUGH = {"=": "=", "!=": "=", "<": "<=", "<=": "<=", ">": ">=", ">=": ">="}
_decode = msgspec.json.Decoder(str).decode


def register(db: sqlite3.Connection) -> None:
    """Give a connection the functions that queries use."""
    db.create_function("headrace_numbers", 3, _numbers, deterministic=True)
    db.create_function("headrace_contains", 2, _contains, deterministic=True)


def select(query: RowQuery) -> tuple[str, list[object]]:
    """Return the statement that `query` stands for, and its parameters."""
    fresh = None if query.fresh_since is None else f"as_of >= {query.fresh_since:d}"
    image = "image" if fresh is None else f"CASE WHEN {fresh} THEN image END"
    where, values = [f"state <> {GONE}"], list[object]()
    for condition in query.where:
        text, parameters = _condition(condition, _Seen.of(condition.column, fresh))
        where.append(f"({text})")
        values += parameters
    if query.any_of:
        each = [_condition(condition, _Seen.of(condition.column, fresh)) for condition in query.any_of]
        where.append(f"({' OR '.join(f'({text})' for text, _ in each)})")
        values += [parameter for _, parameters in each for parameter in parameters]
    statement = (
        f"SELECT {', '.join(COLUMNS[:-1])}, {image} FROM {row_table(query.table)}"  # noqa: S608  # names and literals that are quoted
        f" WHERE {' AND '.join(where)} ORDER BY {_order(query, fresh)} LIMIT ?"
    )
    return statement, [*values, max(query.limit, 0)]


class _Seen(NamedTuple):
    """Expressions for a column: its value, its JSON type, its JSON text."""

    value: str
    type: str
    text: str

    @classmethod
    def of(cls, column: str, fresh: str | None) -> _Seen:
        path = literal(json_path(member(column)))
        type_, text = f"json_type(image, {path})", f"(image -> {path})"
        if fresh is None:
            return cls(value(column), type_, text)
        past = key_value(column)
        past_type, past_text = (past, past)
        if past != "NULL":
            key_path = literal(json_path(column))
            past_type = f"CASE WHEN json_valid(key) THEN json_type(key, {key_path}) END"
            past_text = f"CASE WHEN json_valid(key) THEN key -> {key_path} END"
        both = (
            f"CASE WHEN {fresh} THEN {now} ELSE {then} END"
            for now, then in ((value(column), past), (type_, past_type), (text, past_text))
        )
        return cls(*both)


def _condition(condition: Condition, seen: _Seen) -> tuple[str, list[object]]:
    comparison, wanted = condition.comparison, condition.value
    if wanted is None:
        if comparison not in {"=", "!="}:
            return "0", []
        return f"coalesce({seen.type}, 'null') {comparison} 'null'", []
    if isinstance(wanted, bool):
        met, values = _truth(comparison, wanted, seen)
    elif isinstance(wanted, str):
        met, values = _text(comparison, wanted, seen)
    else:
        met, values = _number(comparison, wanted, seen)
    return (f"NOT coalesce({met}, 0)" if comparison == "!=" else met), values


def _truth(comparison: Comparison, wanted: bool, seen: _Seen) -> tuple[str, list[object]]:
    if comparison == "~":
        return "0", []
    sign = "=" if comparison == "!=" else comparison
    return f"{seen.type} IN ('true', 'false') AND {seen.value} {sign} ?", [int(wanted)]


def _text(comparison: Comparison, wanted: str, seen: _Seen) -> tuple[str, list[object]]:
    if comparison == "~":
        return f"headrace_contains({seen.text}, ?)", [wanted.lower()]
    is_text = f"{seen.type} = 'text'"
    if comparison not in {"=", "!="}:
        return f"{is_text} AND {seen.value} {comparison} ?", [wanted]
    written = msgspec.json.encode(wanted).decode()
    if "\0" in wanted:  # SQLite's value of the column ends there
        return f"{is_text} AND {seen.text} = ?", [written]
    return f"{is_text} AND {seen.value} = ? AND {seen.text} = ?", [wanted, written]


def _number(comparison: Comparison, wanted: float, seen: _Seen) -> tuple[str, list[object]]:
    if comparison == "~" or math.isnan(wanted):
        return "0", []
    # A float means the decimal number that it is written as.
    number = Decimal(repr(wanted))
    met = f"headrace_numbers({seen.text}, ?, ?)"
    values: list[object] = [str(number), comparison]
    if abs(number) < _EXACT:  # what an index can help with
        return f"{seen.value} {_ROUGH[comparison]} ? AND {met}", [wanted, *values]
    return met, values


def _order(query: RowQuery, fresh: str | None) -> str:
    if not query.order:
        return "source, key"
    seen, way = _Seen.of(query.order, fresh), "DESC" if query.descending else "ASC"
    # Numbers, then truth values, then texts, then what has no order of its own; rows without the column are last.
    rank = f"""CASE {seen.type} WHEN 'integer' THEN 0 WHEN 'real' THEN 0 WHEN 'true' THEN 1 WHEN 'false' THEN 1
        WHEN 'text' THEN 2 WHEN 'object' THEN 3 WHEN 'array' THEN 3 END"""
    ranked = f"CASE WHEN {seen.type} NOT IN ('object', 'array') THEN {seen.value} END"
    return f"{rank} {way} NULLS LAST, {ranked} {way} NULLS LAST, source, key"


# Both get the JSON text of a value of any sort: SQLite does not promise to look at other conditions first.


def _numbers(text: str | None, wanted: str, comparison: Comparison) -> bool:
    if text is None or text[0] not in _NUMBER_BEGINS:
        return False
    # Comparing decimals does not round, whatever their length.
    number, other = Decimal(text), Decimal(wanted)
    return _COMPARE[comparison]((number > other) - (number < other), 0)


def _contains(text: str | None, wanted: str) -> bool:
    return text is not None and text[0] == '"' and wanted in _decode(text).lower()
