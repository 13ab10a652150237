"""What merging needs to know: which columns a field comes from, which value survives, what a collection shows."""

from __future__ import annotations

from typing import Literal

import msgspec

from operators.identity.rules import Columns

Survivorship = Literal["newest", "priority", "frequent", "longest", "union", "consent", "strictest"]


class FieldRules(msgspec.Struct, frozen=True):
    """One field of a profile. Tables are named as in the settings.

    :arg columns: For table, the columns that its value is in.
    :arg priority: Tables, the most trusted first, for the rule of that name; the others come after them.
    :arg said_at: For table, the column that holds when the value was given.
    """

    name: str
    columns: dict[str, Columns]
    rule: Survivorship = "newest"
    priority: tuple[str, ...] = ()
    said_at: dict[str, str] = {}


class ActivityRules(msgspec.Struct, frozen=True):
    """A table of activities.

    :arg name: Its name in the settings, and of the collection in profiles.
    :arg references: Source (empty: that of the activity) and table of the record that a row refers to.
    :arg by: For column of the row, the column of that record's primary key.
    :arg time: Column that holds when it happened; empty: the time of its change.
    :arg show: Columns that a profile shows; empty: all.
    :arg last: How many of the newest a profile shows.
    :arg open: For column the values that it has while the activity is open, all of them at once.
    :arg sums: Columns that are summed up.
    """

    name: str
    references: tuple[str, str]
    by: dict[str, str]
    time: str = ""
    show: tuple[str, ...] = ()
    last: int = 5
    open: dict[str, tuple[str | int | bool, ...]] = {}
    sums: tuple[str, ...] = ()


class ProfileRules(msgspec.Struct, frozen=True):
    """How profiles are merged.

    :arg fields: In the order in which a profile shows them; without any, each column is one, the newest value survives.
    :arg activities: By name in the settings.
    """

    fields: tuple[FieldRules, ...] = ()
    activities: dict[str, ActivityRules] = {}
