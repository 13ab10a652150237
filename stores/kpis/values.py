"""Values of KPIs over those of before: absolute ones, and a final one that becomes another is told as corrected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from events.kpis import KpiValue
from stores.kpis import arrow
from stores.kpis.schema import IS_OVER
from stores.kpis.upsert import insert

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SAME = """v.series = i.series AND v.start = i.start
    AND v.start >= (SELECT min(start) FROM incoming) AND v.start <= (SELECT max(start) FROM incoming)"""


def put_values(db: DuckDBPyConnection, values: Sequence[KpiValue], now: int, *, live: bool) -> None:
    """Write values over those of the same series and begin; those with count 0 are gone.

    :arg live: Whether a final one that changes is noted.
    """
    if not values:
        return
    amended = amended_among(db, values, live=live)
    db.register("incoming", arrow.value_keys(values))
    db.execute(f"DELETE FROM kpi_values v USING incoming i WHERE {_SAME}")  # noqa: S608  # names of ours
    there = [value for value in values if value.count > 0]
    if there:
        insert(db, "kpi_values", arrow.values_table(there, now, amended))


def amended_among(db: DuckDBPyConnection, values: Sequence[KpiValue], *, live: bool) -> set[tuple[str, int]]:
    """Return series and begins of values which the store has as final and otherwise, or had once.

    Final is what was so before this commit: what readers may have seen.
    """
    ((over,),) = db.execute("SELECT frontier - lateness FROM headrace_store").fetchall()
    # What has begun after that is not over, whatever its kind of window.
    over_ones = [] if over is None else [value for value in values if value.start < over]
    if not over_ones:
        return set()
    db.register("incoming", arrow.value_keys(over_ones))
    changed = f"{IS_OVER} AND (v.value IS DISTINCT FROM i.value OR v.count <> i.count)"
    found = db.execute(
        f"""SELECT v.series, epoch_ms(v.start) FROM kpi_values v, incoming i, headrace_store s
        WHERE {_SAME} AND (v.amended OR (? AND {changed}))""",  # noqa: S608  # names of ours
        [live],
    ).fetchall()
    return set(found)
