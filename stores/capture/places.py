"""How far each tap has been drawn from, and everything before it is on the log: a small SQLite file.

Invariant: a place is written after the records before it have been appended, and only by the one process that appends.
Readers in other processes see the newest one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from events.errors import StoreError

_BUSY_SECONDS = 10.0
_HISTORY = 64


class Place(msgspec.Struct, frozen=True):
    """One tap's place.

    :arg place: As `Drawn.place`.
    :arg event_time: Newest moment known of the source then (ms since epoch).
    :arg caught_up: Whether the source had nothing more then.
    :arg at: When the source was looked at, to find that (ms since epoch).
    :arg records: How many records have been appended before it, over all runs.
    :arg history: Of this place and earlier ones, oldest first: when it was written, and as of which moment all that the
        source had was on the log then (ms since epoch). The older, the fewer.
    :arg whole_at: As of which moment all that the source had is before this place (ms since epoch); never after `at`.
        None if nothing is known of that.
    """

    place: Any
    event_time: int | None
    caught_up: bool
    at: int
    records: int
    history: tuple[tuple[int, int], ...] = ()
    whole_at: int | None = None

    def true_at(self, moment: int) -> int | None:
        """Return as of when the log had all of the source at `moment`; None if that is not known."""
        return max((true_at for written_at, true_at in self.history if written_at <= moment), default=None)


def with_history(place: Place, before: Place | None, now: int) -> Place:
    """Return a place that is written `now`, with what is known of those before it."""
    known = [] if before is None else list(before.history)
    if place.whole_at is not None:
        # A clock at the source that is ahead does not make anything fresher.
        known.append((now, min(place.whole_at, place.at)))
    if len(known) > _HISTORY:
        # Of the older half every other one: what is not there makes the rest claim less.
        half = _HISTORY // 2
        known = known[0:half:2] + known[half:]
    return msgspec.structs.replace(place, history=tuple(known))


class Places:
    """The file.

    :arg path: Where it is; made by the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Place]:
        """Return the place of each tap that has one.

        :raises StoreError: When the file cannot be read.
        """
        if not self._path.exists():
            return {}
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute("SELECT tap, place FROM places").fetchall()
                return {tap: msgspec.json.decode(place, type=Place) for tap, place in rows}
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise self._broken(error) from error

    def write(self, places: Mapping[str, Place]) -> None:
        """Write places, of one commit that has reached the disk on return.

        :raises StoreError: When the file cannot be written.
        """
        if not places:
            return
        rows = [(tap, msgspec.json.encode(place)) for tap, place in places.items()]
        try:
            with closing(self._connect()) as connection, connection:
                connection.executemany("INSERT OR REPLACE INTO places VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def note_fault(self, tap: str, said: str) -> None:
        """Note why a tap stands still, for those who look; empty: it does not.

        :raises StoreError: When the file cannot be written.
        """
        try:
            with closing(self._connect()) as connection, connection:
                if said:
                    connection.execute("INSERT OR REPLACE INTO faults VALUES (?, ?)", (tap, said))
                else:
                    connection.execute("DELETE FROM faults WHERE tap = ?", (tap,))
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def faults(self) -> dict[str, str]:
        """Return why taps stand still, of those that do.

        :raises StoreError: When the file cannot be read.
        """
        if not self._path.exists():
            return {}
        try:
            with closing(self._connect()) as connection:
                return dict(connection.execute("SELECT tap, said FROM faults").fetchall())
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def remove(self, tap: str) -> None:
        """Forget the place of a tap: it is then read from its beginning.

        :raises StoreError: When the file cannot be written.
        """
        try:
            with closing(self._connect()) as connection, connection:
                connection.execute("DELETE FROM places WHERE tap = ?", (tap,))
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS places (tap TEXT PRIMARY KEY, place BLOB NOT NULL)")
        connection.execute("CREATE TABLE IF NOT EXISTS faults (tap TEXT PRIMARY KEY, said TEXT NOT NULL)")
        return connection

    def _broken(self, error: Exception) -> StoreError:
        detail = f"the places of captures in {self._path} cannot be used: {error}"
        return StoreError(detail, "look at the disk; without the file, every source is read from its beginning")
