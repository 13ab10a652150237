"""What the store remembers of slices whose deletes were held back: facts, for readers and for the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from events.changes import Decision
from events.clock import Clock
from stores.rows.base import RowWriter
from stores.rows.guard import Guard, Status, Verdict

HOLD, DECISION = "hold", "decision"
"""Kinds of facts that hold `Hold` and verdicts as JSON, by table and slice."""


class Hold(msgspec.Struct, frozen=True):
    """A slice whose deletes are or were held back. Times are in milliseconds since 1970-01-01 UTC.

    :arg slice: Its number: event time // window.
    :arg begin: Its first event time; `end` is the first one after it.
    :arg deleted: Rows deleted in it when this was noted.
    :arg rows: These and all rows that were there.
    :arg since: When the store began to hold them.
    :arg changed_at: When it came to be in `status`.
    """

    table: str
    slice: int
    begin: int
    end: int
    status: Status
    deleted: int
    rows: int
    since: int
    changed_at: int


class Holds:
    """The holds of one live table.

    :arg window: Length of a slice in milliseconds.
    :arg alert: Called with a slice that is held for the first time, before that is committed.
    """

    def __init__(
        self, writer: RowWriter, table: str, window: int, clock: Clock, alert: Callable[[Hold], object]
    ) -> None:
        self.window = window
        self._writer = writer
        self._table = table
        self._clock = clock
        self._alert = alert
        facts = writer.facts(HOLD)
        known = [msgspec.json.decode(facts[name], type=Hold) for name in _slices(table, facts).values()]
        # A slice is what it was when it was held: under another window its number means another time. Rows that are
        # held are so under the slices of this window: the tally says it.
        self._holds = {hold.slice: hold for hold in known if hold.end - hold.begin == window}
        foreign = [hold for hold in known if hold.end - hold.begin != window and hold.status == "held"]
        gone = [msgspec.structs.replace(hold, status="dissolved", changed_at=clock()) for hold in foreign]
        if gone:
            writer.note(HOLD, {_name(table, hold.slice): msgspec.json.encode(hold) for hold in gone})

    def statuses(self) -> dict[int, Status]:
        """Return the slices that are or were held."""
        return {slice_: hold.status for slice_, hold in self._holds.items()}

    def verdicts(self) -> dict[int, Verdict]:
        """Return what the user has decided."""
        facts = self._writer.facts(DECISION)
        return {
            slice_: msgspec.json.decode(facts[name], type=Verdict)
            for slice_, name in _slices(self._table, facts).items()
        }

    def note_decision(self, decision: Decision) -> None:
        """Keep the user's word."""
        self._writer.note(DECISION, {_name(self._table, decision.slice): msgspec.json.encode(decision.verdict)})

    def note(self, guard: Guard) -> None:
        """Keep what has changed about the slices, and raise an alert for each that is held for the first time."""
        facts: dict[str, bytes] = {}
        for slice_, status in guard.statuses.items():
            known = self._holds.get(slice_)
            grown = known is not None and status == "held" and known.deleted != guard.rows_of(slice_)[0]
            if known is None or known.status != status or grown:
                hold = self._changed(known, slice_, status, guard)
                if known is None and status == "held":
                    self._alert(hold)
                self._holds[slice_] = hold
                facts[_name(self._table, slice_)] = msgspec.json.encode(hold)
        if facts:
            self._writer.note(HOLD, facts)

    def _changed(self, known: Hold | None, slice_: int, status: Status, guard: Guard) -> Hold:
        now = self._clock()
        if known is not None and status in {"released", "discarded"}:
            # The numbers on which the user decided.
            return msgspec.structs.replace(known, status=status, changed_at=now)
        deleted, rows = guard.rows_of(slice_)
        if known is not None and known.status == status:
            return msgspec.structs.replace(known, deleted=deleted, rows=rows)
        begin, since = slice_ * self.window, now if known is None else known.since
        return Hold(self._table, slice_, begin, begin + self.window, status, deleted, rows, since, now)


def holds_of(facts: Mapping[str, bytes]) -> list[Hold]:
    """Read the facts of kind HOLD, by table, oldest slice first."""
    return sorted((msgspec.json.decode(value, type=Hold) for value in facts.values()), key=_by_slice)


def _name(table: str, slice_: int) -> str:
    return f"{table}/{slice_}"


def _slices(table: str, names: Iterable[str]) -> dict[int, str]:
    return {int(name.rpartition("/")[2]): name for name in names if name.rpartition("/")[0] == table}


def _by_slice(hold: Hold) -> tuple[str, int]:
    return hold.table, hold.slice
