"""The read side of the lake: the newest commit, whoever writes meanwhile; an absent lake is empty.

DuckDB reads the table's files as Parquet. What a reader has begun to read stays on the disk for as long as the settings
keep replaced files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from events.clock import to_iso
from stores.lake.delta import check, check_folder, relation, told
from stores.lake.schema import PARTITION, schema

if TYPE_CHECKING:
    import duckdb

BATCH = 1_000


class LakeSize(msgspec.Struct, frozen=True):
    """How large the lake is.

    :arg first: Its first day, as `2026-11-01`; None if it is empty.
    :arg committed_at: When it was last written to (ms since epoch); None if never.
    """

    rows: int = 0
    days: int = 0
    files: int = 0
    size: int = 0
    version: int = 0
    first: str | None = None
    last: str | None = None
    committed_at: int | None = None


class LakeReader:
    """Reads the lake.

    :arg folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self) -> int:
        """Return how many conversations there are."""
        return self.size().rows

    def rows(
        self,
        since: int | None = None,
        until: int | None = None,
        *,
        columns: Sequence[str] = (),
        batch_size: int = BATCH,
    ) -> Iterator[Any]:
        """Yield conversations as batches of pyarrow, in the order of their begin, all of one commit.

        :arg since: Those that began then or later (ms since epoch); None: from the first one on.
        :arg until: Those that began before then; None: to the last.
        :arg columns: Only these of `stores/lake/schema.py`; default: all.
        :raises StoreError: When there is something else than a lake, or it cannot be read.
        """
        import duckdb
        import pyarrow as pa

        wanted = schema() if not columns else pa.schema([schema().field(name) for name in columns])
        with duckdb.connect(config={"temp_directory": tempfile.gettempdir()}) as connection, told(self._folder):
            connection.execute("SET TimeZone = 'UTC'")
            found = lake_relation(connection, self._folder)
            for bound, sign in ((since, ">="), (until, "<")):
                if bound is not None:
                    found = found.filter(f"begin {sign} TIMESTAMPTZ '{to_iso(bound)}'")
            found = found.order("begin, id").project(", ".join(f'"{name}"' for name in wanted.names))
            for batch in found.to_arrow_reader(batch_size):
                yield pa.record_batch(
                    [batch.column(number).cast(field.type) for number, field in enumerate(wanted)], schema=wanted
                )

    def size(self) -> LakeSize:
        """Return how large the lake is, from its log alone."""
        import pyarrow as pa

        table = opened(self._folder)
        if table is None:
            return LakeSize()
        with told(self._folder):
            actions = pa.table(table.get_add_actions(flatten=True))
            latest = table.history(1)
        days = sorted(str(day) for day in set(actions.column(f"partition.{PARTITION}").to_pylist()))
        return LakeSize(
            rows=sum(actions.column("num_records").to_pylist()),
            days=len(days),
            files=actions.num_rows,
            size=sum(actions.column("size_bytes").to_pylist()),
            version=int(table.version()),
            first=days[0] if days else None,
            last=days[-1] if days else None,
            committed_at=latest[0].get("timestamp") if latest else None,
        )


def lake_relation(connection: duckdb.DuckDBPyConnection, folder: Path) -> duckdb.DuckDBPyRelation:
    """Return the conversations of the newest commit as a relation of DuckDB.

    :raises StoreError: When there is something else than a lake.
    """
    table = opened(folder)
    return connection.from_arrow(schema().empty_table()) if table is None else relation(connection, table)


def opened(folder: Path) -> Any:
    """Return the table at its newest commit; None if there is none.

    :raises StoreError: When there is something else.
    """
    from deltalake import DeltaTable

    if not folder.is_dir():
        return None
    check_folder(folder)
    with told(folder):
        if not DeltaTable.is_deltatable(str(folder)):
            return None
        table = DeltaTable(str(folder))
    check(table, folder)
    return table
