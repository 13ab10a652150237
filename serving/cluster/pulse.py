"""When a flow's last epoch ended, as the files of its state tell.

The engine notes every epoch there, also one in which nothing came, as soon as all of its processes have finished it. So
files that do not change while the processes live mean that one of them hangs, or has work for very long.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

STUCK_MILLIS = 60_000
"""Epochs end every second; one that lasts for so long is not on its way to its end."""


def last_epoch(recovery: Path | None, began: int) -> int | None:
    """Return when the last epoch ended (ms since epoch), or the flow began; None if that is kept nowhere.

    Over several machines the first process alone keeps the state: of the others nothing is known.

    :arg recovery: The folder of the flow's state; None if it keeps none.
    :arg began: When its processes were started: what is older was done by others.
    """
    changed = []
    for path in [] if recovery is None else recovery.glob("part-*.sqlite3*"):
        with suppress(OSError):  # the engine removes what is left over of an earlier run
            changed.append(path.stat().st_mtime_ns // 1_000_000)
    return max(began, *changed) if changed else None
