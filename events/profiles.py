"""The merged view of a person: each value with the record that it comes from, and as of when.

Times are in milliseconds since 1970-01-01 UTC. All of it is a function of the newest rows and of who they are of.
"""

from __future__ import annotations

from typing import Any

import msgspec

from events.changes import Position, Row


class RecordRow(msgspec.Struct, frozen=True, gc=False):
    """The newest row of a record, as the store has it.

    :arg table: The table's name in the settings.
    """

    record: str
    table: str
    row: Row
    position: Position
    as_of: int
    applied_at: int


class Value(msgspec.Struct, frozen=True, gc=False):
    """One value of a field and where it comes from.

    :arg record: Key of the record that says so.
    :arg position: Up to which change of its source, as `position_text` writes it.
    :arg as_of: When it was said: the event time of that change, or what the row itself tells.
    """

    value: Any
    record: str
    position: str
    as_of: int
    applied_at: int


class Field(msgspec.Struct, frozen=True, gc=False):
    """A field of a profile.

    :arg value: The value that survives; a list for a union.
    :arg of: The records that say so, by the field's rule the best first; one but for a union.
    :arg others: Other values that records have for it, best first.
    """

    value: Any
    of: tuple[Value, ...]
    others: tuple[Value, ...] = ()


class Activity(msgspec.Struct, frozen=True, gc=False):
    """One activity of a person, such as a booking.

    :arg at: When it happened, by its own column or else the time of its change.
    :arg row: The columns that a profile shows.
    :arg open: Whether it is open.
    :arg sums: The columns that are summed up, as decimal text; those that are no numbers are left out.
    """

    record: str
    at: int
    row: Row
    position: str
    as_of: int
    applied_at: int
    open: bool = False
    sums: dict[str, str] = {}


class Collection(msgspec.Struct, frozen=True, gc=False):
    """All activities of one table, summed up.

    :arg open_count: How many are open; `open` shows the newest of them, newest first.
    :arg last: The newest of all, newest first.
    :arg sums: For each column that is summed up, the exact sum as decimal text.
    :arg first: When the oldest happened; None without any.
    :arg latest: When the newest happened.
    """

    count: int = 0
    open_count: int = 0
    open: tuple[Activity, ...] = ()
    last: tuple[Activity, ...] = ()
    sums: dict[str, str] = {}
    first: int | None = None
    latest: int | None = None


class Profile(msgspec.Struct, frozen=True, gc=False):
    """A person as the application sees it.

    :arg since: When the person's earliest record was made.
    :arg aliases: Ids that also lead here: those that the person would bear by its other records.
    :arg records: Keys of its records, earliest first.
    :arg identifiers: By type, what its records carry, sorted; `type:value` without the type.
    :arg held: Types of identifiers that do not link its records, as the person would be larger than the limit.
    """

    person: str
    realm: str
    since: int
    aliases: tuple[str, ...]
    records: tuple[str, ...]
    identifiers: dict[str, tuple[str, ...]]
    fields: dict[str, Field]
    collections: dict[str, Collection]
    held: tuple[str, ...] = ()
