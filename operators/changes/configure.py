"""Rules of decoding made of what the settings say. What is read of them is named here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from events.errors import SettingsError
from operators.changes.rules import Format, StreamRules, TableRules
from operators.changes.values import encoding


class StreamConfig(Protocol):
    """One stream of change events."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def format(self) -> Format: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def generation(self) -> int: ...  # noqa: D102
    @property
    def table(self) -> str: ...  # noqa: D102
    @property
    def tombstones(self) -> Literal["auto", "ignore", "delete"]: ...  # noqa: D102


class TableConfig(Protocol):
    """One table of change events."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def table(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def initiator(self) -> str: ...  # noqa: D102
    @property
    def columns(self) -> dict[str, str]: ...  # noqa: D102


def stream_rules(stream: StreamConfig, tables: Sequence[TableConfig], max_bytes: int) -> StreamRules:
    """Return how the events of one stream are decoded.

    :raises SettingsError: When two tables that it may bring are read in different ways.
    """
    rules: dict[str, TableRules] = {}
    # What names the source goes before what does not, as in `stores.sections.table_of`.
    for table in sorted(tables, key=lambda table: table.source != ""):
        if stream.source and table.source not in {"", stream.source}:
            continue
        said = TableRules(table.key, table.initiator, table.columns)
        if not stream.source and table.source and rules.get(table.table, said) != said:
            detail = f"two tables read {table.table!r} of different sources in different ways"
            raise SettingsError(detail, f"give the stream {stream.name!r} its `source` in headrace.toml")
        rules[table.table] = said
    return StreamRules(
        stream=stream.name,
        format=stream.format,
        source=stream.source,
        generation=stream.generation,
        table=stream.table,
        tombstones=stream.tombstones,
        max_bytes=max_bytes,
        tables=rules,
    )


def check_encodings(section: str, tables: Iterable[TableConfig]) -> None:
    """Check that the encodings of columns are known.

    :arg section: Where the tables stand in the settings, such as `tables.live`.
    :raises SettingsError: When one is not.
    """
    for table in tables:
        for column, name in table.columns.items():
            try:
                encoding(name)
            except ValueError as error:
                detail = f"{section} {table.name!r}, column {column!r}: {error}"
                raise SettingsError(detail, "correct it in headrace.toml") from None
