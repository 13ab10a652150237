"""The lake itself: a Delta Lake table with one row a conversation, changed by one commit at a time.

Only the holder of the working state's lock writes it. A commit says up to which offset of which partition it goes
(Delta's application transactions); as the library does not skip what is repeated, that is for others to look at, while
here a merge by id makes a repetition harmless. No commit writes deletion vectors, so that the table's files are its
content and any Parquet reader can read them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from events.errors import StoreError
from stores.lake.delta import check, check_folder, ranges, relation, told
from stores.lake.rows import Row
from stores.lake.schema import PARTITION, STATISTICS, schema
from stores.lake.working import Place

HOT_BYTES = 4 * 2**20
"""Size of files that commits write: a changed row costs the rewriting of the one it is in."""

SETTLED_BYTES = 64 * 2**20
"""Size of files of days that are over."""

_FEW = 4
"""Small files of one day that are left as they are."""

_CHECKPOINT = 50
_ROWS = 10_000


class LakeTable:
    """The writer of the lake.

    :arg folder: Made with the first commit.
    :arg retain_hours: How long files that were replaced are kept.
    :raises StoreError: When there is something else, or a lake cannot lie there.
    """

    def __init__(self, folder: Path, retain_hours: float) -> None:
        self._folder = folder
        self._retain = math.ceil(retain_hours)
        check_folder(folder)
        with told(folder):
            self._table = self._opened()

    @property
    def id(self) -> str:
        """What tells this table from another one in its place."""
        with told(self._folder):
            return str(self._table.metadata().id)

    @property
    def version(self) -> int:
        """Number of the newest commit."""
        return int(self._table.version())

    def offset(self, application: str) -> int | None:
        """Return the offset that the newest commit of an application had; None if there was none."""
        found = self._table.transaction_version(application)
        return None if found is None else int(found)

    def merge(self, rows: Sequence[Row], before: Iterable[Place], offsets: Mapping[str, int]) -> None:
        """Put rows in the place of those of the same id, or add them, in one commit.

        :arg before: Where the rows lie that are replaced; only there they are looked for.
        :arg offsets: By application: up to where the commit goes.
        """
        import pyarrow as pa
        from deltalake import write_deltalake

        source = pa.Table.from_pylist(list(rows), schema())
        where = ranges(before)
        with told(self._folder):
            if not where:
                properties = self._properties(offsets)
                write_deltalake(self._table, source, mode="append", commit_properties=properties)
                self._table.update_incremental()
                return
            (
                self._table.merge(
                    source,
                    f"t.id = s.id AND ({' OR '.join(where)})",
                    source_alias="s",
                    target_alias="t",
                    commit_properties=self._properties(offsets),
                )
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute()
            )

    def remove(self, found: Mapping[str, Place]) -> None:
        """Remove rows by id in one commit. The table's log does not say which."""
        import pyarrow as pa

        if not found:
            return
        source = pa.table({"id": pa.array(list(found), pa.string())})
        matches = f"t.id = s.id AND ({' OR '.join(ranges(found.values()))})"
        with told(self._folder):
            merger = self._table.merge(source, matches, source_alias="s", target_alias="t")
            merger.when_matched_delete().execute()

    def fetch(self, found: Mapping[str, Place]) -> list[Row]:
        """Return rows by id, as pyarrow's `to_pylist` does."""
        import duckdb
        import pyarrow as pa

        if not found:
            return []
        with duckdb.connect() as connection, told(self._folder):
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("wanted", pa.table({"id": pa.array(list(found), pa.string())}))
            relation(connection, self._table).create_view("lake")
            # Of ours are only names and times.
            query = f"SELECT t.* FROM lake AS t SEMI JOIN wanted USING (id) WHERE {' OR '.join(ranges(found.values()))}"  # noqa: S608
            rows: list[Row] = connection.sql(query).to_arrow_table().to_pylist()
        return rows

    def places(self) -> Iterator[tuple[str, Place]]:
        """Return the id and the place of all rows."""
        return self._places("true", [])

    def of(self, persons: frozenset[str], ids: frozenset[str]) -> dict[str, Place]:
        """Return the rows of which an event names one of these persons, and those with these ids."""
        found = dict(self._places("list_has_any(persons, (SELECT list(id) FROM wanted))", sorted(persons)))
        return found | dict(self._places("id IN (SELECT id FROM wanted)", sorted(ids)))

    def _places(self, condition: str, wanted: Sequence[str]) -> Iterator[tuple[str, Place]]:
        import duckdb
        import pyarrow as pa

        with duckdb.connect() as connection, told(self._folder):
            connection.register("wanted", pa.table({"id": pa.array(wanted, pa.string())}))
            columns = "id, day - DATE '1970-01-01', epoch_us(begin), revision"
            relation(connection, self._table).create_view("lake")
            found = connection.execute(f"SELECT {columns} FROM lake WHERE {condition}")  # noqa: S608  # our own names
            while rows := found.fetchmany(_ROWS):
                for id_, day, begin, revision in rows:
                    yield id_, Place(day, begin, revision)

    def compact(self, enough: Callable[[], bool] = lambda: False) -> int:
        """Make few files of many small ones, a commit for each day, those with the most first.

        :arg enough: Asked before each further day whether to leave the rest for another time.
        :returns: How many files are fewer.
        """
        before = len(self._table.file_uris())
        small = self.small_files()
        newest = max(small, default="")
        for day in sorted(small, key=lambda day: (-small[day], day)):
            if small[day] < _FEW:
                break
            with told(self._folder):
                self._table.optimize.compact(
                    partition_filters=[(PARTITION, "=", day)],
                    target_size=HOT_BYTES if day == newest else SETTLED_BYTES,
                )
            if enough():
                break
        return before - len(self._table.file_uris())

    def small_files(self) -> dict[str, int]:
        """Return by day how many files it has of less than half the size that they should have."""
        import pyarrow as pa

        with told(self._folder):
            actions = pa.table(self._table.get_add_actions(flatten=True))
        days = [str(day) for day in actions.column(f"partition.{PARTITION}").to_pylist()]
        sizes = actions.column("size_bytes").to_pylist()
        newest = max(days, default="")
        small = dict.fromkeys(days, 0)
        for day, size in zip(days, sizes, strict=True):
            small[day] += size < (HOT_BYTES if day == newest else SETTLED_BYTES) // 2
        return small

    def vacuum(self, *, everything: bool = False) -> int:
        """Remove replaced files that are older than is kept; return how many.

        :arg everything: However old they are, even if somebody is reading them, and what broken-off commits have left.
        """
        with told(self._folder):
            removed = self._table.vacuum(
                0 if everything else self._retain, dry_run=False, enforce_retention_duration=False, full=everything
            )
            # A checkpoint begins the log anew: what came before it can go.
            self._table.create_checkpoint()
            self._table.cleanup_metadata()
        return len(removed)

    def _opened(self) -> Any:
        from deltalake import DeltaTable

        wanted = {
            "delta.checkpointInterval": str(_CHECKPOINT),
            "delta.dataSkippingStatsColumns": STATISTICS,
            # A tombstone outlives its file, or nobody would know any more that the file can go.
            "delta.deletedFileRetentionDuration": f"interval {self._retain + 2} hours",
            "delta.logRetentionDuration": "interval 1 hours",
            "delta.targetFileSize": str(HOT_BYTES),
        }
        if not DeltaTable.is_deltatable(str(self._folder)):
            self._folder.mkdir(parents=True, exist_ok=True)
            if any(self._folder.iterdir()):
                detail = f"the folder {self._folder} holds something else than a lake"
                raise StoreError(detail, "choose another folder: lake.dir")
            return DeltaTable.create(
                str(self._folder), schema(), partition_by=[PARTITION], configuration=wanted, name="conversations"
            )
        table = DeltaTable(str(self._folder))
        check(table, self._folder)
        has = table.metadata().configuration
        changed = {name: value for name, value in wanted.items() if has.get(name) != value}
        if changed:
            table.alter.set_table_properties(changed)
        return table

    def _properties(self, offsets: Mapping[str, int]) -> Any:
        from deltalake import CommitProperties, Transaction

        # An offset that has been reached is not taken back, whatever is read again.
        ahead = {
            name: offset
            for name, offset in sorted(offsets.items())
            if (reached := self.offset(name)) is None or offset > reached
        }
        return CommitProperties(app_transactions=[Transaction(name, offset) for name, offset in ahead.items()])
