"""The port of the row store: one writer brings rows to their newest state, many readers ask.

The writer's verbs are plain storage. What is newer, what is held back and how schemas grow is decided once, above
them, in `stores/rows/intake.py`. What was put together is read together: a reader sees one commit, a row whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import msgspec
from typing_extensions import Self

from events.changes import Position, Row, Standing
from events.log import Applied

RowId = tuple[str, str]
"""Source and canonical key: names a row within a live table."""

LIVE, GONE, HELD = 0, 1, 2
"""States of a row: there; deleted; deleted at its source, but the delete is held back by the mass-delete guard."""

Gaps = dict[str, Position | None]
"""Columns whose newest value came by an older event than the row's, with that event's position; None: no event has said
anything of it. The value is unknown where the image lacks the column, be there a position or not."""


class StoredRow(msgspec.Struct, frozen=True, gc=False):
    """The newest state of one row, as the store holds it.

    :arg image: The row; for a deleted one what it was last, or None once that is forgotten or was never known.
    :arg state: LIVE, GONE or HELD.
    :arg standing: Which event it is the state after.
    :arg as_of: Event time of that event (ms since epoch).
    :arg applied_at: When the store took it in (ms since epoch).
    :arg gaps: Columns that this event did not bring.
    """

    source: str
    key: str
    image: Row | None
    state: int
    standing: Standing
    as_of: int
    applied_at: int
    initiator: str = ""
    transaction: str = ""
    gaps: Gaps = {}

    @property
    def id(self) -> RowId:
        """What names the row within its table."""
        return self.source, self.key


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is known of a stored row beside its image: enough for most decisions. Fields as in `StoredRow`.

    :arg imaged: Whether there is an image.
    """

    state: int
    standing: Standing
    as_of: int
    imaged: bool
    gaps: Gaps = {}


class Tally(msgspec.Struct):
    """How many rows of a table are there, and how many went when.

    :arg live: Rows in state LIVE.
    :arg gone: For slice number (as_of // window), rows in state GONE.
    :arg held: The same for state HELD.
    """

    live: int = 0
    gone: dict[int, int] = msgspec.field(default_factory=dict)
    held: dict[int, int] = msgspec.field(default_factory=dict)


class Former(msgspec.Struct, frozen=True, gc=False):
    """What a row was until a change. A function of the set of the row's events, as far back as they are kept.

    :arg position: Of the change that ended it.
    :arg until: Event time of that change (ms since epoch).
    :arg was: The columns that it changed, as they were before; None for one that was null or not there.
    :arg deleted: Whether that change was a delete or ended one; then `was` is the whole row before, or empty.
    """

    position: Position
    until: int
    was: Row
    deleted: bool = False


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A row with what is kept of its changes.

    :arg history: As `stores/rows/former.py` writes it; empty: nothing is kept.
    """

    row: StoredRow
    history: str = ""


class LiveTable(msgspec.Struct, frozen=True):
    """How a live table is shown.

    :arg name: Name of the view in the database: lower-case letters, digits and underscores.
    :arg kinds: For each column that any event had, in order of first appearance, the kind that holds all its values.
    :arg ttl_millis: Age (by `as_of`) from which on a row's columns answer unknown; None: never.
    :arg indexes: Columns by which rows are looked up often.
    """

    name: str
    kinds: dict[str, str]
    ttl_millis: int | None = None
    indexes: tuple[str, ...] = ()


class RowWriter(ABC):
    """The write side: exactly one per store, over all processes.

    :raises StoreError: On opening, when another writer holds the store, or when it cannot be used.
    """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Make everything within the block one commit; an exception undoes all of it. Does not nest."""

    @abstractmethod
    def fetch(self, table: str, ids: Sequence[RowId]) -> dict[RowId, StoredRow]:
        """Return the rows of `table` that are there, in any state; none for a table that does not exist (yet)."""

    def standings(self, table: str, ids: Sequence[RowId]) -> dict[RowId, Known]:
        """Return of the same rows as `fetch` what is known beside their images; adapters do it without reading those.

        This one is right, but not fast.
        """
        return {
            id_: Known(row.state, row.standing, row.as_of, row.image is not None, row.gaps)
            for id_, row in self.fetch(table, ids).items()
        }

    @abstractmethod
    def gapped(self, table: str, source: str) -> list[StoredRow]:
        """Return the rows of `source` that are not gone and have gaps; none for a table that does not exist (yet)."""

    @abstractmethod
    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        """Write rows over what was there. Makes the table if need be. Ids are distinct within one call."""

    @abstractmethod
    def bury(self, table: str, source: str, standing: Standing, event_time: int, applied_at: int) -> int:
        """Delete the rows of `source` that `standing` supersedes, as `supersedes` says; return how many were live.

        They take on `standing`, its position merged as `merged_position` says, and `event_time`. Their images stay, as
        those of any deleted row do; gaps, initiator and transaction go. Held rows count as there, though not as live:
        they are deleted anew. Rows that are gone already stay as they are.
        """

    @abstractmethod
    def drop_rows(self, table: str, ids: Sequence[RowId]) -> int:
        """Remove rows in any state without a trace, their histories with them; return how many there were."""

    @abstractmethod
    def restate(self, table: str, old: int, state: int, begin: int, end: int) -> int:
        """Put rows in state `old` whose `as_of` lies in [begin, end) into `state`; return how many.

        Only rows whose last image is known: a row without one has nothing to come back to.
        """

    @abstractmethod
    def forget(self, table: str, images_before: int, rows_before: int) -> None:
        """Of deleted rows, drop the image if `as_of` is before `images_before`, the row if before `rows_before`.

        With a row goes its history; with an image alone it stays.
        """

    @abstractmethod
    def kept(self, table: str, ids: Sequence[RowId]) -> dict[RowId, Kept]:
        """Do as `fetch`, with the rows' histories."""

    @abstractmethod
    def put_kept(self, table: str, kept: Sequence[Kept]) -> None:
        """Do as `put`, and write the rows' histories over those that were; `put` itself leaves them alone."""

    @abstractmethod
    def forget_former(self, table: str, before: int, after: str, limit: int) -> str:
        """Look at `limit` rows, in whatever order; drop the history of those whose `as_of` is before `before`.

        :arg after: What the last call returned; empty to begin with the first row.
        :returns: From where to go on; empty when all have been looked at.
        """

    @abstractmethod
    def tally(self, table: str, window: int) -> Tally:
        """Count rows by state and slice; `window` in milliseconds. Deleted rows without an image are not counted."""

    @abstractmethod
    def note(self, kind: str, facts: Mapping[str, bytes]) -> None:
        """Keep small facts by kind and name, over what was there: schemas, holds, `applied`. Values are JSON."""

    @abstractmethod
    def facts(self, kind: str) -> dict[str, bytes]:
        """Return the facts of a kind by name, in the order of their names; none if there are none."""

    @abstractmethod
    def expose(self, table: LiveTable) -> None:
        """Make the live table readable in SQL under its name, with these columns; does nothing if it is so already.

        Past the time-to-live all columns are null but those of the key.

        Beside the row's columns the view has `_source`, `_key`, `_position`, `_as_of`, `_applied_at`, `_initiator`
        (times as ISO 8601 text in UTC) and `_unknown_since` (null unless the time-to-live has passed).
        """

    @abstractmethod
    def identity(self) -> str:
        """Return the id that this store got when it was made: tells a store from another one in its place."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the store. Closing twice does nothing."""


Comparison = Literal["=", "!=", "<", "<=", ">", ">=", "~"]


class Condition(msgspec.Struct, frozen=True):
    """One condition on a column: `~` is contains, case ignored; `=` and `!=` None are null and not null.

    Numbers compare as numbers with numbers, texts as texts (by code point) with texts; a value of another sort than
    the column's never fulfils a condition but `!=`. A column that a row does not have is null.
    """

    column: str
    comparison: Comparison
    value: str | int | float | bool | None


class RowQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one live table.

    :arg where: All of these hold.
    :arg any_of: And one of these at least; empty: no matter.
    :arg fresh_since: Rows whose `as_of` is older have outlived their time-to-live: conditions and order see of them
        the columns of their key alone, everything else as null. They are returned with their image None.
    :arg order: Column to sort by, ties and rows without it by source and key; empty: by source and key alone.
    :arg limit: How many rows at most.
    """

    table: str
    where: tuple[Condition, ...] = ()
    any_of: tuple[Condition, ...] = ()
    order: str = ""
    descending: bool = False
    limit: int = 100
    fresh_since: int | None = None


class SqlAnswer(msgspec.Struct, frozen=True):
    """What a statement of the user's returned; `cut` if there were more rows than were asked for."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cut: bool


class RowReader(ABC):
    """The read side. Every call sees the newest commit of whichever process, and one commit only.

    An absent store or table is empty.
    """

    @abstractmethod
    def select(self, query: RowQuery) -> list[StoredRow]:
        """Return the rows in state LIVE or HELD that fulfil the query."""

    @abstractmethod
    def cut(self) -> AbstractContextManager[Self]:
        """Hold on to one commit, the newest: all that the reader in the block is asked is answered from that one.

        The block's reader is for one thread, is closed with the block, and knows no `sql`. Many cuts may be open at
        once; they neither wait for each other nor for the writer.
        """

    @abstractmethod
    def former(self, table: str, ids: Sequence[RowId], since: int) -> dict[RowId, list[Former]]:
        """Return what rows were before their changes with an event time of `since` or later, newest change first.

        Rows without any are left out, and so is what has been forgotten; none for a table that does not exist (yet).
        """

    @abstractmethod
    def values(self, table: str, column: str, limit: int) -> list[str]:
        """Return up to `limit` different texts that a column has in rows that are LIVE, in the order of code points."""

    @abstractmethod
    def counts(self) -> dict[str, tuple[int, int, int | None]]:
        """Return, for each live table, its rows in state LIVE, in state HELD, and the newest `as_of` of any row."""

    @abstractmethod
    def facts(self, kind: str) -> dict[str, bytes]:
        """Do as the writer's `facts`."""

    @abstractmethod
    def applied(self) -> list[Applied]:
        """Return how far the store has taken in each partition of each stream."""

    @abstractmethod
    def sql(self, statement: str, *, rows: int, seconds: float) -> SqlAnswer:
        """Run one reading statement over the live tables' views; nothing else can be reached by it.

        :arg rows: How many rows are returned at most.
        :raises RejectedError: When it is not one reading statement, names what is not there, or takes longer than
            `seconds`; with the database's reason.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the store. Closing twice does nothing."""


APPLIED = "applied"
"""Kind of facts that hold `Applied` as JSON, by stream and partition."""


def applied_fact(applied: Applied) -> tuple[str, bytes]:
    """Return the name and the value of the fact that keeps `applied`."""
    return f"{applied.source}/{applied.partition}", msgspec.json.encode(applied)


def applied_of(facts: Mapping[str, bytes]) -> list[Applied]:
    """Read back what `applied_fact` made."""
    return [msgspec.json.decode(value, type=Applied) for value in facts.values()]
