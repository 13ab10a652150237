"""What reading and writing the lake have in common: its files as a relation of DuckDB, its errors as ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from events.errors import StoreError
from stores.lake.schema import PARTITION, schema
from stores.lake.working import Place

if TYPE_CHECKING:
    import duckdb

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


_UNUSABLE = re.compile(r"[\[\]\\^|\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|(?<=/)" + PARTITION + "=", re.IGNORECASE)
"""In a path: what the library of Delta Lake does not find again, or DuckDB takes for the partition's column."""


def check_folder(folder: Path) -> None:
    """Look whether a lake can lie there.

    :raises StoreError: When it cannot.
    """
    found = _UNUSABLE.search(str(folder.resolve()))
    if found:
        detail = f"a lake cannot lie in {str(folder)!r}: {found.group()!r} in its path"
        hint = f"choose a folder whose path has none of [ ] \\ ^ |, no % before two digits, no {PARTITION}=: lake.dir"
        raise StoreError(detail, hint)


def check(table: Any, folder: Path) -> None:
    """Look whether it is a lake as this program writes it.

    :raises StoreError: When it is not.
    """
    import pyarrow as pa

    if not pa.schema(table.schema().to_arrow()).equals(schema()):
        detail = f"the table {folder} has other columns than a lake of conversations"
        raise StoreError(detail, "choose another folder (lake.dir), or use the program that wrote it")


def relation(connection: duckdb.DuckDBPyConnection, table: Any) -> duckdb.DuckDBPyRelation:
    """Return the rows of a table, as far as its handle knows, as a relation of DuckDB."""
    files = [unquote(uri) for uri in table.file_uris()]
    if not files:
        return connection.from_arrow(schema().empty_table())
    # The partition's column is not in the files but in their paths, as text.
    names = [f'"{name}"' if name != PARTITION else f"CAST({name} AS DATE) AS {name}" for name in schema().names]
    return connection.read_parquet(files, hive_partitioning=True).project(", ".join(names))


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Raise the errors of Delta Lake and DuckDB as StoreError."""
    import duckdb
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, duckdb.Error, OSError) as error:
        detail = f"the lake {folder} cannot be used: {' '.join(str(error).split())[:300]}"
        raise StoreError(detail, "see that the disk has space and the folder can be read and written") from error


def ranges(places: Iterable[Place]) -> list[str]:
    """Return SQL conditions, one for each day, that leave out the files which hold none of the rows `t`."""
    bounds: dict[int, tuple[int, int]] = {}
    for place in places:
        least, most = bounds.get(place.day, (place.begin, place.begin))
        bounds[place.day] = min(least, place.begin), max(most, place.begin)
    return [
        f"(t.day = DATE '{_date(day)}' AND t.begin BETWEEN TIMESTAMPTZ '{_iso(least)}' AND TIMESTAMPTZ '{_iso(most)}')"
        for day, (least, most) in sorted(bounds.items())
    ]


def _date(day: int) -> date:
    return (_EPOCH + timedelta(days=day)).date()


def _iso(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
