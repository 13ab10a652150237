"""What there is to be said about the lake: how large it is, how fresh, and what waits to go into it."""

from __future__ import annotations

from typing import Any

import msgspec

from events.clock import to_iso
from stores.lake.choose import open_lake_reader
from stores.lake.reader import LakeSize
from stores.lake.working_size import WorkingSize, read_working
from stores.settings import Settings


class LakeStatus(msgspec.Struct, frozen=True):
    """The lake at one moment.

    :arg working: What late feedback may still amend, and what has been taken in.
    """

    folder: str
    lake: LakeSize
    working: WorkingSize

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for other programs: times in ISO 8601, sizes in bytes."""
        found: dict[str, Any] = {"folder": self.folder, **msgspec.to_builtins(self.lake)}
        found["committed_at"] = None if self.lake.committed_at is None else to_iso(self.lake.committed_at)
        found |= {name: getattr(self.working, name) for name in ("kept", "waiting", "dirty", "left_out")}
        found["applied"] = [
            {
                "stream": mark.source,
                "partition": mark.partition,
                "offset": mark.offset,
                "event_time": None if mark.event_time is None else to_iso(mark.event_time),
                "caught_up": mark.caught_up,
                "applied_at": to_iso(mark.applied_at),
            }
            for mark in self.working.applied
        ]
        return found


def lake_status(settings: Settings) -> LakeStatus:
    """Return how the lake is at this moment.

    :raises StoreError: When it cannot be read.
    """
    size = open_lake_reader(settings).size()
    return LakeStatus(str(settings.lake_dir), size, read_working(settings.conversations_path))
