"""The lake as one file of another format: complete or not at all, and never over another file unasked.

A file is written beside its place under another name, and takes its place when it is whole.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from events.errors import StoreError
from stores.lake.schema import schema

Format: TypeAlias = Literal["parquet", "json", "avro"]
FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "json": (".json", ".jsonl", ".ndjson"),
    "avro": (".avro",),
}

_AVRO: dict[str, Any] = {
    "string": "string",
    "int64": "long",
    "double": "double",
    "bool": "boolean",
    "date32[day]": {"type": "int", "logicalType": "date"},
    "timestamp[us, tz=UTC]": {"type": "long", "logicalType": "timestamp-micros"},
}


def export(
    batches: Iterable[Any],
    path: Path,
    form: Format,
    *,
    force: bool = False,
    progress: Callable[[int], object] = lambda rows: None,
) -> int:
    """Write conversations to a file; return how many.

    :arg batches: As `LakeReader.rows` yields them.
    :arg form: `json` is JSON Lines, times in ISO 8601.
    :arg force: Whether a file that is there may be replaced.
    :arg progress: Told how many rows have been written, batch by batch.
    :raises StoreError: When there is a file already, its name says that it is of another format, or it cannot be
        written.
    """
    _check_suffix(path, form)
    if path.exists() and not force:
        detail = f"{path} is there already"
        raise StoreError(detail, "choose another name, or replace it with --force")
    written = 0

    def counted() -> Iterator[Any]:
        nonlocal written
        for batch in batches:
            yield batch
            written += batch.num_rows
            progress(written)

    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS[form](counted(), beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        detail = f"{path} cannot be written: {error.strerror or error}"
        raise StoreError(detail, "see that the folder can be written and the disk has space") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return written


def _check_suffix(path: Path, form: Format) -> None:
    suffix = path.suffix.lower()
    if not suffix or suffix in _SUFFIXES[form]:
        return
    meant = next((other for other, suffixes in _SUFFIXES.items() if suffix in suffixes), None)
    detail = f"{path.name} is no name for a file of the format {form}"
    named = f"name it {path.stem}{_SUFFIXES[form][0]}"
    others = ", ".join(other for other in FORMATS if other != form)
    raise StoreError(detail, f"{named}, or use --format {meant}" if meant else f"{named}; other formats are {others}")


def _parquet(batches: Iterator[Any], path: Path) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema(), compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _json(batches: Iterator[Any], path: Path) -> None:
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for batch in batches:
            file.writelines(encode(row) + b"\n" for row in batch.to_pylist())


def _avro(batches: Iterator[Any], path: Path) -> None:
    import fastavro

    fields = [{"name": field.name, "type": _avro_type(field.type, field.name)} for field in schema()]
    rows = (row for batch in batches for row in batch.to_pylist())
    parsed = fastavro.parse_schema({"type": "record", "name": "conversation", "fields": fields})
    with path.open("wb") as file:
        fastavro.writer(file, parsed, rows, codec="deflate")


def _avro_type(kind: Any, name: str) -> Any:
    """Return a type of Avro that also takes null; a record is called after its column."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return ["null", {"type": "array", "items": _avro_type(kind.value_type, name)}]
    if pa.types.is_struct(kind):
        fields = [{"name": field.name, "type": _avro_type(field.type, f"{name}_{field.name}")} for field in kind]
        return ["null", {"type": "record", "name": f"{name}_entry", "fields": fields}]
    return ["null", _AVRO[str(kind)]]


_WRITERS: dict[Format, Callable[[Iterator[Any], Path], None]] = {"parquet": _parquet, "json": _json, "avro": _avro}


def millis_of(text: str) -> int:
    """Read a day such as `2026-11-01`, or a moment in ISO 8601; what does not say its zone is UTC.

    :raises StoreError: When it is neither.
    """
    from datetime import timezone

    try:
        if len(text) == len("2026-11-01"):
            day = date.fromisoformat(text)
            found = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        else:
            found = datetime.fromisoformat(text.removesuffix("Z") + ("+00:00" if text.endswith("Z") else ""))
    except ValueError:
        detail = f"{text!r} is not a moment"
        raise StoreError(detail, "write such as 2026-11-01 or 2026-11-01T12:30:00Z") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone.utc)
    return round(found.timestamp() * 1000)
