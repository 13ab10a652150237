"""KPIs in windows as one DuckDB query over all changes of facts: no order, no batches, no state.

A change counts its fact before it as -1 and the one after it as +1, in each window that has not ended longer ago than
the horizon by the change's own watermark. What is left of each contribution is what the KPI is of. Sessions are the
usual gaps and islands over the moments at which anything is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from events.kpis import FactChange
from operators.feedback.rules import Condition, KpiRule, Limits, WindowRule

Row = tuple[float | None, int, int, tuple[str, ...], int]
"""Value, count, late changes, examples, end."""
Key = tuple[str, str, int, tuple[tuple[str, str], ...]]
"""KPI, window, begin, group."""


class Written(NamedTuple):
    """A condition as the operator has it, and as SQL has it."""

    condition: Condition
    sql: str


CONDITIONS = (
    Written(Condition("bad", "is", (True,)), "coalesce(bad, false)"),
    Written(Condition("bad", "known", (True,)), "bad IS NOT NULL"),
    Written(Condition("latency", "above", (200,)), "coalesce(latency > 200, false)"),
    Written(Condition("latency", "at_most", (200.0,)), "coalesce(latency <= 200, false)"),
    Written(Condition("latency", "known", (False,)), "latency IS NULL"),
    Written(Condition("topic", "is", ("fares", "refunds")), "coalesce(topic IN ('fares', 'refunds'), false)"),
    Written(Condition("topic", "not", ("fares",)), "coalesce(topic <> 'fares', false)"),
    Written(Condition("documents", "is", ("d1",)), "coalesce(list_contains(documents, 'd1'), false)"),
    Written(Condition("documents", "not", ("d1",)), "documents IS NOT NULL AND NOT list_contains(documents, 'd1')"),
)

GROUPS = {
    "topic": "[coalesce(topic, '')]",
    "bad": "[CASE WHEN bad THEN 'true' WHEN NOT bad THEN 'false' ELSE '' END]",
    "documents": "CASE WHEN len(documents) > 0 THEN list_distinct(documents) ELSE [''] END",
}

SCHEMA = pa.schema(
    [
        ("seq", pa.int64()),
        ("sign", pa.int64()),
        ("id", pa.string()),
        ("time", pa.int64()),
        ("watermark", pa.int64()),
        ("topic", pa.string()),
        ("documents", pa.list_(pa.string())),
        ("latency", pa.float64()),
        ("person", pa.string()),
        ("bad", pa.bool_()),
    ]
)

# What one contribution is: equal contributions of the same change cancel, and count as no change at all.
_PART = {
    "count": "1",
    "rate": "1",
    "sum": "CAST(latency AS DECIMAL(28, 9))",
    "mean": "CAST(latency AS DECIMAL(28, 9))",
    "min": "latency",
    "max": "latency",
    "quantile": "latency",
    "top": "CASE WHEN latency IS NOT NULL THEN {{'score': latency, 'id': id}} END",
    "distinct": "CASE WHEN person IS NULL THEN NULL ELSE [person] END",
    "distinct documents": "CASE WHEN len(documents) > 0 THEN list_sort(list_distinct(documents)) END",
    "share": "CASE WHEN {known} THEN CAST({hit} AS INTEGER) END",
}

_VALUE = {
    "count": "sum(n)",
    "rate": "sum(n) * 1000 / greatest(any_value(upto) - start, 1000)",
    "sum": "sum(n * part)",
    "mean": "CAST(sum(n * part) AS DOUBLE) / sum(n)",
    "share": "CAST(sum(n * part) AS DOUBLE) / sum(n)",
    "min": "min(part) FILTER (n > 0)",
    "max": "max(part) FILTER (n > 0)",
    "top": "sum(n)",
    "distinct": "count(*)",
    "quantile": "min(part) FILTER (rank >= {quantile}::DECIMAL(6, 3) * total)",
}
_SOURCE = {
    "distinct": "(SELECT start, grp, v FROM (SELECT start, grp, n, unnest(part) AS v FROM parts) "
    "GROUP BY ALL HAVING sum(n) > 0)",
    "quantile": "(SELECT *, row_number() OVER (PARTITION BY start, grp ORDER BY part) AS rank, "
    "count(*) OVER (PARTITION BY start, grp) AS total "
    "FROM (SELECT start, grp, part, unnest(range(n)) FROM parts WHERE n > 0))",
}

_QUERY = """
WITH counted AS (
    SELECT seq, sign, time, watermark, grp, {part} AS part
    FROM (SELECT *, {groups} FROM changes) WHERE {where}
), placed AS (
    SELECT seq, sign, watermark, grp, part, {start} AS start FROM counted WHERE part IS NOT NULL
), allowed AS (
    SELECT *, start + {over} + {lateness} <= watermark AS late FROM placed
    WHERE start + {size} > watermark - {horizon}
), changed AS (
    SELECT seq, start, grp, part, any_value(late) AS late, sum(sign) AS n
    FROM allowed GROUP BY seq, start, grp, part HAVING sum(sign) <> 0
), remaining AS (
    SELECT start, grp, part, sum(n)::INTEGER AS n FROM changed GROUP BY start, grp, part HAVING sum(n) <> 0
), lates AS (
    SELECT start, grp, count(DISTINCT seq) AS late FROM changed WHERE late GROUP BY start, grp
), live AS (
    SELECT start, grp FROM remaining GROUP BY start, grp HAVING sum(n) > 0
), spans AS (
    {spans}
), parts AS (
    SELECT w.start, w.upto, w.grp, r.part, sum(r.n)::INTEGER AS n
    FROM spans w
    JOIN remaining r ON r.grp = w.grp AND r.start BETWEEN w.start AND w.last
    JOIN live ON live.start = r.start AND live.grp = r.grp
    GROUP BY w.start, w.upto, w.grp, r.part
), counts AS (
    SELECT start, grp, sum(n) AS count FROM parts GROUP BY start, grp
), named AS (
    SELECT start, grp, {examples} AS examples FROM parts GROUP BY start, grp
), late_in AS (
    SELECT w.start, w.grp, sum(l.late) AS late
    FROM spans w JOIN lates l ON l.grp = w.grp AND l.start BETWEEN w.start AND w.last
    GROUP BY w.start, w.grp
), valued AS (
    SELECT start, grp, {value} AS value FROM {source} GROUP BY start, grp
)
SELECT w.start, w.upto, w.grp, {otherwise}, counts.count::INTEGER, coalesce(late_in.late, 0)::INTEGER, named.examples
FROM spans w
JOIN counts USING (start, grp)
JOIN named USING (start, grp)
LEFT JOIN late_in USING (start, grp)
LEFT JOIN valued USING (start, grp)
"""

_FIXED = "SELECT start, start AS last, start + {size} AS upto, grp FROM live"
_SESSIONS = """
    SELECT min(start) AS start, max(start) AS last, max(start) + 1 AS upto, grp
    FROM (
        SELECT *, sum(begins) OVER (PARTITION BY grp ORDER BY start) AS island FROM (
            SELECT *, coalesce(start - lag(start) OVER (PARTITION BY grp ORDER BY start) > {gap}, true)::INT AS begins
            FROM live
        )
    )
    GROUP BY grp, island
"""
_EXAMPLES = "list(part.id ORDER BY part.score DESC, part.id) FILTER (n > 0)"


class Oracle:
    """Answers what KPIs are in the end; one connection for all questions."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()

    def values(self, changes: Sequence[FactChange], rules: Iterable[KpiRule], limits: Limits) -> dict[Key, Row]:
        """Return each KPI in each window that any fact is in."""
        self._connection.register("changes", pa.Table.from_pylist(list(_rows(changes)), SCHEMA))
        found: dict[Key, Row] = {}
        for rule in rules:
            for window in rule.windows:
                for by in rule.by:
                    for start, end, group, value, count, late, examples in self._ask(rule, window, by, limits):
                        key = (rule.name, window.name, start, tuple(zip(by, group, strict=True)))
                        number = None if value is None else float(value)
                        found[key] = (number, count, late, tuple((examples or [])[:5]), end)
        return found

    def _ask(self, rule: KpiRule, window: WindowRule, by: tuple[str, ...], limits: Limits) -> list[Any]:
        sql = {written.condition: written.sql for written in CONDITIONS}
        hits = [condition for condition in rule.hits if condition.comparison != "known"]
        fixed = bool(window.size)
        steps = f"range(0, {window.size}, {window.step})"
        part = _PART["distinct documents" if (rule.aggregate, rule.of) == ("distinct", "documents") else rule.aggregate]
        query = _QUERY.format(
            part=part.format(
                known=" AND ".join(f"{condition.field} IS NOT NULL" for condition in hits) or "true",
                hit=" AND ".join(f"({sql[condition]})" for condition in rule.hits),
            ),
            groups=_groups(by),
            where=" AND ".join(f"({sql[condition]})" for condition in rule.where) or "true",
            start=f"time - time % {window.step} - unnest({steps})" if fixed else "time",
            over=window.size if fixed else window.gap + 1,
            size=window.size if fixed else 1,
            lateness=limits.lateness,
            horizon=limits.horizon,
            spans=(_FIXED if fixed else _SESSIONS).format(size=window.size, gap=window.gap),
            value=_VALUE[rule.aggregate].format(quantile=rule.quantile),
            source=_SOURCE.get(rule.aggregate, "parts"),
            otherwise="coalesce(value, 0)" if rule.aggregate == "distinct" else "value",
            examples=_EXAMPLES if rule.aggregate == "top" else "CAST([] AS VARCHAR[])",
        )
        return self._connection.sql(query).fetchall()


def _groups(by: tuple[str, ...]) -> str:
    """Return columns of which `grp` is the list of the group's texts: a row for each combination."""
    if not by:
        return "CAST([] AS VARCHAR[]) AS grp"
    lists = ", ".join(GROUPS[field] for field in by)
    if len(by) == 1:
        return f"unnest([[x] FOR x IN {lists}]) AS grp"
    one, other = (GROUPS[field] for field in by)
    return f"unnest(flatten([[[x, y] FOR y IN {other}] FOR x IN {one}])) AS grp"


def _rows(changes: Iterable[FactChange]) -> Iterable[dict[str, Any]]:
    for seq, change in enumerate(changes):
        for sign, fact in ((-1, change.before), (1, change.after)):
            if fact is not None:
                fields = {name: value for name, value in fact.fields.items() if name in SCHEMA.names}
                yield {
                    "seq": seq, "sign": sign, "id": fact.id, "time": fact.time, "watermark": change.watermark, **fields,
                }  # fmt: skip
