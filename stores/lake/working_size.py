"""How much the working state of the lake holds, and how far it has taken in its streams: read whoever writes it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from events.log import Applied
from stores.lake.cutoffs import KIND, left_out
from stores.lake.intake import ERASED
from stores.lake.working import LAYOUT, explained
from stores.rows.base import APPLIED, applied_of
from stores.rows.sqlite import facts
from stores.rows.sqlite_file import check, open_for_reading


class WorkingSize(msgspec.Struct, frozen=True):
    """What the working state holds.

    :arg kept: Conversations whose events it has.
    :arg waiting: Of these, those of which no turn has come yet.
    :arg dirty: Of these, those whose rows have to be written.
    :arg left_out: Events for which their conversations had no room.
    """

    kept: int = 0
    waiting: int = 0
    dirty: int = 0
    applied: tuple[Applied, ...] = ()
    left_out: int = 0


def read_erased(path: Path, erasure: str) -> int:
    """Return how many conversations an erasure has removed."""
    if not path.exists():
        return 0
    with explained(path), closing(open_for_reading(path)) as db:
        if not check(db, path, LAYOUT):
            return 0
        return int(msgspec.json.decode(facts(db, ERASED).get(erasure, b"0"), type=int))


def read_applied(path: Path) -> list[Applied]:
    """Return how far the working state has taken in its streams."""
    if not path.exists():
        return []
    with explained(path), closing(open_for_reading(path)) as db:
        return applied_of(facts(db, APPLIED)) if check(db, path, LAYOUT) else []


def read_working(path: Path) -> WorkingSize:
    """Return what the working state holds, whoever writes it; an absent one is empty."""
    if not path.exists():
        return WorkingSize()
    query = """SELECT count(*), count(*) FILTER (WHERE day IS NULL), count(*) FILTER (WHERE dirty = 1)
        FROM conversations WHERE newest IS NOT NULL"""
    with explained(path), closing(open_for_reading(path)) as db:
        if not check(db, path, LAYOUT):
            return WorkingSize()
        [(kept, waiting, dirty)] = db.execute(query)
        return WorkingSize(
            kept, waiting, dirty, tuple(applied_of(facts(db, APPLIED))), left_out(facts(db, KIND).values())
        )
