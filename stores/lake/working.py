"""Conversations that late feedback may still amend: their events, until they are too old, in one SQLite file.

Of two events of one kind and id that one stays which stands over the other (`events.feedback.stands_over`), whatever
came first: the file's content is a function of the set of events. A conversation is dirty from the commit that brought
an event of it until the lake is known to hold its row. Where its row lies is remembered for ever, which is some hundred
bytes a conversation; the lake itself is the truth about that, and tells it again when it is in doubt. Of a conversation
only so much is kept (`stores/lake/cutoffs.py`).
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from events.clock import Clock
from events.errors import StoreError
from events.feedback import Comment, Rating, Said, ShownContext, Turn, rank
from events.log import Applied
from stores.lake.cutoffs import MOST, Cutoffs
from stores.lock import WriterLock
from stores.rows.base import APPLIED, applied_fact, applied_of
from stores.rows.sqlite import facts
from stores.rows.sqlite_file import open_for_writing
from stores.rows.sqlite_schema import Layout

_KINDS: tuple[type[Turn | Rating | Comment | ShownContext], ...] = (Turn, Rating, Comment, ShownContext)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_DECODERS = [msgspec.json.Decoder(kind) for kind in _KINDS]
_encode = msgspec.json.Encoder().encode

LAYOUT = Layout(
    "store of conversations",
    0x48524C4B,
    1,
    (
        "CREATE TABLE headrace_store (identity TEXT NOT NULL, made_at INTEGER NOT NULL) STRICT",
        """CREATE TABLE headrace_facts (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID""",
        # newest: of the events that are kept here; null when they have left for good, or none has come.
        """CREATE TABLE conversations (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, newest INTEGER,
            dirty INTEGER NOT NULL, day INTEGER, begin INTEGER, revision TEXT) STRICT""",
        "CREATE INDEX conversations_dirty ON conversations (number) WHERE dirty = 1",
        "CREATE INDEX conversations_newest ON conversations (newest) WHERE newest IS NOT NULL",
        """CREATE TABLE events (conversation INTEGER NOT NULL, kind INTEGER NOT NULL, id TEXT NOT NULL,
            time INTEGER NOT NULL, rank BLOB NOT NULL, value BLOB NOT NULL, UNIQUE (conversation, kind, id)) STRICT""",
    ),
)
_PUT = """INSERT INTO events VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET time = excluded.time,
    rank = excluded.rank, value = excluded.value WHERE (excluded.time, excluded.rank) > (events.time, events.rank)"""


class Place(msgspec.Struct, frozen=True):
    """Where the row of a conversation lies in the lake.

    :arg day: Since 1970-01-01, its partition.
    :arg begin: In microseconds since then.
    """

    day: int
    begin: int
    revision: str


class Kept(msgspec.Struct, frozen=True):
    """A conversation.

    :arg whole: Whether its events are here; False: only its row, in the lake, has them.
    :arg place: None if it has no row.
    """

    number: int
    id: str
    whole: bool
    place: Place | None


class Conversations:
    """The writer of the file.

    :arg path: Made if it is not there.
    :arg clock: Tells when it was made.
    :arg most: Events of one conversation that are kept.
    :raises StoreError: When another one writes it, or it is none of ours.
    """

    def __init__(
        self, path: Path, clock: Clock, identity: Callable[[], str] = lambda: secrets.token_hex(8), most: int = MOST
    ) -> None:
        self._path = path
        self._lock: WriterLock | None = WriterLock(path.with_name(f"{path.name}.lock"), f"the {LAYOUT.name} {path}")
        try:
            with explained(path):
                self._db = open_for_writing(path, identity, clock(), LAYOUT)
                self._db.execute("PRAGMA secure_delete = ON")
                self._cutoffs = Cutoffs(self._db, most)
        except BaseException:
            self._lock.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all or nothing of what is done within."""
        with explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back by itself
                    self._db.execute("ROLLBACK")
                raise

    def admitted(self, events: Sequence[Said]) -> Sequence[Said]:
        """Return those events for which their conversations have room; the others are counted."""
        return self._cutoffs.admitted(events)

    def meet(self, ids: Iterable[str]) -> dict[str, Kept]:
        """Return conversations by id; those that are not known yet are made."""
        wanted = sorted(set(ids))
        found = self._find(wanted)
        missing = [(id_,) for id_ in wanted if id_ not in found]
        if missing:
            self._db.executemany("INSERT INTO conversations (id, dirty) VALUES (?, 0)", missing)
            found |= self._find([id_ for (id_,) in missing])
        return found

    def put(self, events: Sequence[Said], known: Mapping[str, Kept]) -> None:
        """Take events in, each only if it stands over what is there; their conversations become dirty.

        Of a conversation that is too large then, the newest events go.
        """
        newest: dict[int, int] = {}
        rows = []
        for event in events:
            number = known[event.conversation].number
            newest[number] = max(event.time, newest.get(number, event.time))
            plain = event if type(event) is not Comment else msgspec.structs.replace(event, verdict=None)
            rows.append((number, _CODES[type(event)], event.id, *rank(event), _encode(plain)))
        self._db.executemany(_PUT, rows)
        self._db.executemany(
            "UPDATE conversations SET dirty = 1, newest = max(?1, ifnull(newest, ?1)) WHERE number = ?2",
            [(time, number) for number, time in newest.items()],
        )
        ids = {known[event.conversation].number: event.conversation for event in events}
        self._cutoffs.trim(ids, [(row[0], len(row[-1])) for row in rows])

    def dirty(self, limit: int) -> list[Kept]:
        """Return conversations whose rows may have to be written, at most so many."""
        query = f"SELECT {_KEPT} FROM conversations WHERE dirty = 1 ORDER BY number LIMIT ?"  # noqa: S608  # our own names
        with explained(self._path):
            return [_kept(row) for row in self._db.execute(query, (limit,))]

    def events(self, conversations: Sequence[Kept]) -> dict[int, list[Said]]:
        """Return the events of conversations by their numbers."""
        found: dict[int, list[Said]] = {one.number: [] for one in conversations}
        query = "SELECT conversation, kind, value FROM events WHERE conversation IN (SELECT value FROM json_each(?))"
        with explained(self._path):
            for number, kind, value in self._db.execute(query, (_json(list(found)),)):
                found[number].append(_DECODERS[kind].decode(value))
        return found

    def settle(self, places: Mapping[int, Place | None]) -> None:
        """Note that the lake holds these rows, by number of the conversation; None: it has none."""
        self._db.executemany(
            "UPDATE conversations SET dirty = 0, day = ?, begin = ?, revision = ? WHERE number = ?",
            [
                (None, None, None, number) if place is None else (place.day, place.begin, place.revision, number)
                for number, place in places.items()
            ],
        )

    def relocate(self, places: Iterable[tuple[str, Place]]) -> int:
        """Take from the lake which rows it has, where and of which revision; what differs from before is dirty.

        Returns how many rows are gone that only the lake had.
        """
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS found (id TEXT PRIMARY KEY, day, begin, revision)")
        self._db.execute("DELETE FROM found")
        self._db.executemany(
            "INSERT INTO found VALUES (?, ?, ?, ?)", ((id_, *msgspec.structs.astuple(place)) for id_, place in places)
        )
        self._db.execute("INSERT OR IGNORE INTO conversations (id, dirty) SELECT id, 0 FROM found")
        lost = "revision IS NOT NULL AND newest IS NULL AND id NOT IN (SELECT id FROM found)"
        [(gone,)] = self._db.execute(f"SELECT count(*) FROM conversations WHERE {lost}")  # noqa: S608  # our own names
        self._db.execute(
            """UPDATE conversations SET (day, begin, revision) = (found.day, found.begin, found.revision),
                dirty = dirty OR (newest IS NOT NULL AND conversations.revision IS NOT found.revision)
                FROM (SELECT all_.id, found.day, found.begin, found.revision
                      FROM conversations AS all_ LEFT JOIN found USING (id)) AS found
                WHERE conversations.id = found.id"""
        )
        self._db.execute("DELETE FROM found")
        return int(gone)

    def newest(self) -> int | None:
        """Return the newest event time of all."""
        with explained(self._path):
            [(newest,)] = self._db.execute("SELECT max(newest) FROM conversations WHERE newest IS NOT NULL")
        return None if newest is None else int(newest)

    def expire(self, before: int) -> tuple[int, int]:
        """Let events go of conversations without any from `before` on that are in the lake, or have no turn.

        Returns how many conversations are in the lake alone from here on, and how many of no turn are gone.
        """
        old = "newest < ? AND newest IS NOT NULL AND dirty = 0"
        self._db.execute(
            f"DELETE FROM events WHERE conversation IN (SELECT number FROM conversations WHERE {old})",  # noqa: S608  # our own names
            (before,),
        )
        gone = self._db.execute(f"DELETE FROM conversations WHERE {old} AND day IS NULL", (before,)).rowcount  # noqa: S608  # our own names
        if gone:
            self._cutoffs.forget()
        left = self._db.execute(f"UPDATE conversations SET newest = NULL WHERE {old}", (before,)).rowcount  # noqa: S608  # our own names
        return left, gone

    def of_persons(self, persons: frozenset[str]) -> list[Kept]:
        """Return the conversations of which an event that is kept here names one of these persons."""
        numbers: set[int] = set()
        if not persons:
            return []
        with explained(self._path):
            for number, kind, value in self._db.execute("SELECT conversation, kind, value FROM events"):
                if _DECODERS[kind].decode(value).person in persons:
                    numbers.add(number)
            query = f"SELECT {_KEPT} FROM conversations WHERE number IN (SELECT value FROM json_each(?))"  # noqa: S608  # our own names
            return [_kept(row) for row in self._db.execute(query, (_json(sorted(numbers)),))]

    def of_ids(self, ids: Iterable[str]) -> list[Kept]:
        """Return the conversations of these ids that are known."""
        with explained(self._path):
            return list(self._find(sorted(ids)).values())

    def remove(self, conversations: Sequence[Kept]) -> None:
        """Remove conversations with all that is known of them."""
        numbers = [(one.number,) for one in conversations]
        self._db.executemany("DELETE FROM events WHERE conversation = ?", numbers)
        self._db.executemany("DELETE FROM conversations WHERE number = ?", numbers)
        self._cutoffs.forget()

    def note(self, kind: str, facts: Mapping[str, bytes]) -> None:
        """Keep facts by kind and name."""
        rows = [(kind, name, value) for name, value in facts.items()]
        self._db.executemany("INSERT OR REPLACE INTO headrace_facts VALUES (?, ?, ?)", rows)

    def facts(self, kind: str) -> dict[str, bytes]:
        """Return the facts of a kind by name."""
        with explained(self._path):
            return facts(self._db, kind)

    def note_applied(self, marks: Iterable[Applied]) -> None:
        """Note how far partitions have been taken in."""
        self.note(APPLIED, dict(map(applied_fact, marks)))

    def applied(self) -> list[Applied]:
        """Return how far each partition has been taken in."""
        return applied_of(self.facts(APPLIED))

    def identity(self) -> str:
        """Return what tells this file from another one in its place."""
        with explained(self._path):
            return str(self._db.execute("SELECT identity FROM headrace_store").fetchone()[0])

    def close(self) -> None:
        """Let go of the file. Closing twice does nothing."""
        if self._lock is not None:
            self._db.close()
            self._lock.close()
            self._lock = None

    def _find(self, ids: Sequence[str]) -> dict[str, Kept]:
        query = f"SELECT {_KEPT} FROM conversations WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608  # our own names
        return {row[1]: _kept(row) for row in self._db.execute(query, (_json(ids),))}


_KEPT = "number, id, newest IS NOT NULL OR day IS NULL, day, begin, revision"


def _kept(row: tuple[int, str, int, int | None, int | None, str | None]) -> Kept:
    number, id_, whole, day, begin, revision = row
    place = None if day is None or begin is None or revision is None else Place(day, begin, revision)
    return Kept(number, id_, bool(whole), place)


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as StoreError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        detail = f"the {LAYOUT.name} {path} cannot be used: {error}"
        hint = "see that the disk has space and the file can be read and written, then start again"
        if type(error) is sqlite3.DatabaseError:
            hint = "the file is damaged or of another kind: move it aside with the flow's recovery folder"
        raise StoreError(detail, hint) from error
