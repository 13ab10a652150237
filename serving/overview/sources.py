"""The sources of a flow, as its marks, the settings and the log together show them.

A source that the settings name is told also before anything of it was read; one that they do not name any more, as long
as its marks are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from events.changes import position_text
from events.errors import HeadraceError
from events.log import Applied, control_stream, replay_stream
from operators.feedback.configure import objectives
from serving.captured import Captured
from serving.freshness import age
from serving.overview.backlog import Allowance, Backlog, Pace
from serving.overview.panel import Panel
from serving.overview.state import SourceState
from serving.runs import folders_of, streams_of
from stores.capture.places import Place
from stores.log.base import Log
from stores.settings import KnowledgeSettings, Settings

Ends = dict[int, int]
"""For each partition, the offset behind its newest event."""


class Sources:
    """Follows the sources of all flows from look to look. Not for several threads at once.

    :arg allowance: How much of the log one look may read to count events, in offsets.
    """

    def __init__(self, settings: Settings, log: Log, allowance: int) -> None:
        self._settings = settings
        self._log = log
        self._captured = Captured(settings)
        self._places: Mapping[str, Place] = {}
        self._allowance = allowance
        self._objectives = objectives(settings.feedback)
        self._ends: dict[str, Panel[Ends]] = {}
        self._backlogs: dict[tuple[str, str, int], Backlog] = {}
        self._folders: dict[tuple[str, str], int] = {}
        self._paces: dict[tuple[str, str], Pace] = {}

    def know(self, places: Mapping[str, Place]) -> None:
        """Take note of how far captures are, for the looks that follow."""
        self._places = places

    def look(self, flow: str, marks: Sequence[Applied], now: int, *, running: bool) -> list[SourceState]:
        """Return the sources of a flow: the configured ones in their order, then those that are so no more.

        :arg marks: What its store has noted as applied.
        """
        allowance = Allowance(self._allowance)
        folders, streams = folders_of(flow, self._settings), streams_of(flow, self._settings)
        own = {replay_stream(flow), control_stream(flow)}
        configured = [
            source for source in dict.fromkeys([*folders, *streams]) if self._is_asked_for(source, marks, now)
        ]
        former = sorted({mark.source for mark in marks} - own - set(configured))
        states = []
        for source in (*configured, *former):
            mine = [mark for mark in marks if mark.source == source]
            if source in folders or (source in former and not self._on_log(source, now)):
                state = self._folder(flow, source, mine, now, running=running, configured=source in configured)
            else:
                state = self._stream(flow, source, mine, now, allowance, running=running)
            states.append(state)
        return states

    @property
    def failed(self) -> str:
        """Why the log cannot be looked at; empty if it can."""
        return next((panel.failed for panel in self._ends.values() if panel.failed), "")

    def _is_asked_for(self, source: str, marks: Sequence[Applied], now: int) -> bool:
        """Whether a source is worth a word: a stream that is there only by default is not, as long as it is empty."""
        given = "streams" in self._settings.knowledge.model_fields_set
        if given or source not in KnowledgeSettings().streams:
            return True
        return any(mark.source == source for mark in marks) or bool(self._on_log(source, now))

    def _on_log(self, stream: str, now: int) -> Ends:
        panel = self._ends.get(stream)
        if panel is None:
            panel = self._ends[stream] = Panel(lambda: self._ends_of(stream))
        return panel.look(now) or {}

    def _ends_of(self, stream: str) -> Ends:
        return {partition: self._log.bounds(stream, partition)[1] for partition in self._log.partitions(stream)}

    def _stream(
        self, flow: str, stream: str, marks: list[Applied], now: int, allowance: Allowance, *, running: bool
    ) -> SourceState:
        ends = self._on_log(stream, now)
        configured = stream in streams_of(flow, self._settings)
        by_partition = {mark.partition: mark for mark in marks}
        backlog: int | None = 0
        taken: int | None = 0
        behind = False
        for partition, end in ends.items():
            mark = by_partition.get(str(partition))
            behind |= mark is None and end > 0
            behind |= mark is not None and not (mark.caught_up and mark.offset >= end)
            applied = 0 if mark is None else mark.offset
            known = self._backlog(flow, stream, partition, applied)
            waiting, counted = self._counted(known, applied, end, allowance)
            backlog = None if backlog is None or waiting is None else backlog + waiting
            taken = None if taken is None or counted is None else taken + counted
        pace = self._paces.setdefault((flow, stream), Pace())
        # What a removed partition still has in the store is as old as it was read: only those that are there count.
        there = list(ends) or [int(mark.partition) for mark in marks if mark.partition.isdecimal()]
        return SourceState(
            flow=flow,
            source=stream,
            running=running,
            configured=configured,
            partitions=len(ends),
            read=len(marks),
            backlog=None if self._ends[stream].failed else backlog,
            lag=age(
                [*marks, *self._captured.beside(marks, self._places)],
                {stream: there} | self._captured.partitions([stream]),
                now,
            ),
            objective=round(self._objectives.of(stream)),
            newest=_newest(marks),
            positions=_positions(marks),
            rate=pace.look(taken, now),
            caught_up=not behind,
        )

    def _backlog(self, flow: str, stream: str, partition: int, applied: int) -> Backlog:
        known = self._backlogs.get((flow, stream, partition))
        if known is None:

            def count(begin: int, end: int) -> int:
                return self._log.count(stream, partition, begin, end)

            known = self._backlogs[flow, stream, partition] = Backlog(count, applied)
        return known

    @staticmethod
    def _counted(known: Backlog, applied: int, end: int, allowance: Allowance) -> tuple[int | None, int | None]:
        """Return how many events of a partition wait, and how many were applied since the last look."""
        try:
            return known.look(applied, max(end, applied), allowance), known.taken()
        except HeadraceError:
            return None, None

    def _folder(
        self, flow: str, folder: str, marks: list[Applied], now: int, *, running: bool, configured: bool
    ) -> SourceState:
        offset = max((mark.offset for mark in marks), default=0)
        before = self._folders.get((flow, folder), offset)
        self._folders[flow, folder] = offset
        caught_up = bool(marks) and all(mark.caught_up for mark in marks)
        numbers = [int(mark.partition) for mark in marks if mark.partition.isdecimal()]
        pace = self._paces.setdefault((flow, folder), Pace())
        return SourceState(
            flow=flow,
            source=folder,
            running=running,
            configured=configured,
            partitions=1 if configured else 0,
            read=len(marks),
            # Its changes are numbered when they are found: how many wait is only known when none does.
            backlog=0 if caught_up and running and configured else None,
            lag=age(marks, {folder: numbers}, now),
            objective=round(self._objectives.of(folder)),
            newest=_newest(marks),
            positions=_positions(marks),
            rate=pace.look(offset - before if offset >= before else None, now),
            caught_up=caught_up,
        )


def _newest(marks: Sequence[Applied]) -> int | None:
    return max((mark.event_time for mark in marks if mark.event_time is not None), default=None)


def _positions(marks: Sequence[Applied]) -> dict[str, str]:
    highest: dict[str, tuple[int, ...]] = {}
    for mark in marks:
        for database, position in mark.positions.items():
            highest[database] = max(position, highest.get(database, ()))
    return {database: position_text(position) for database, position in sorted(highest.items())}
