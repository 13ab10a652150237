"""The profiles flow with a journal that kills its process at one moment that only chance would hit.

`DIE_AFTER` is the number of the journal's epoch after whose commit, before the engine's own, the process dies.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any
from unittest import mock

from bytewax.dataflow import Dataflow

from dataflows import profiles
from events.log import Mark
from stores.journal.sqlite import SqliteJournal
from stores.settings import load


class DyingJournal(SqliteJournal):
    """Counts the epochs that it closes."""

    closed = 0

    def close_epoch(self, marks: Sequence[Mark]) -> int:
        sequence = super().close_epoch(marks)
        DyingJournal.closed += 1
        if DyingJournal.closed == int(os.environ["DIE_AFTER"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return sequence


def __getattr__(name: str) -> Any:
    if name != "flow":
        raise AttributeError(name)
    return _flow()


def _flow() -> Dataflow:
    # The resolvers are opened later, on their workers: the patch stays.
    mock.patch.object(profiles, "SqliteJournal", DyingJournal).start()
    return profiles.build(load())
