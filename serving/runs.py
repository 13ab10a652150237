"""Whether a flow runs over a data folder: its process holds a lock there for as long as it lives."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def lock_path(flow: str, data: Path) -> Path:
    """Return the file whose lock a running flow holds."""
    return data / f"{flow}.lock"


def runs(flow: str, data: Path) -> bool:
    """Tell whether the flow runs, started by `headrace run`."""
    try:
        lock = os.open(lock_path(flow, data), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)
