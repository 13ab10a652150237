"""Which flows the settings give work to, what each of them reads, and whether it runs over a data folder.

A running flow's process holds a lock there for as long as it lives; who looks at it never keeps a flow from starting
for longer than the look takes.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from events.errors import HeadraceError
from stores.settings import FLOWS, Settings

UP = "up"
"""Name under which whoever runs all of them holds a lock as well."""


def make_folder(data: Path) -> None:
    """Make the data folder, if it is not there.

    :raises HeadraceError: When it cannot be made, or nothing can be written there.
    """
    remedy = "correct HEADRACE_DATA_DIR, or data_dir in headrace.toml"
    try:
        data.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        detail = f"the data folder {data} is a file"
        raise HeadraceError(detail, remedy) from None
    except OSError as error:
        detail = f"the data folder {data} cannot be made: {os.strerror(error.errno or 0)}"
        raise HeadraceError(detail, remedy) from None
    if not os.access(data, os.W_OK | os.X_OK):
        detail = f"nothing can be written to the data folder {data}"
        raise HeadraceError(detail, remedy)


def lock_path(flow: str, data: Path) -> Path:
    """Return the file whose lock a running flow holds."""
    return data / f"{flow}.lock"


ALONE = ("capture", "delivery")
"""Flows that are one process, whatever the others are. A tap has one reader, who alone writes how far it is and tells
the source so; a delivery has one writer, who alone knows what has arrived. More processes would only wait."""


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


def folders_of(flow: str, settings: Settings) -> list[str]:
    """Return the names of the folders that a flow follows, or of what it captures: what is no stream of the log."""
    if flow == "capture":
        return [tap.name for tap in settings.capture.taps]
    return [folder.name for folder in settings.knowledge.folders] if flow == "knowledge" else []


def streams_of(flow: str, settings: Settings) -> list[str]:
    """Return the streams that the settings have a flow follow."""
    if flow == "knowledge":
        return [*settings.knowledge.streams]
    if flow == "capture":
        return []
    if flow == "delivery":
        return sorted({stream for sink in settings.delivery.sinks for stream in sink.streams})
    followed = {"tables": settings.tables.streams, "profiles": settings.profiles.streams}
    return [stream.name for stream in followed.get(flow, settings.feedback.streams)]


def missing(flow: str, settings: Settings) -> tuple[str, ...]:
    """Return the sections that the settings lack for a flow to have work; none if it has."""
    needed: dict[str, tuple[tuple[str, ...], bool]] = {
        "capture": (("[[capture.postgres]] or the like for another source",), bool(settings.capture.taps)),
        "knowledge": (
            ("[[knowledge.folders]]",),
            bool(settings.knowledge.folders or settings.knowledge.streams),
        ),
        "tables": (("[[tables.streams]]", "[[tables.live]]"), bool(settings.tables.streams and settings.tables.live)),
        "profiles": (
            ("[[profiles.streams]]", "[[profiles.tables]]"),
            bool(settings.profiles.streams and settings.profiles.realms),
        ),
        "feedback": (("[[feedback.streams]]",), bool(settings.feedback.streams)),
        "lake": (("[[feedback.streams]]",), bool(settings.feedback.streams)),
        "delivery": (("[[delivery.kinesis]] or [[delivery.files]]",), bool(settings.delivery.sinks)),
    }
    sections, complete = needed[flow]
    return () if complete else sections


def with_work(settings: Settings) -> list[str]:
    """Return the flows that the settings give work to."""
    return [flow for flow in FLOWS if not missing(flow, settings)]
