"""The journal of one realm's identity graph in a SQLite file.

What was put is there once `put` has returned, also when the process is killed. A power cut may take the last commits:
the journal then ends at an older sequence, and `roll_back` refuses a newer one instead of guessing.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from events.clock import Clock
from events.errors import StoreError
from events.log import Applied, Mark
from stores.journal.epochs import last_numbers, outdated, packed, read_state, unpacked
from stores.journal.sqlite_file import check, explained, open_for_writing
from stores.lock import WriterLock
from stores.rows.change_intake import applied_after
from stores.rows.sqlite_file import open_for_reading

# What is overwritten within its sequence leaves no trace; what is removed always does: `roll_back` has to name it.
_BURY = """INSERT INTO former (died, id, name, born, value)
    SELECT ?1, id, name, born, value FROM entries WHERE name = ?2 AND (born < ?1 OR ?3)"""
_PUT = """INSERT INTO entries (name, born, value) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET born = excluded.born, value = excluded.value"""
_REMOVE = "DELETE FROM entries WHERE name = ?"
_UNTOLD = "INSERT INTO untold VALUES (?, NULL) ON CONFLICT (name) DO UPDATE SET until = NULL"
_LOAD = "SELECT id, name, value FROM entries WHERE id > ? ORDER BY id LIMIT ?"
_LOADED_AT_ONCE = 5_000


class SqliteJournal:
    """Keeps entries as they are, and as they were at the end of each sequence of the last while.

    :arg path: The file; made if it is not there.
    :arg clock: Tells when an epoch was closed.
    :arg keep_seconds: How long one can go back.
    :arg identity: Gives a journal that is made an id that no other has.
    :raises StoreError: When another process has the journal, or it cannot be used.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        keep_seconds: float = 3600.0,
        identity: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._path = path
        self._clock = clock
        self._keep_millis = round(keep_seconds * 1000)
        self._lock: WriterLock | None = WriterLock(path.with_name(f"{path.name}.lock"), f"the identity journal {path}")
        try:
            self._db = open_for_writing(path, identity, clock())
            try:
                with explained(path):
                    self._state = read_state(self._db)
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._lock.close()
            raise
        # Whether a roll-back has named anything of which others are still to be told; whether they are told of it now.
        self._named = False
        self._telling = False

    @property
    def identity(self) -> str:
        """Id that this journal got when it was made."""
        return self._state.identity

    def load(self) -> Iterator[tuple[str, bytes]]:
        """Return all entries, in any order."""
        last = 0
        while True:
            with explained(self._path):
                rows = self._db.execute(_LOAD, (last, _LOADED_AT_ONCE)).fetchall()
            if not rows:
                return
            for _, name, value in rows:
                yield name, value
            last = rows[-1][0]

    def get(self, name: str) -> bytes | None:
        """Return one entry, None if it is not there."""
        with explained(self._path):
            found = self._db.execute("SELECT value FROM entries WHERE name = ?", (name,)).fetchone()
        return None if found is None else bytes(found[0])

    def put(self, entries: Mapping[str, bytes | None]) -> None:
        """Write entries over what was there, in one commit; None removes one."""
        if not entries:
            return
        # Names in order find their neighbours in pages that have just been read.
        names, sequence = sorted(entries), self._state.under_way
        before = self._db.total_changes
        with self._commit() as db:
            db.executemany(_BURY, [(sequence, name, entries[name] is None) for name in names])
            db.executemany(_PUT, [(name, sequence, value) for name in names if (value := entries[name]) is not None])
            db.executemany(_REMOVE, [(name,) for name in names if entries[name] is None])
        self._state.changed |= db.total_changes > before

    def close_epoch(self, marks: Sequence[Mark]) -> int:
        """Note marks as applied, end the sequence under way in one commit, and return its number.

        A sequence in which nothing was put or told does not end: the number is that of the last one that did, whose
        content is still the present one. What has been no state for `keep_seconds` is removed, some of it at a time.
        """
        now, state = self._clock(), self._state
        applied = dict(state.applied)
        for mark in marks:
            key = mark.source, mark.partition
            applied[key] = applied_after(applied.get(key), mark, now)
        noted = any(one is not state.applied.get(key) for key, one in applied.items())
        with explained(self._path):
            gone = outdated(self._db, state, now - self._keep_millis)
        ends = state.changed or self._telling
        if not (ends or noted or gone):
            return state.sequence
        sequence = state.under_way if ends else state.sequence
        with self._commit() as db:
            last_id, last_place = last_numbers(db)
            if self._telling:
                db.execute("UPDATE untold SET until = ? WHERE until IS NULL", (sequence,))
            if ends:
                epoch = sequence, now, last_id, last_place, packed(applied.values())
                db.execute("INSERT INTO epochs VALUES (?, ?, ?, ?, ?)", epoch)
            elif noted:
                db.execute("UPDATE epochs SET applied = ? WHERE sequence = ?", (packed(applied.values()), sequence))
            if gone:
                db.execute("DELETE FROM epochs WHERE sequence < ?", (gone.floor,))
                db.execute("DELETE FROM former WHERE place <= ?", (gone.place,))
                db.execute("DELETE FROM untold WHERE until <= ?", (gone.floor,))
        state.sequence, state.last_place, state.applied, state.changed = sequence, last_place, applied, False
        if self._telling:
            self._named = self._telling = False
        return sequence

    def roll_back(self, sequence: int | None) -> set[str]:
        """Go back to the end of `sequence`; return the names of which others may have been told something else.

        These are the names of which entries have been written since, and those of earlier roll-backs unless `told` was
        called in that sequence or before it. They are durable in the commit that goes back.

        :arg sequence: None: nobody knows what others were told. Nothing goes back, and beside all names of entries
            these are it: names of earlier roll-backs and of entries that were removed in the last `keep_seconds`.
        :raises StoreError: When the journal no longer or never had that sequence: it was left more than `keep_seconds`
            ago, has been given up in another roll-back, or the journal is older than whoever asks.
        """
        names = self._gone_back(sequence) if sequence is not None else self._gone_away()
        self._named, self._telling = bool(names), False
        return names

    def told(self) -> None:
        """Take note that with the sequence under way others are told of all names that a roll-back has returned."""
        self._telling = self._named

    def _gone_away(self) -> set[str]:
        query = "SELECT name FROM untold UNION SELECT name FROM former WHERE name NOT IN (SELECT name FROM entries)"
        with self._commit() as db:
            names = {name for (name,) in db.execute(query)}
            db.executemany(_UNTOLD, [(name,) for name in sorted(names)])
        return names

    def _gone_back(self, sequence: int) -> set[str]:
        query = "SELECT last_id, last_place FROM epochs WHERE sequence = ?"
        with explained(self._path):
            found = self._db.execute(query, (sequence,)).fetchone()
        if found is None:
            raise self._refusal(sequence)
        untold = "SELECT name FROM untold WHERE until IS NULL OR until > ?", (sequence,)
        if sequence == self._state.sequence and not self._state.changed:
            with explained(self._path):
                return {name for (name,) in self._db.execute(*untold)}
        last_id, last_place = found
        with self._commit() as db:
            since = (
                "SELECT name FROM entries WHERE id > ? UNION SELECT name FROM former WHERE place > ?",
                (last_id, last_place),
            )
            written = {name for (name,) in db.execute(*since)}
            names = written.union(name for (name,) in db.execute(*untold))
            db.executemany(_UNTOLD, [(name,) for name in sorted(names)])
            db.executemany(_REMOVE, [(name,) for name in sorted(written)])
            db.execute(
                """INSERT INTO entries (id, name, born, value)
                    SELECT id, name, born, value FROM former WHERE place > ? AND born <= ? ORDER BY id""",
                (last_place, sequence),
            )
            db.execute("DELETE FROM former WHERE place > ?", (last_place,))
            db.execute("DELETE FROM epochs WHERE sequence > ?", (sequence,))
            db.execute("UPDATE journal SET retired = max(retired, ?)", (self._state.sequence,))
        with explained(self._path):
            self._state = read_state(self._db)
        return names

    def forget(self, names: Sequence[str]) -> int:
        """Remove entries with all that they ever were, at once, and their names; return how many there were."""
        wanted = sorted(set(names))
        found: set[str] = set()
        with self._commit() as db:
            # A table of names, as one pass over what has died must do for all of them: it has no index of names.
            db.execute("CREATE TEMP TABLE wanted (name TEXT PRIMARY KEY) WITHOUT ROWID")
            db.executemany("INSERT INTO wanted VALUES (?)", [(name,) for name in wanted])
            for table in ("entries", "former"):
                condition = "name IN (SELECT name FROM wanted)"
                found.update(name for (name,) in db.execute(f"SELECT name FROM {table} WHERE {condition}"))  # noqa: S608  # our own names
                db.execute(f"DELETE FROM {table} WHERE {condition}")  # noqa: S608  # our own names
            db.execute("DELETE FROM untold WHERE name IN (SELECT name FROM wanted)")
            db.execute("DROP TABLE wanted")
        return len(found)

    def applied(self) -> list[Applied]:
        """Return how far what was applied to the graph had come when an epoch was last closed."""
        return list(self._state.applied.values())

    def close(self) -> None:
        """Let go of the journal. Closing twice does nothing."""
        if self._lock is not None:
            self._db.close()
            self._lock.close()
            self._lock = None

    def _refusal(self, sequence: int) -> StoreError:
        with explained(self._path):
            floor = self._db.execute("SELECT min(sequence) FROM epochs").fetchone()[0]
        if sequence > max(self._state.sequence, self._state.retired):
            detail = f"the identity journal {self._path} is older than the recovery folder: a copy, or its last commits"
            detail += " are lost"
        elif sequence < floor:
            kept = f"{self._keep_millis / 60_000:g} minutes"
            detail = f"the recovery folder is older than what the identity journal {self._path} keeps: {kept}"
        else:
            detail = f"the recovery folder is a copy from before the identity journal {self._path} went back"
        hint = "remove the recovery folder of the flow: it then reads the log again, over what the journal holds"
        return StoreError(detail, hint)

    @contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        with explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise


def journal_applied(path: Path) -> list[Applied]:
    """Return how far a journal has come, read beside whoever writes it; nothing if there is no journal.

    :raises StoreError: When the file is not a journal or cannot be read.
    """
    if not path.exists():
        return []
    with explained(path), closing(open_for_reading(path)) as db:
        if not check(db, path):
            return []
        newest = db.execute("SELECT applied FROM epochs ORDER BY sequence DESC LIMIT 1").fetchone()
        return unpacked(newest[0])
