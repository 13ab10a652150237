"""The file that tells other programs what `headrace up` runs: made when it starts, removed when it stops cleanly.

One that is left over by a killed program is not believed: the lock says whether it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from events.clock import to_iso
from serving.runs import UP, runs

State = Literal["running", "waiting", "given up"]


class ProcessHealth(msgspec.Struct, frozen=True):
    """One process.

    :arg pid: Of the process that was started; None while none runs.
    :arg since: When it came into its state (ms since epoch).
    :arg restarts: How often it was started again.
    :arg said: What the last one said that ended with a word of explanation.
    """

    state: State
    pid: int | None
    since: int
    restarts: int
    said: str = ""


class Health(msgspec.Struct, frozen=True):
    """All of them.

    :arg since: When `headrace up` was started (ms since epoch).
    :arg address: Of the page, without its key; empty if it is not served.
    """

    pid: int
    since: int
    address: str
    processes: dict[str, ProcessHealth]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for other programs."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        for one in (found, *found["processes"].values()):
            one["since"] = to_iso(one["since"])
        return found


def path_of(data: Path) -> Path:
    """Return where the file is."""
    return data / "up.json"


def write(data: Path, health: Health) -> None:
    """Put the file there in one step: whoever reads sees the one before or this one."""
    path = path_of(data)
    beside = path.with_name(f"{path.name}.made")
    beside.write_bytes(msgspec.json.encode(health))
    beside.replace(path)


def remove(data: Path) -> None:
    """Remove the file, if it is there."""
    path_of(data).unlink(missing_ok=True)


def read(data: Path) -> Health | None:
    """Return what `headrace up` runs over these data; None if it does not run."""
    if not runs(UP, data):
        return None
    try:
        return msgspec.json.decode(path_of(data).read_bytes(), type=Health)
    except (OSError, msgspec.DecodeError):
        return None
