"""Facts, values and alerts as Arrow tables: the way by which everything goes into DuckDB."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from events.alerts import Alert
from events.kpis import FIELDS, Fact, KpiValue, TooLate
from stores.kpis.schema import LABELS, arrow_schema

_POINT_FIELDS = frozenset(FIELDS["points"])
_INT64 = 2**63


def facts_table(kind: str, facts: Sequence[Fact]) -> Any:
    """Return facts of one kind as the rows of its table."""
    columns: dict[str, list[Any]] = {
        "id": [fact.id for fact in facts],
        "time": [fact.time for fact in facts],
    }
    for name, type_ in FIELDS[kind].items():
        columns[name] = [_fitting(fact.fields.get(name), type_) for fact in facts]
    if kind == "points":
        columns[LABELS] = [
            [(name, str(value)) for name, value in fact.fields.items() if name not in _POINT_FIELDS] for fact in facts
        ]
    return _table(kind, columns)


def values_table(values: Sequence[KpiValue], now: int, amended: Collection[tuple[str, int]] = ()) -> Any:
    """Return values as rows of `kpi_values`.

    :arg amended: Series and begins of those that have changed when they were final.
    """
    return _table(
        "kpi_values",
        {
            "kpi": [value.kpi for value in values],
            "windows": [value.window for value in values],
            "series": [value.series for value in values],
            "start": [value.start for value in values],
            "until": [value.end for value in values],
            "grouping": [",".join(field for field, _ in value.group) for value in values],
            "groups": [list(value.group) for value in values],
            "value": [_fitting(value.value, float) for value in values],
            "count": [value.count for value in values],
            "late": [value.late for value in values],
            "examples": [list(value.examples) for value in values],
            "updated_at": [now] * len(values),
            "amended": [bool(amended) and (value.series, value.start) in amended for value in values],
        },
    )


def value_keys(values: Sequence[KpiValue]) -> Any:
    """Return what names the rows of these values, with value and count."""
    columns: dict[str, list[Any]] = {
        "series": [value.series for value in values],
        "start": [value.start for value in values],
        "value": [_fitting(value.value, float) for value in values],
        "count": [value.count for value in values],
    }
    return _part("kpi_values", columns)


def ids(names: Iterable[str]) -> Any:
    """Return ids as a table of one column."""
    return _part("alerts", {"id": list(names)})


def alerts_table(alerts: Sequence[tuple[Alert, int, bool]], now: int) -> Any:
    """Return alerts, with when each was raised first and whether it has been told, as rows of `alerts`."""
    fields = ("id", "kind", "rule", "severity", "state", "event_time", "subject", "text", "expected", "rows")
    columns: dict[str, list[Any]] = {name: [getattr(alert, name) for alert, _, _ in alerts] for name in fields}
    columns["since"] = [alert.since or None for alert, _, _ in alerts]
    columns["actual"] = [_fitting(alert.actual, float) for alert, _, _ in alerts]
    columns["groups"] = [list(alert.group.items()) for alert, _, _ in alerts]
    columns["documents"] = [list(alert.documents) for alert, _, _ in alerts]
    columns["told"] = [told for _, _, told in alerts]
    columns["updated_at"] = [now] * len(alerts)
    columns["raised_at"] = [raised_at for _, raised_at, _ in alerts]
    return _table("alerts", columns)


def late_table(late: Sequence[TooLate]) -> Any:
    """Return counts of what came too late as rows of `too_late`."""
    names = ("id", "stream", "partition", "time", "count")
    return _table("too_late", {name: [getattr(one, name) for one in late] for name in names})


def applied_table(columns: dict[str, list[Any]]) -> Any:
    """Return rows of `applied`."""
    return _table("applied", columns)


def pending_table(windows: Sequence[tuple[str, str, int]]) -> Any:
    """Return windows of KPIs in SQL, each as KPI, kind of window and begin, as rows of `pending`."""
    names = ("kpi", "windows", "start")
    return _table("pending", {name: [window[place] for window in windows] for place, name in enumerate(names)})


def definitions_table(rows: Sequence[tuple[str, str, str, str, int]]) -> Any:
    """Return KPIs, each with kind of window, grouping, fingerprint and since when, as rows of `definitions`."""
    names = ("kpi", "windows", "grouping", "fingerprint", "since")
    return _table("definitions", {name: [row[place] for row in rows] for place, name in enumerate(names)})


def _table(name: str, columns: dict[str, list[Any]]) -> Any:
    import pyarrow as pa

    schema = arrow_schema(name)
    return pa.table({field.name: _array(columns[field.name], field.type) for field in schema}, schema=schema)


def _part(name: str, columns: dict[str, list[Any]]) -> Any:
    import pyarrow as pa

    schema = arrow_schema(name)
    return pa.table({column: _array(values, schema.field(column).type) for column, values in columns.items()})


def _array(values: list[Any], type_: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values, type_)
    except UnicodeEncodeError:  # half a surrogate pair, which no text in the database can have
        return pa.array([_encodable(value) for value in values], type_)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return type(value)(map(_encodable, value)) if isinstance(value, (list, tuple)) else value


def _fitting(value: object, type_: type) -> Any:
    """Return the value if its column can hold it, else None: no fact may stop the store."""
    if isinstance(value, bool):
        return value if type_ is bool else None
    if type_ is float and isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return None
    if type_ is int and isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else None
    if type_ is tuple and isinstance(value, (tuple, list)):
        return [str(one) for one in value]
    return value if type_ is str and isinstance(value, str) else None
