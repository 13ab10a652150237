"""Which value of a field survives: a pure function of the rows that have one, whatever their order.

Every rule is an order of the rows, the best first, and never leaves two of them even: where a rule does not tell, the
newer value goes first, then the one of the smaller record key. Values that differ in case and blanks only are one value
in several writings; the best of them stands for all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, TypeAlias

import msgspec

from events.changes import position_text
from events.profiles import Field, RecordRow, Value
from operators.identity.rules import Columns
from operators.moments import moment_of
from operators.profiles.rules import FieldRules, Survivorship

MOST_OTHERS = 20
"""Values beside the surviving one that a field keeps."""

_GRANTED = frozenset({"true", "yes", "1", "y", "granted", "opted_in"})
_DENIED = frozenset({"false", "no", "0", "n", "denied", "withdrawn", "opted_out"})


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """What one row has for a field, and as of when it says so (ms since epoch)."""

    value: Any
    as_of: int
    row: RecordRow


Order: TypeAlias = "Callable[[Candidate], tuple[Any, ...]]"


def field_of(rules: FieldRules, rows: Sequence[RecordRow]) -> Field | None:
    """Return a field of the profile that these rows make, None if no row has a value for it."""
    return survivor(rules.rule, candidates(rules, rows), rules.priority)


def plain_fields(rows: Sequence[RecordRow]) -> dict[str, Field]:
    """Return a field for every column but those of the primary key, by name: the newest value survives."""
    found: dict[str, list[Candidate]] = {}
    for row in rows:
        key = key_columns(row.record)
        for column, value in row.row.items():
            if column not in key and _says(value):
                found.setdefault(column, []).append(Candidate(value, row.as_of, row))
    fields = {column: survivor("newest", found[column]) for column in sorted(found)}
    return {column: field for column, field in fields.items() if field is not None}


def candidates(rules: FieldRules, rows: Iterable[RecordRow]) -> list[Candidate]:
    """Return what the rows have for a field; null, an empty text and a blank one are nothing."""
    found: list[Candidate] = []
    for row in rows:
        columns = rules.columns.get(row.table)
        if columns is None or not _says(value := _value(row.row, columns)):
            continue
        said_at = rules.said_at.get(row.table)
        as_of = None if said_at is None else moment_of(row.row.get(said_at))
        found.append(Candidate(value, row.as_of if as_of is None else as_of, row))
    return found


def survivor(rule: Survivorship, found: Sequence[Candidate], priority: Sequence[str] = ()) -> Field | None:
    """Return the field by its rule, None without any candidate.

    - `newest`: the value that was said last.
    - `priority`: that of the first table that has one, tables that are not named last; within a table the newest.
    - `frequent`: the one that most records have.
    - `longest`: the one of most characters.
    - `union`: all of them, newest first, each with the newest record that has it.
    - `consent`: the newest statement, as truth value; of statements from the same time a denial.
    - `strictest`: a denial if there is any, the newest of them; else the newest grant.
    """
    if rule in {"consent", "strictest"}:
        found = [
            Candidate(said, one.as_of, one.row) for one in found for said in [statement(one.value)] if said is not None
        ]
    if not found:
        return None
    if len(found) == 1:
        only = found[0]
        return Field([only.value] if rule == "union" else only.value, (_provenance(only),))
    distinct: dict[Hashable, Candidate] = {}
    for one in sorted(found, key=_order(rule, found, priority)):
        distinct.setdefault(_same(one.value), one)
    best, *others = distinct.values()
    if rule == "union":
        every = (best, *others)
        return Field([one.value for one in every], tuple(map(_provenance, every)))
    return Field(best.value, (_provenance(best),), tuple(map(_provenance, others[:MOST_OTHERS])))


def statement(value: object) -> bool | None:
    """Return what a value says of a consent, None if it is no statement.

    Granted are true, yes, 1, y, granted and opted_in; denied are false, no, 0, n, denied, withdrawn and opted_out.
    """
    if isinstance(value, bool | int | float | Decimal):
        return bool(value) if value in (0, 1) else None
    said = value.strip().casefold() if isinstance(value, str) else ""
    if said in _GRANTED:
        return True
    return False if said in _DENIED else None


def key_columns(record: str) -> frozenset[str]:
    """Return the columns of the primary key that a record key ends with."""
    begin = record.find("/{")
    while begin >= 0:
        try:
            return frozenset(_decode_key(record[begin + 1 :]))
        except msgspec.DecodeError:
            # A table may be called so as well.
            begin = record.find("/{", begin + 1)
    return frozenset()


_decode_key = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def _newest(one: Candidate) -> tuple[Any, ...]:
    return -one.as_of, one.row.record


def _strictest(one: Candidate) -> tuple[Any, ...]:
    return one.value, *_newest(one)


def _consent(one: Candidate) -> tuple[Any, ...]:
    return -one.as_of, one.value, one.row.record


def _longest(one: Candidate) -> tuple[Any, ...]:
    return -len(_text(one.value)), *_newest(one)


def _by_priority(tables: Sequence[str]) -> Order:
    ranks = {table: rank for rank, table in reversed(list(enumerate(tables)))}
    return lambda one: (ranks.get(one.row.table, len(tables)), *_newest(one))


def _frequent(found: Sequence[Candidate]) -> Order:
    groups: dict[Hashable, tuple[int, tuple[Any, ...]]] = {}
    for one in found:
        same, newest = _same(one.value), _newest(one)
        count, before = groups.get(same, (0, newest))
        groups[same] = count + 1, min(before, newest)

    def order(one: Candidate) -> tuple[Any, ...]:
        count, newest = groups[_same(one.value)]
        return -count, newest, _newest(one)

    return order


_ORDERS: Mapping[Survivorship, Order] = {
    "newest": _newest,
    "union": _newest,
    "longest": _longest,
    "consent": _consent,
    "strictest": _strictest,
}


def _order(rule: Survivorship, found: Sequence[Candidate], priority: Sequence[str]) -> Order:
    if rule == "priority":
        return _by_priority(priority)
    return _frequent(found) if rule == "frequent" else _ORDERS[rule]


def _same(value: object) -> Hashable:
    """Return what is equal for values that count as one."""
    if isinstance(value, str):
        return "text", " ".join(value.casefold().split())
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int | Decimal):
        return "number", value
    if isinstance(value, float):
        # As it is written, so that 0.1 is the number that a Decimal of that text is.
        return "number", Decimal(repr(value))
    return "other", _encode(value)


def _value(row: Mapping[str, Any], columns: Columns) -> Any:
    if len(columns) == 1:
        return row.get(columns[0])
    return " ".join(_text(value) for column in columns for value in [row.get(column)] if _says(value))


def _says(value: object) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    # What is not finite is no number that a source could mean.
    if isinstance(value, Decimal):
        return value.is_finite()
    return isfinite(value) if isinstance(value, float) else value is not None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, Decimal) else _encode(value).decode()


def _provenance(one: Candidate) -> Value:
    row = one.row
    return Value(one.value, row.record, position_text(row.position), one.as_of, row.applied_at)
