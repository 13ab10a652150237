"""Questions to the live tables: newest rows only, each with where it comes from and how old it is.

A row past its table's time-to-live answers "unknown since", never with a value that may be stale.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from events.changes import Position, Row
from events.clock import Clock, system_clock
from events.errors import HeadraceError
from events.log import Applied
from serving.captured import Captured
from serving.freshness import Demand, Partitions, await_fresh, only_source
from stores.log.base import Log
from stores.log.choose import open_log
from stores.rows.base import HELD, Comparison, Condition, RowQuery, RowReader, SqlAnswer, StoredRow
from stores.rows.choose import open_row_reader
from stores.rows.columns import COLUMNS, ColumnHistory, history, seen_of
from stores.rows.holds import HOLD, Hold
from stores.settings import LiveTableSettings, Settings

_CONDITION = re.compile(r"\s*(.+?)\s*(!=|<=|>=|=|<|>|~)\s*(.*)", re.DOTALL)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


_FITTING: dict[str, type | tuple[type, ...]] = {
    "int": (int, float),
    "float": (int, float),
    "decimal": (int, float),
    "bool": bool,
}


class LiveRow(msgspec.Struct, frozen=True):
    """One row of an answer. Times are in milliseconds since 1970-01-01 UTC.

    :arg row: Columns to values; None past the time-to-live.
    :arg key: Columns of the primary key.
    :arg position: Up to which change of its source it is true.
    :arg as_of: Event time of that change.
    :arg unknown: Columns whose value is not known, because the source has not sent it.
    :arg unknown_since: When the time-to-live ended; None while it lasts.
    :arg held: Whether the source has deleted it, and the delete waits for its user's decision.
    """

    source: str
    table: str
    key: Row
    row: Row | None
    position: Position
    as_of: int
    applied_at: int
    initiator: str
    unknown: tuple[str, ...] = ()
    unknown_since: int | None = None
    held: bool = False


class LiveTables:
    """Reads the live tables.

    :arg settings: Which tables there are, and of which streams.
    :arg reader: The row store.
    :arg log: The log that its flow reads: tells which partitions there are.
    """

    def __init__(self, settings: Settings, reader: RowReader, log: Log, clock: Clock) -> None:
        self.reader = reader
        self.settings = settings
        self._log = log
        self._clock = clock
        self._captured = Captured(settings)

    @classmethod
    def of(cls, settings: Settings, clock: Clock = system_clock) -> LiveTables:
        """Open the live tables that `settings` name."""
        return cls(settings, open_row_reader(settings), open_log(settings), clock)

    def table(self, name: str) -> LiveTableSettings:
        """Return the settings of a live table.

        :raises HeadraceError: When there is none of that name.
        """
        for live in self.settings.tables.live:
            if live.name == name:
                return live
        names = ", ".join(live.name for live in self.settings.tables.live)
        detail = f"there is no live table {name!r}"
        raise HeadraceError(detail, f"there are: {names}" if names else "add [[tables.live]] to headrace.toml")

    def names(self) -> list[str]:
        """Return the names of all live tables that are configured."""
        return [live.name for live in self.settings.tables.live]

    def schema(self, name: str) -> list[ColumnHistory]:
        """Return the columns that the live table `name` has had, in order of first appearance."""
        self.table(name)
        return history(seen_of(self.reader.facts(COLUMNS).get(name)))

    def condition(self, name: str, text: str) -> Condition:
        """Read a condition on the live table `name` as `condition` does; of a column of texts, a number is a text too.

        :raises HeadraceError: When it is none, or the table has never had such a column.
        """
        kind = self.check_column(name, condition(text).column)
        found = condition(text, as_text=kind == "text")
        fitting = _FITTING.get(kind)
        if fitting and found.comparison != "~" and found.value is not None and not isinstance(found.value, fitting):
            detail = f"{found.value!r} can be no value of the column {found.column!r}: it holds {kind} values"
            raise HeadraceError(detail, "write a number" if kind != "bool" else "write true or false")
        return found

    def check_column(self, name: str, column: str) -> str:
        """Return the kind of a column of the live table `name`; empty as long as no column of it is known.

        :raises HeadraceError: When the table has never had such a column.
        """
        kinds = {known.column: known.kind for known in self.schema(name)}
        if kinds and column not in kinds:
            close = difflib.get_close_matches(column, kinds, n=1)
            detail = f"the live table {name!r} has no column {column!r}"
            raise HeadraceError(detail, f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(kinds)}")
        return kinds.get(column, "")

    def holds(self) -> list[Hold]:
        """Return the deletes that are held back, by table and time."""
        found = [msgspec.json.decode(fact, type=Hold) for fact in self.reader.facts(HOLD).values()]
        return sorted((hold for hold in found if hold.status == "held"), key=lambda hold: (hold.table, hold.slice))

    def rows(
        self,
        name: str,
        where: Sequence[Condition] = (),
        *,
        any_of: Sequence[Condition] = (),
        order: str = "",
        descending: bool = False,
        limit: int = 100,
        demand: Demand | None = None,
    ) -> list[LiveRow]:
        """Return rows of the live table `name` that fulfil all of `where`, and one of `any_of` if there are any.

        :arg demand: How fresh the store must be; waits for it.
        :raises StaleError: When it does not become so.
        """
        live = self.table(name)
        if demand is not None:
            self.await_fresh(demand)
        now = self._clock()
        ttl = None if live.ttl_seconds is None else round(live.ttl_seconds * 1000)
        query = RowQuery(
            table=name,
            where=tuple(where),
            any_of=tuple(any_of),
            order=order,
            descending=descending,
            limit=limit,
            fresh_since=None if ttl is None else now - ttl,
        )
        return [_live(name, stored, ttl, now) for stored in self.reader.select(query)]

    def sql(self, statement: str, *, rows: int, seconds: float, demand: Demand | None = None) -> SqlAnswer:
        """Run one reading statement over the live tables; see `RowReader.sql`."""
        if demand is not None:
            self.await_fresh(demand)
        return self.reader.sql(statement, rows=rows, seconds=seconds)

    def await_fresh(self, demand: Demand) -> int | None:
        """Wait until the tables are as fresh as demanded; return their age (ms).

        :raises HeadraceError: When it is not clear which source a position is of.
        :raises StaleError: When they do not become so in time.
        """
        if demand.position and not demand.source:
            demand = demand._replace(source=only_source(self.reader.applied, demand.seconds, self._clock))
        return await_fresh(demand, self._applied, self._partitions, self._clock)

    def _applied(self) -> list[Applied]:
        applied = self.reader.applied()
        return [*applied, *self._captured.marks(applied)]

    def _partitions(self) -> Partitions:
        streams = {stream.name: self._log.partitions(stream.name) for stream in self.settings.tables.streams}
        return streams | self._captured.partitions(streams)


def _live(table: str, stored: StoredRow, ttl: int | None, now: int) -> LiveRow:
    ends = None if ttl is None else stored.as_of + ttl
    over = ends is not None and ends < now
    return LiveRow(
        source=stored.source,
        table=table,
        key=msgspec.json.decode(stored.key),
        row=None if over else stored.image,
        position=stored.standing.position,
        as_of=stored.as_of,
        applied_at=stored.applied_at,
        initiator=stored.initiator,
        unknown=tuple(column for column, filled in stored.gaps.items() if filled is None),
        unknown_since=ends if over else None,
        held=stored.state == HELD,
    )


def condition(text: str, *, as_text: bool = False) -> Condition:
    """Read a condition such as `status=cancelled`, `fare<100`, `note~late`, `gate=null`, `code="007"`.

    A value in double quotes is a text, whatever it looks like; without them numbers, `true`, `false` and `null` are
    what they say, and everything else is a text.

    :arg as_text: Of values that are not quoted, read only `null` as what it says.
    :raises HeadraceError: When it is none.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        detail = f"{text!r} is not a condition"
        raise HeadraceError(detail, "write COLUMN=VALUE, or with != < <= > >= or ~ (contains)")
    column, comparison, value = found.groups()
    read = value if as_text and value != "null" and not value.startswith('"') else _value(value)
    return Condition(column, msgspec.convert(comparison, Comparison), read)


def _value(text: str) -> str | int | float | bool | None:
    words: dict[str, bool | None] = {"null": None, "true": True, "false": False}
    if text in words:
        return words[text]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number[2] or number[3] else int(text)


def as_json(found: LiveRow, now: int) -> dict[str, Any]:
    """Return a row as plain data for other programs: times in ISO 8601, age in milliseconds."""
    from events.changes import position_text
    from events.clock import to_iso

    return {
        "source": found.source,
        "table": found.table,
        "key": found.key,
        "row": found.row,
        "position": position_text(found.position),
        "as_of": to_iso(found.as_of),
        "applied_at": to_iso(found.applied_at),
        "initiator": found.initiator or None,
        "age_ms": max(0, now - found.as_of),
        "unknown": list(found.unknown),
        "unknown_since": None if found.unknown_since is None else to_iso(found.unknown_since),
        "held": found.held,
    }
