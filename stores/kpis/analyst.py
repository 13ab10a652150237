"""KPIs in SQL: the user's SELECT over the facts of one window, in a database of its own that holds nothing else.

What a statement does wrong, or takes too long for, is told once with its KPI's name and harms nothing else: its window
keeps what it was.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from events.errors import HeadraceError, RejectedError, SettingsError
from events.kpis import FactChange, KpiValue
from stores.feedback_settings import FeedbackSettings
from stores.kpi_settings import KpiSettings, Window, window_of
from stores.kpis.conditions import predicate
from stores.kpis.schema import arrow_schema, quoted
from stores.kpis.statement import interrupted_at, one_reading, plain, reason_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STATEMENT_SECONDS = 1.0
MOST_TIMEOUTS = 3
"""How often a KPI may take too long before it is left out: the store is to stay fresh."""
_MOST_GROUPS = 10_000
_LONGEST = 200
"""Characters of a group's text, as in windows of other KPIs."""
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "threads": "1",
    "memory_limit": "512MB",
}
_logger = logging.getLogger(__name__)


class SqlWindow(NamedTuple):
    """One window of one KPI: kind of window, and begin (ms since epoch)."""

    kpi: str
    window: str
    start: int


class Analyst:
    """Computes the KPIs in SQL that the settings have; closed with `close`.

    :raises SettingsError: When a statement cannot be run, or does not return what it must: tried on no facts at all.
    """

    def __init__(self, settings: FeedbackSettings) -> None:
        self._kpis = {kpi.name: kpi for kpi in settings.all_kpis() if kpi.aggregate == "sql"}
        self._windows = {
            name: [window for window in map(window_of, kpi.windows or settings.windows) if not window.gap]
            for name, kpi in self._kpis.items()
        }
        self._where = {
            name: predicate(kpi.facts, kpi.where, f"feedback.kpis, {name}, where") for name, kpi in self._kpis.items()
        }
        self._of_kind: dict[str, list[tuple[str, Window]]] = {}
        for name, kpi in self._kpis.items():
            self._of_kind.setdefault(kpi.facts, []).extend((name, window) for window in self._windows[name])
        self._horizon = round(settings.horizon_hours * 3_600_000)
        self._told: set[str] = set()
        self._timeouts: dict[str, int] = {}
        self._db: DuckDBPyConnection | None = None
        for kpi in self._kpis.values():
            self._check(kpi)

    def touched(self, change: FactChange) -> Iterator[SqlWindow]:
        """Return the windows that a change of a fact makes different, but for those that are over for good."""
        fact = change.after or change.before
        if fact is None or fact.kind not in self._of_kind:
            return
        times = {fact.time for fact in (change.before, change.after) if fact is not None}
        for name, window in self._of_kind[fact.kind]:
            for moment in times:
                newest = moment - moment % window.step
                for start in range(newest, moment - window.size, -window.step):
                    if start + window.size > change.watermark - self._horizon:
                        yield SqlWindow(name, window.name, start)

    def knows(self, window: SqlWindow) -> bool:
        """Tell whether the settings (still) have that KPI in that kind of window."""
        return any(known.name == window.window for known in self._windows.get(window.kpi, ()))

    def compute(
        self, db: DuckDBPyConnection, windows: Sequence[SqlWindow], seconds: float
    ) -> dict[SqlWindow, list[KpiValue] | None]:
        """Compute windows from the facts in `db`, in the order given, until `seconds` are over.

        :returns: For each window that there was time for its values; None where its statement failed.
        """
        deadline = time.monotonic() + seconds
        found: dict[SqlWindow, list[KpiValue] | None] = {}
        for place in windows:
            if time.monotonic() >= deadline:
                break
            if self._timeouts.get(place.kpi, 0) >= MOST_TIMEOUTS:
                found[place] = None
                continue
            kpi, window = self._kpis[place.kpi], window_of(place.window)
            query = f"""SELECT * FROM {kpi.facts} WHERE time >= make_timestamptz({place.start * 1000})
                AND time < make_timestamptz({(place.start + window.size) * 1000}) AND ({self._where[place.kpi]})
                ORDER BY time, id"""  # noqa: S608  # made of settings, which are checked
            facts = db.sql(query).to_arrow_table()
            try:
                found[place] = list(self._values(kpi, place, place.start + window.size, facts))
            except HeadraceError as error:
                found[place] = None
                if place.kpi not in self._told:
                    self._told.add(place.kpi)
                    _logger.warning("%s", error)
        return found

    def close(self) -> None:
        """Let go of the database. Closing twice does nothing."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _values(self, kpi: KpiSettings, place: SqlWindow, end: int, facts: Any) -> Iterable[KpiValue]:
        if not facts.num_rows:
            return
        fields = _grouping(kpi)
        counts = _counts(facts, fields)
        seen: set[tuple[tuple[str, str], ...]] = set()
        for row in self._run(kpi, facts):
            group = tuple((field, _text(row.get(field))) for field in fields)
            if group in seen:
                detail = f"the KPI {kpi.name!r}: its SQL returns the same group twice: {dict(group)}"
                raise RejectedError(detail, "group by all fields of `by`")
            seen.add(group)
            count = row.get("count")
            yield KpiValue(
                kpi.name,
                place.window,
                place.start,
                end,
                group,
                _number(row["value"]),
                count if isinstance(count, int) and count > 0 else counts.get(group, facts.num_rows),
            )

    def _run(self, kpi: KpiSettings, facts: Any) -> list[dict[str, Any]]:
        import duckdb

        db = self._sandbox()
        db.register("facts", facts)
        try:
            statement = one_reading(db, kpi.sql)
            with interrupted_at(db, time.monotonic() + STATEMENT_SECONDS):
                reader = db.sql(statement).to_arrow_reader(_MOST_GROUPS)
                batches = [batch for _, batch in zip(range(2), reader, strict=False)]
            rows = [row for batch in batches for row in batch.to_pylist()]
        except duckdb.InterruptException:
            self._timeouts[kpi.name] = self._timeouts.get(kpi.name, 0) + 1
            detail = f"the KPI {kpi.name!r}: its SQL took longer than {STATEMENT_SECONDS:g} s for one window"
            hint = (
                f"make it simpler, or its windows smaller; after {MOST_TIMEOUTS} times it is left out until a restart"
            )
            raise RejectedError(detail, hint) from None
        except (duckdb.Error, OSError, UnicodeError, ValueError, OverflowError) as error:
            detail = f"the KPI {kpi.name!r}: its SQL cannot be run: {reason_of(error)}"
            raise RejectedError(detail, "correct `sql` in headrace.toml") from None
        except RejectedError as error:
            detail = f"the KPI {kpi.name!r}: {error.detail}"
            raise RejectedError(detail, error.hint) from None
        finally:
            db.unregister("facts")
        if len(rows) > _MOST_GROUPS:
            detail = f"the KPI {kpi.name!r}: its SQL returns more than {_MOST_GROUPS} groups for one window"
            raise RejectedError(detail, "group by fewer values")
        return rows

    def _check(self, kpi: KpiSettings) -> None:
        import duckdb
        import pyarrow as pa

        wanted = {"value", *_grouping(kpi)}
        try:
            self._run(kpi, arrow_schema(kpi.facts).empty_table())
            db = self._sandbox()
            db.register("facts", arrow_schema(kpi.facts).empty_table())
            schema = db.sql(one_reading(db, kpi.sql)).to_arrow_reader().schema
            db.unregister("facts")
        except (HeadraceError, duckdb.Error) as error:
            detail = error.detail if isinstance(error, HeadraceError) else reason_of(error)
            columns = ", ".join(map(quoted, arrow_schema(kpi.facts).names))
            raise SettingsError(detail, f"correct `sql` in headrace.toml; `facts` has {columns}") from None
        missing = wanted - set(schema.names)
        if missing:
            detail = f"the KPI {kpi.name!r}: its SQL returns no column {min(missing)!r}"
            raise SettingsError(detail, f"it must return {', '.join(sorted(wanted))}")
        type_ = schema.field("value").type
        numeric = (
            pa.types.is_integer(type_)
            or pa.types.is_floating(type_)
            or pa.types.is_decimal(type_)
            or pa.types.is_boolean(type_)
        )
        if not numeric and not pa.types.is_null(type_):
            detail = f"the KPI {kpi.name!r}: the value that its SQL returns is {type_}, not a number"
            raise SettingsError(detail, "cast it to DOUBLE")

    def _sandbox(self) -> DuckDBPyConnection:
        if self._db is None:
            import duckdb

            self._db = duckdb.connect(":memory:", config=dict(_CONFIG))
            self._db.execute("SET TimeZone = 'UTC'")
            self._db.execute("SET enable_progress_bar = false")
            self._db.execute("SET lock_configuration = true")
        return self._db


def _grouping(kpi: KpiSettings) -> tuple[str, ...]:
    return kpi.by[0] if kpi.by else ()


def _counts(facts: Any, fields: Sequence[str]) -> dict[tuple[tuple[str, str], ...], int]:
    """Return how many facts each group has, if the fields grouped by are columns of single values; else nothing."""
    import pyarrow as pa

    schema = facts.schema
    if not fields or any(field not in schema.names or pa.types.is_nested(schema.field(field).type) for field in fields):
        return {}
    found: dict[tuple[tuple[str, str], ...], int] = {}
    for row in facts.group_by(list(fields)).aggregate([([], "count_all")]).to_pylist():
        group = tuple((field, _text(row[field])) for field in fields)
        found[group] = found.get(group, 0) + row["count_all"]
    return found


def _number(value: Any) -> float | None:
    try:
        number = None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is None or math.isfinite(number) else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(plain(value))[:_LONGEST]
