"""How facts, KPIs and alerts lie in DuckDB: plain tables without indexes, and one view that analysts ask.

Keys are kept unique by the one writer, which removes what it writes anew: without indexes a commit costs half. A
value's stage is not stored but follows from the frontier, so that a window becomes final without being written again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from events.kpis import FACT_KINDS, FIELDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LAYOUT = 1
LABELS = "labels"
"""Column of points that has, as a map, the fields which are not known beforehand."""

_SQL_TYPES: dict[type, str] = {str: "VARCHAR", float: "DOUBLE", int: "BIGINT", bool: "BOOLEAN", tuple: "VARCHAR[]"}
_COLUMNS_OF_KPIS = {
    "kpi", "windows", "start", "until", "grouping", "groups", "value", "count", "late", "stage", "examples",
    "updated_at", "series",
}  # fmt: skip

STORE_TABLES = {
    "headrace_store": """identity VARCHAR NOT NULL, layout INTEGER NOT NULL, progress BIGINT NOT NULL, frontier BIGINT,
        lateness BIGINT NOT NULL""",
    "kpi_values": """kpi VARCHAR NOT NULL, windows VARCHAR NOT NULL, series VARCHAR NOT NULL,
        start TIMESTAMPTZ NOT NULL, until TIMESTAMPTZ NOT NULL, grouping VARCHAR NOT NULL,
        groups MAP(VARCHAR, VARCHAR) NOT NULL, value DOUBLE, count BIGINT NOT NULL, late BIGINT NOT NULL,
        examples VARCHAR[] NOT NULL, updated_at TIMESTAMPTZ NOT NULL, amended BOOLEAN""",
    "alerts": """id VARCHAR NOT NULL, kind VARCHAR NOT NULL, rule VARCHAR NOT NULL, severity VARCHAR NOT NULL,
        state VARCHAR NOT NULL, since TIMESTAMPTZ, event_time TIMESTAMPTZ NOT NULL, subject VARCHAR NOT NULL,
        text VARCHAR NOT NULL, expected VARCHAR NOT NULL, actual DOUBLE, groups MAP(VARCHAR, VARCHAR) NOT NULL,
        documents VARCHAR[] NOT NULL, "rows" VARCHAR NOT NULL, told BOOLEAN NOT NULL, updated_at TIMESTAMPTZ NOT NULL,
        raised_at TIMESTAMPTZ NOT NULL""",
    "too_late": """id VARCHAR NOT NULL, stream VARCHAR NOT NULL, partition VARCHAR NOT NULL,
        time TIMESTAMPTZ NOT NULL, count BIGINT NOT NULL""",
    "applied": """stream VARCHAR NOT NULL, partition VARCHAR NOT NULL, position BIGINT NOT NULL,
        event_time TIMESTAMPTZ, read_at TIMESTAMPTZ NOT NULL, caught_up BOOLEAN NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL, whole VARCHAR NOT NULL""",
    "pending": "kpi VARCHAR NOT NULL, windows VARCHAR NOT NULL, start TIMESTAMPTZ NOT NULL",
    "erased": "id VARCHAR NOT NULL, facts BIGINT NOT NULL",
    "definitions": """kpi VARCHAR NOT NULL, windows VARCHAR NOT NULL, grouping VARCHAR NOT NULL,
        fingerprint VARCHAR NOT NULL, since BIGINT NOT NULL""",
}
"""Tables beside those of facts, with their columns.

- `headrace_store` has one row; `frontier` and `lateness` in milliseconds.
- `kpi_values` is what the view `kpis` shows. `grouping` has the fields grouped by, with commas between. `amended`:
  whether the value has become another one when the window was final; null as false.
- `applied`: everything before `position` is in the store; `whole` is `Applied` as JSON.
- `pending`: windows of KPIs in SQL that are to be computed again.
- `erased`: how many facts each erasure has removed, by its id.
- `definitions`: what each KPI was last, and from when on it counts whole windows; `since` in milliseconds.
"""


def fact_columns(kind: str) -> dict[str, str]:
    """Return the columns of a kind of facts with their SQL types, the id and the time first."""
    columns = {"id": "VARCHAR", "time": "TIMESTAMPTZ"}
    columns |= {name: _SQL_TYPES[type_] for name, type_ in FIELDS[kind].items()}
    return columns | ({LABELS: "MAP(VARCHAR, VARCHAR)"} if kind == "points" else {})


CONVERSATIONAL = tuple(kind for kind in FACT_KINDS if "conversation" in FIELDS[kind])
"""Kinds of facts that belong to conversations."""


def tables() -> dict[str, str]:
    """Return all tables with their columns, as CREATE TABLE has them."""
    facts = {kind: ", ".join(f"{name} {type_}" for name, type_ in fact_columns(kind).items()) for kind in FACT_KINDS}
    return STORE_TABLES | facts


_GAP = """CASE WHEN starts_with(v.windows, 'session:') THEN regexp_extract(v.windows, '[0-9]+')::BIGINT
            * CASE right(v.windows, 1) WHEN 's' THEN 1000 WHEN 'm' THEN 60000 WHEN 'h' THEN 3600000 ELSE 86400000 END
            ELSE 0 END"""
"""Milliseconds for which a session goes on growing after its last event."""


IS_OVER = f"epoch_ms(v.until) + {_GAP} + s.lateness <= s.frontier"
"""Whether a row `v` of `kpi_values` is of a window that is final by the frontier of `headrace_store s`."""


def kpis_view(dimensions: Iterable[str]) -> str:
    """Return the statement that makes the view `kpis`, with a column for each field that any KPI is grouped by.

    A field that is called as another column is `by_…`.
    """
    own = [
        f"groups[{literal(name)}] AS {quoted(f'by_{name}' if name in _COLUMNS_OF_KPIS else name)}"
        for name in sorted(dimensions)
    ]
    columns = ", ".join(["v.kpi", "v.windows", "v.start", "v.until", "v.grouping", *own])
    return f"""CREATE OR REPLACE VIEW kpis AS SELECT {columns}, v.value, v.count, v.late,
        CASE WHEN s.frontier IS NULL OR NOT ({IS_OVER}) THEN 'early'
             WHEN v.late > 0 OR v.amended THEN 'corrected' ELSE 'final' END AS stage,
        v.examples, v.updated_at, v.groups, v.series
        FROM kpi_values v, headrace_store s"""  # noqa: S608  # names and literals are quoted


def arrow_schema(table: str) -> Any:
    """Return the Arrow schema of a table, as rows go into it."""
    return _arrow_schemas()[table]


_SCHEMAS: dict[str, Any] = {}


def _arrow_schemas() -> dict[str, Any]:
    if not _SCHEMAS:
        import pyarrow as pa

        types = {
            "VARCHAR": pa.string(),
            "DOUBLE": pa.float64(),
            "BIGINT": pa.int64(),
            "INTEGER": pa.int32(),
            "BOOLEAN": pa.bool_(),
            "TIMESTAMPTZ": pa.timestamp("ms", "UTC"),
            "VARCHAR[]": pa.list_(pa.string()),
            "MAP(VARCHAR, VARCHAR)": pa.map_(pa.string(), pa.string()),
        }
        for table, columns in tables().items():
            parts = [part.split() for part in columns.replace("(VARCHAR, VARCHAR)", "()").split(",")]
            _SCHEMAS[table] = pa.schema(
                [(part[0].strip('"'), types[part[1].replace("()", "(VARCHAR, VARCHAR)")]) for part in parts]
            )
    return _SCHEMAS


def is_there(db: DuckDBPyConnection, table: str) -> bool:
    """Tell whether the database has a table of this name."""
    return bool(db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]).fetchall())


def literal(text: str) -> str:
    """Write a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Write a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
