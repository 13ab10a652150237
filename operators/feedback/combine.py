"""Changes of facts become changes of windows, where the facts are: one for each window that a batch touches.

What a change says of a window follows from the change alone: whether it still counts there (the window has not ended
longer ago than the horizon, by the change's own watermark) and whether it is late. What is the same before and after
costs nothing further.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from events.kpis import Fact, FactChange
from operators.feedback.lanes import Facts, Lane, Plan, Tally
from operators.feedback.rules import KpiRule, Limits, WindowRule
from operators.feedback.spans import Group, over, pane_of, starts_of

Place: TypeAlias = "tuple[int, Group, int]"
"""Lane, group, begin of the window or of the pane."""


class Delta(NamedTuple):
    """Change of one window.

    :arg start: Begin of the window; for sessions, the moment of the facts.
    :arg watermark: Newest of those of the changes of facts behind it.
    :arg tallies: Of each KPI of the lane; None where nothing changes.
    """

    lane: int
    group: Group
    start: int
    watermark: int
    tallies: list[Tally | None]


class _Cell:
    """What counts and what counted before in one pane or window; of each fact what it contributes to each KPI."""

    __slots__ = ("late", "minus", "plus", "watermark")

    def __init__(self, watermark: int) -> None:
        self.plus: list[Sequence[Any]] = []
        self.minus: list[Sequence[Any]] | None = None
        self.late: Counter[int] | None = None
        self.watermark = watermark

    def take_out(self, parts: Sequence[Any]) -> None:
        if self.minus is None:
            self.minus = [parts]
        else:
            self.minus.append(parts)


class _Side(NamedTuple):
    """A fact before or after a change: its groups of one grouping, and its contributions."""

    time: int
    groups: tuple[Group, ...]
    parts: Sequence[Any]


class Combiner:
    """Makes changes of windows of changes of facts.

    :arg dropped: Told how many changes of windows came too late to count.
    """

    def __init__(self, rules: Iterable[KpiRule], limits: Limits, dropped: Callable[[int], None]) -> None:
        self.plan = Plan.of(rules, limits)
        self._limits = limits
        self._dropped = dropped

    def combine(self, changes: Iterable[FactChange]) -> list[Delta]:
        """Return one change for each window that `changes` touch and do not leave as it was."""
        batch = _Batch(self._limits)
        kinds = self.plan.kinds
        for change in changes:
            fact = change.after or change.before
            if fact is not None and (facts := kinds.get(fact.kind)) is not None:
                if change.before is None or change.after is None:
                    batch.come_or_go(facts, fact, change.after is not None, change.watermark)
                else:
                    batch.amend(facts, change.before, change.after, change.watermark)
        if batch.dropped:
            self._dropped(batch.dropped)
        return batch.deltas(self.plan.lanes)


class _Batch:
    """What a batch changes, by pane where all windows of the pane fare the same, else by window."""

    def __init__(self, limits: Limits) -> None:
        self.dropped = 0
        self._limits = limits
        self._panes: dict[Place, _Cell] = {}
        self._windows: dict[Place, _Cell] = {}

    def come_or_go(self, facts: Facts, fact: Fact, comes: bool, watermark: int) -> None:
        parts = [part(fact) for part in facts.parts]
        time, panes = fact.time, self._panes
        for groups_of, lanes in facts.groupings:
            groups = groups_of(fact)
            for lane in lanes:
                pane = time - time % lane.step
                if watermark < pane + lane.grace:
                    for group in groups:
                        place = (lane.index, group, pane)
                        cell = panes.get(place)
                        if cell is None:
                            cell = panes[place] = _Cell(watermark)
                        elif watermark > cell.watermark:
                            cell.watermark = watermark
                        if comes:
                            cell.plus.append(parts)
                        else:
                            cell.take_out(parts)
                else:
                    side = _Side(time, groups, parts)
                    before, after = (None, side) if comes else (side, None)
                    self._by_window(lane, before, after, watermark)

    def amend(self, facts: Facts, before: Fact, after: Fact, watermark: int) -> None:
        minus = [part(before) for part in facts.parts]
        plus = [part(after) for part in facts.parts]
        gone, come = _differing(minus, plus)
        for groups_of, lanes in facts.groupings:
            groups_before, groups_after = groups_of(before), groups_of(after)
            same = before.time == after.time and groups_before == groups_after
            if same and gone == come:
                continue
            for lane in lanes:
                pane = after.time - after.time % lane.step
                if same and watermark < pane + lane.grace:
                    for group in groups_after:
                        cell = _cell(self._panes, (lane.index, group, pane), watermark)
                        cell.take_out(gone)
                        cell.plus.append(come)
                else:
                    old = _Side(before.time, groups_before, minus)
                    self._by_window(lane, old, _Side(after.time, groups_after, plus), watermark)

    def _by_window(self, lane: Lane, before: _Side | None, after: _Side | None, watermark: int) -> None:
        """Look at each window by itself: the change may be late for one, too late for another, nothing for a third."""
        limits, window = self._limits, lane.window
        old, new = _places(window, before), _places(window, after)
        for place in old.keys() | new.keys():
            gone, come = old.get(place), new.get(place)
            if gone is not None and come is not None:
                gone, come = _differing(gone, come)
            touched = [number for number, _ in lane.members if _there(gone, number) or _there(come, number)]
            if not touched:
                continue
            group, start = place
            if start + lane.span <= watermark - limits.horizon:
                self.dropped += 1
                continue
            cell = _cell(self._windows, (lane.index, group, start), watermark)
            if gone is not None:
                cell.take_out(gone)
            if come is not None:
                cell.plus.append(come)
            if over(window, start) + limits.lateness <= watermark:
                cell.late = cell.late or Counter()
                cell.late.update(touched)

    def deltas(self, lanes: Sequence[Lane]) -> list[Delta]:
        deltas: dict[Place, Delta] = {}
        for place, cell in self._windows.items():
            index, group, start = place
            if tallies := _tallies(lanes[index], cell):
                deltas[place] = Delta(index, group, start, cell.watermark, tallies)
        for place, cell in self._panes.items():
            index, group, pane = place
            lane = lanes[index]
            if tallies := _tallies(lane, cell):
                # Windows of one pane share what has been counted: whoever keeps it makes a copy.
                for start in starts_of(lane.window, pane) if lane.slides else (pane,):
                    delta = Delta(index, group, start, cell.watermark, tallies)
                    at = (index, group, start)
                    deltas[at] = merged(lane, deltas[at], delta) if at in deltas else delta
        return list(deltas.values())


def _tallies(lane: Lane, cell: _Cell) -> list[Tally | None] | None:
    """Return what a cell changes of each KPI; None if it changes nothing."""
    plus, minus, late = cell.plus, cell.minus, cell.late
    if minus is None and late is None and len(plus) == 1:
        # Where there are many groups, this is the rule.
        (parts,) = plus
        alone: list[Tally | None] = [
            None if (part := parts[number]) is None else (1, 0, kpi.aggregate.state((part,), ()))
            for number, kpi in lane.members
        ]
        return alone if any(alone) else None
    tallies: list[Tally | None] = []
    changes = False
    for number, kpi in lane.members:
        come = [part for parts in plus if (part := parts[number]) is not None]
        gone = () if minus is None else [part for parts in minus if (part := parts[number]) is not None]
        if come or gone:
            count = len(come) - len(gone)
            lates = late[number] if late is not None else 0
            state = kpi.aggregate.state(come, gone)
            if count or lates or not kpi.aggregate.blank(state):
                tallies.append((count, lates, state))
                changes = True
                continue
        tallies.append(None)
    return tallies if changes else None


def merged(lane: Lane, one: Delta, other: Delta) -> Delta:
    """Return both changes of a window as one; neither is changed."""
    tallies = [
        kpi.merge(kpi.merge(None, tally), more) if tally is not None and more is not None else tally or more
        for kpi, tally, more in zip(lane.kpis, one.tallies, other.tallies, strict=True)
    ]
    return Delta(one.lane, one.group, one.start, max(one.watermark, other.watermark), tallies)


def _cell(cells: dict[Place, _Cell], place: Place, watermark: int) -> _Cell:
    cell = cells.get(place)
    if cell is None:
        cell = cells[place] = _Cell(watermark)
    cell.watermark = max(cell.watermark, watermark)
    return cell


def _places(window: WindowRule, side: _Side | None) -> dict[tuple[Group, int], Sequence[Any]]:
    if side is None:
        return {}
    starts = starts_of(window, pane_of(window, side.time))
    return {(group, start): side.parts for group in side.groups for start in starts}


def _differing(minus: Sequence[Any], plus: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return both without what is the same in them."""
    pairs = [(None, None) if one == other else (one, other) for one, other in zip(minus, plus, strict=True)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def _there(parts: Sequence[Any] | None, number: int) -> bool:
    return parts is not None and parts[number] is not None
