"""What sections of the settings have in common: names that are checked, streams of changes, and tables of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,199}")
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TOLD = ("alerts", "identity")
"""Streams on which flows tell."""
FOR_FLOWS = ("control.", "replay.")
"""Beginnings of streams on which flows are told."""
_OURS = ("headrace_", "row_", "sqlite_", "pg_")


def checked_table(value: str) -> str:
    """Return `value` if it can name a live table.

    :raises ValueError: When it has other than lower-case letters, digits and underscores, or begins as ours do.
    """
    if not _TABLE.fullmatch(value) or value.startswith(_OURS):
        message = f"{value!r} cannot name a table; use lower-case letters, digits and '_', not beginning with {_OURS}"
        raise ValueError(message)
    return value


def checked_name(value: str) -> str:
    """Return `value` if it can name a source or a stream.

    :raises ValueError: When it has other than lower-case letters, digits, dot, dash and underscore, or over 200.
    """
    if not _NAME.fullmatch(value):
        message = f"{value!r} is not a name; use lower-case letters, digits, '.', '-' and '_'"
        raise ValueError(message)
    return value


def refuse_ours(stream: str) -> None:
    """Check that a stream may be one that flows read from.

    :raises ValueError: When it is one on which flows tell or are told.
    """
    if stream in _TOLD or stream.startswith(FOR_FLOWS):
        message = f"the stream {stream!r} is where flows tell and are told; give the events another one"
        raise ValueError(message)


class Section(BaseModel):
    """A table of `headrace.toml`: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChangeStreamSettings(Section):
    """One stream of change events."""

    name: str = Field(description="name of the stream on the log")
    format: Literal["auto", "debezium", "debezium-flat", "dms", "dynamodb", "maxwell", "headrace"] = Field(
        "auto", description="how its events are written; `auto` looks at each"
    )
    source: str = Field("", description="name of the source; default: what the events say, else the stream's name")
    generation: int = Field(
        0, ge=0, le=2**31, description="raise it when the source's positions begin anew, as after a restored backup"
    )
    table: str = Field("", description="table of events that do not name one")
    tombstones: Literal["auto", "ignore", "delete"] = Field(
        "auto", description="what a record without a value is: nothing, or a delete; `auto`: what the format says"
    )

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        refuse_ours(value)
        return checked_name(value)


class ChangeTableSettings(Section):
    """One table of change events."""

    name: str = Field(description="its name here: lower-case letters, digits and underscores")
    table: str = Field(description="the table as its source names it, such as `public.flights`")
    source: str = Field("", description="take it from this source only; default: from any")
    key: tuple[str, ...] = Field((), description="columns of its primary key, where events do not name them")
    initiator: str = Field("", description="column that holds who changed the row")
    columns: dict[str, str] = Field({}, description="encodings that events do not tell, by column: `date-days`, ...")

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_table(value)


class ChangesSettings(Section):
    """What flows of change events have in common."""

    streams: tuple[ChangeStreamSettings, ...] = Field((), description="the streams that changes come from")
    others: Literal["reject", "ignore"] = Field(
        "reject", description="events of tables that are not named: dead letters, or passed over"
    )
    batch_size: int = Field(1000, ge=1, le=100_000, description="events that are decoded and stored at once")
    max_event_bytes: int = Field(10 * 2**20, ge=1024, description="larger events become dead letters")
    tombstone_days: float = Field(
        7.0, gt=0, le=36_500, allow_inf_nan=False, description="event time for which deletes are remembered"
    )
    heartbeat_seconds: float = Field(
        1.0, gt=0, le=3600, allow_inf_nan=False, description="how often an idle stream confirms that it is idle"
    )


T = TypeVar("T", bound=ChangeTableSettings)


def table_of(tables: Iterable[T], source: str, table: str) -> T | None:
    """Return the settings of `table` of `source`; those that name the source go first."""
    found = [settings for settings in tables if settings.table == table and settings.source in {"", source}]
    return max(found, key=lambda settings: settings.source != "", default=None)


def refuse_twins(streams: Iterable[ChangeStreamSettings], tables: Iterable[ChangeTableSettings], what: str) -> None:
    """Check that streams and tables have names of their own, and that no table is named twice.

    :arg what: What the tables are, in the plural.
    :raises ValueError: When one has.
    """
    tables = list(tables)
    for these, names in (
        ("streams", [stream.name for stream in streams]),
        (what, [table.name for table in tables]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"two {these} are named {twice[0]!r}; give each its own name"
            raise ValueError(message)
    taken = [(table.source, table.table) for table in tables]
    twice_taken = sorted({table for source, table in taken if taken.count((source, table)) > 1})
    if twice_taken:
        message = f"two {what} are made of {twice_taken[0]!r}; one is enough"
        raise ValueError(message)
