"""Progress of a first index, on the terminal that the flow was started from.

A bar where somebody looks, a line now and then where a file does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from events.log import Mark
from stores.vectors.base import WriteReport

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

logger = logging.getLogger(__name__)

LINE_EVERY = 1000  # documents


class ScanProgress:
    """Shows how far the first scan of each source has come into the store."""

    def __init__(self, *, terminal: bool | None = None) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, int] = {}

    def observe(self, report: WriteReport, marks: Sequence[Mark]) -> None:
        """Take note of a commit: marks that are part of a first scan move the bar."""
        del report
        for mark in marks:
            if not mark.total:
                continue
            if self._terminal:
                self._draw(mark)
            elif mark.done == mark.total or mark.done - self._said.get(mark.source, 0) >= LINE_EVERY:
                self._said[mark.source] = mark.done
                logger.info("%s: %d of %d documents read in", mark.source, mark.done, mark.total)

    def _draw(self, mark: Mark) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
        if mark.source not in self._tasks:
            self._tasks[mark.source] = self._bar.add_task(mark.source, total=mark.total)
        self._bar.update(self._tasks[mark.source], completed=mark.done, total=mark.total)
        if all(task.finished for task in self._bar.tasks):
            self._bar.stop()
            self._bar = None
            self._tasks.clear()
