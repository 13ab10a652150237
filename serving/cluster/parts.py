"""The files of a flow's state: the engine resumes from all of them or, with pages about why, from none.

Nothing is made, locked or changed here: the engine itself may be at work on them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from events.errors import StoreError

_NAMED = 3
"""How many that are missing are told by name."""


def check_parts(folder: Path) -> None:
    """Make sure that all files of a state are there, as they themselves tell how many there are.

    :raises StoreError: When one is missing, cannot be read, or belongs to another state.
    """
    counts: dict[int, Path] = {}
    found: set[int] = set()
    for path in sorted(folder.glob("*.sqlite3")):
        index, count = _part(path)
        counts.setdefault(count, path)
        found.add(index)
    if len(counts) > 1:
        said = " and ".join(f"{path.name} is one of {count}" for count, path in sorted(counts.items()))
        raise _refused(folder, f"it holds files of different states: {said}")
    (count,) = counts
    missing = [f"part-{index}.sqlite3" for index in range(count) if index not in found]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        are = "is" if len(missing) == 1 else "are"
        raise _refused(folder, f"{', '.join(missing[:_NAMED])}{more} of {count} files {are} missing")


def _part(path: Path) -> tuple[int, int]:
    """Return which part a file holds, and of how many.

    :raises StoreError: When it does not tell.
    """
    try:
        try:
            row = _row(path, "mode=ro&immutable=1")
        except sqlite3.DatabaseError:
            # What a power failure has left of the file itself may make sense with its journal alone.
            journal = path.with_name(f"{path.name}-wal")
            if not (journal.is_file() and journal.stat().st_size):
                raise
            row = _row(path, "mode=ro")
    except (sqlite3.DatabaseError, OSError) as error:
        raise _refused(path.parent, f"{path.name} cannot be read: {error}") from None
    if row is None:
        raise _refused(path.parent, f"{path.name} does not say which part it is")
    return row


def _row(path: Path, how: str) -> tuple[int, int] | None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as connection:
        row: tuple[int, int] | None = connection.execute("SELECT part_index, part_count FROM parts").fetchone()
        return row


def _refused(folder: Path, reason: str) -> StoreError:
    hint = "put back what was moved away, or remove the folder: the flow then goes on from its store"
    return StoreError(f"the flow's state in {folder} is not whole: {reason}", hint)
