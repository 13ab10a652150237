"""The file that tells other programs how the processes of one flow are: `FLOW.cluster.json` in the data folder.

Made when the cluster starts, removed when it stops cleanly. One that is left over by a killed supervisor is not
believed: the lock says whether the flow runs, and one process alone removes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from events.clock import to_iso
from serving.runs import runs

State = Literal["running", "stuck", "waiting"]


class ClusterHealth(msgspec.Struct, frozen=True):
    """One cluster.

    :arg pid: Of the process that looks after the others.
    :arg state: `running`, `waiting` to be started again, or `stuck`: all of them live, and nothing is finished.
    :arg since: When it came into its state (ms since epoch).
    :arg processes: Ids of the processes that run, by their number in the cluster; None where there is none.
    :arg restarts: How often all of them were started again.
    :arg error: What ended them last; empty if nothing has.
    """

    flow: str
    pid: int
    state: State
    since: int
    processes: tuple[int | None, ...]
    restarts: int
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for other programs."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {**found, "processes": list(self.processes), "since": to_iso(self.since)}


def path_of(flow: str, data: Path) -> Path:
    """Return where the file is."""
    return data / f"{flow}.cluster.json"


def write(data: Path, health: ClusterHealth) -> None:
    """Put the file there in one step: whoever reads sees the one before or this one."""
    path = path_of(health.flow, data)
    beside = path.with_name(f"{path.name}.made")
    beside.write_bytes(msgspec.json.encode(health))
    beside.replace(path)


def remove(flow: str, data: Path) -> None:
    """Remove the file, if it is there."""
    path_of(flow, data).unlink(missing_ok=True)


def read(flow: str, data: Path) -> ClusterHealth | None:
    """Return how the processes of a flow are; None if it does not run as a cluster."""
    if not runs(flow, data):
        return None
    try:
        return msgspec.json.decode(path_of(flow, data).read_bytes(), type=ClusterHealth)
    except (OSError, msgspec.DecodeError):
        return None
