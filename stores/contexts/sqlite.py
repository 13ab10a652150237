"""Kept contexts in one SQLite file, which any number of processes and threads read and write.

A body comes back byte for byte; it lies there compressed. A commit outlives the process at once, and what is erased is
in no byte of the file and its write-ahead log once `erase` has returned.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from typing_extensions import override

from events.errors import StoreError
from events.feedback import SPEAKING, Turn
from stores.contexts.base import ContextStore, Holder, KeptContext
from stores.contexts.sqlite_file import LAYOUT, explained, open_contexts
from stores.contexts.theirs import THEIR_CONTEXTS, THEIR_TURNS, count, theirs
from stores.pool import Pool

_MOST, _SPARE, _WAIT_SECONDS = 32, 8, 30.0
_LEVEL = 3
"""Of zlib: a third of the time of the default, a tenth more bytes."""
_AT_ONCE = 1000
"""What one call of `prune` lets go of at most: it holds up who keeps meanwhile."""
_READ_AT_ONCE = 200

_encode = msgspec.json.Encoder().encode
_turn = msgspec.json.Decoder(Turn).decode
_labels = msgspec.json.Decoder(tuple[str, ...]).decode

_CONTEXT = "id, conversation, realm, person, audiences, key, at, body"
_KEEP = f"INSERT OR IGNORE INTO contexts ({_CONTEXT}, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # our own names
_ADD = (
    "INSERT OR IGNORE INTO turns (conversation, time, speaking, id, person, size, value) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_TOUCH = "UPDATE holders SET touched = max(touched, ?1) WHERE conversation = ?2"
_TURNS = """SELECT value FROM turns WHERE conversation = ? ORDER BY time DESC, speaking DESC, id DESC LIMIT ?"""

_OLDEST = """SELECT kind, number, time, size FROM (
    SELECT * FROM (SELECT 0 AS kind, number, at AS time, size FROM contexts ORDER BY at LIMIT :most)
    UNION ALL
    SELECT * FROM (SELECT 1 AS kind, number, time, size FROM turns ORDER BY time LIMIT :most)
    ) ORDER BY time, kind, number LIMIT :most"""
_SIZE = "SELECT (SELECT total(size) FROM contexts) + (SELECT total(size) FROM turns)"
_FORSAKEN = """DELETE FROM holders WHERE conversation IN (
    SELECT conversation FROM holders WHERE touched < ?1
        AND NOT EXISTS (SELECT 1 FROM contexts WHERE contexts.conversation = holders.conversation
            AND contexts.conversation <> '')
        AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.conversation = holders.conversation)
    LIMIT ?2)"""


class SqliteContexts(ContextStore):
    """The store.

    :arg path: The file; made when something is to be kept first, an absent one is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = Pool(
            f"{path}", self._open, _rested, sqlite3.Connection.close, most=_MOST, spare=_SPARE, seconds=_WAIT_SECONDS
        )

    @override
    def keep(self, context: KeptContext) -> None:
        body = zlib.compress(context.body, _LEVEL)
        audiences = _encode(context.audiences).decode()
        owner = context.realm, context.person, audiences, context.key
        with self._writing() as db:
            row = (context.id, context.conversation, *owner, context.at, body, len(body))
            if db.execute(_KEEP, row).rowcount and context.conversation:
                db.execute(_TOUCH, (context.at, context.conversation))

    @override
    def get(self, id_: str) -> KeptContext | None:
        found = self._contexts("id = ?", (id_,))
        return found[0] if found else None

    @override
    def of_conversation(self, conversation: str, limit: int) -> list[KeptContext]:
        chosen = "conversation = ? AND conversation <> '' ORDER BY at DESC, number DESC LIMIT ?"
        return self._contexts(chosen, (conversation, limit))

    @override
    def claim(self, conversation: str, holder: Holder, at: int) -> Holder:
        found = self.holder(conversation)
        if found is None:
            row = (conversation, holder.realm, holder.person, holder.key, at)
            with self._writing() as db:
                db.execute("INSERT OR IGNORE INTO holders VALUES (?, ?, ?, ?, ?)", row)
                found = _holder(db, conversation)
        return found or holder

    @override
    def holder(self, conversation: str) -> Holder | None:
        with self._reading() as db:
            return None if db is None else _holder(db, conversation)

    @override
    def add_turns(self, turns: Sequence[Turn]) -> None:
        if not turns:
            return
        with explained(self._path):
            values = [_encode(turn) for turn in turns]
        with self._writing() as db:
            for turn, value in zip(turns, values, strict=True):
                place = turn.conversation, turn.time, SPEAKING[turn.role], turn.id
                db.execute(_ADD, (*place, turn.person, len(value), value))
                db.execute(_TOUCH, (turn.time, turn.conversation))

    @override
    def turns(self, conversation: str, limit: int) -> list[Turn]:
        with self._reading() as db:
            rows = [] if db is None else db.execute(_TURNS, (conversation, limit)).fetchall()
        return [_turn(value) for (value,) in reversed(rows)]

    @override
    def prune(self, before: int, most_bytes: int) -> int:
        """Let go of what is too old or too much, the oldest first, at most 1,000 of it and 1,000 claims a call."""
        if not self._path.exists():
            return 0
        with self._writing() as db:
            gone = _ended(db, before, most_bytes)
            for table, numbers in zip(("contexts", "turns"), gone, strict=True):
                db.executemany(f"DELETE FROM {table} WHERE number = ?", [(number,) for number in numbers])  # noqa: S608  # our own names
            claims = db.execute(_FORSAKEN, (before, _AT_ONCE)).rowcount
        return sum(map(len, gone)) + claims

    @override
    def conversations(self, realm: str, persons: Collection[str]) -> list[str]:
        with self._reading() as db:
            if db is None:
                return []
            with theirs(db, realm, persons, ()):
                query = "SELECT conversation FROM theirs ORDER BY conversation"
                return [conversation for (conversation,) in db.execute(query)]

    @override
    def held(self, realm: str, persons: Collection[str], conversations: Collection[str]) -> int:
        with self._reading() as db:
            if db is None:
                return 0
            with theirs(db, realm, persons, conversations) as values:
                return sum(count(db, what, values) for what in (THEIR_CONTEXTS, THEIR_TURNS))

    @override
    def erase(self, realm: str, persons: Collection[str], conversations: Collection[str], ids: Collection[str]) -> int:
        if not self._path.exists():
            return 0
        with self._lent() as db:
            with _transaction(db), theirs(db, realm, persons, conversations, ids) as values:
                gone = sum(db.execute(f"DELETE {what}", values).rowcount for what in (THEIR_CONTEXTS, THEIR_TURNS))
                db.execute("DELETE FROM holders WHERE conversation IN theirs")
            # Pages as they were before are still in the write-ahead log.
            busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            detail = f"what was erased from the {LAYOUT.name} {self._path} is still in its write-ahead log"
            raise StoreError(detail, "somebody has been reading it all the time: erase again")
        return gone

    @override
    def mentions(self, texts: Collection[str]) -> list[str]:
        needles = {needle for text in texts if text for needle in _needles(text)}
        found, after = [], -1
        while needles:
            with self._reading() as db:
                query = "SELECT number, id, body FROM contexts WHERE number > ? ORDER BY number LIMIT ?"
                rows = [] if db is None else db.execute(query, (after, _READ_AT_ONCE)).fetchall()
            if not rows:
                break
            for number, id_, packed in rows:
                after = number
                body = self._unpacked(packed)
                if any(needle in body for needle in needles):
                    found.append(id_)
        return found

    @override
    def close(self) -> None:
        self._pool.clear()

    def _contexts(self, chosen: str, values: tuple[str | int, ...]) -> list[KeptContext]:
        with self._reading() as db:
            query = f"SELECT {_CONTEXT} FROM contexts WHERE {chosen}"  # noqa: S608  # our own names
            rows = [] if db is None else db.execute(query, values).fetchall()
        return [
            KeptContext(id_, conversation, realm, person, _labels(audiences), key, at, self._unpacked(body))
            for id_, conversation, realm, person, audiences, key, at, body in rows
        ]

    def _unpacked(self, body: bytes) -> bytes:
        try:
            return zlib.decompress(body)
        except zlib.error as error:
            detail = f"a context in {self._path} is damaged: {error}"
            raise StoreError(detail, "the disk or the file is damaged: restore it") from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Give a connection for one query; None where there is no file."""
        if not self._path.exists():
            with explained(self._path):
                yield None
            return
        with self._lent() as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lent() as db, _transaction(db):
            yield db

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        with explained(self._path):
            try:
                status = self._path.stat()
                place = status.st_dev, status.st_ino
            except FileNotFoundError:
                place = None
            with self._pool.lent(place) as db:
                yield db

    def _open(self) -> sqlite3.Connection:
        return open_contexts(self._path)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has rolled back by itself
            db.execute("ROLLBACK")
        raise


def _ended(db: sqlite3.Connection, before: int, most_bytes: int) -> tuple[list[int], list[int]]:
    """Return the contexts and turns that are too old or too much, as far as one call goes."""
    gone: tuple[list[int], list[int]] = ([], [])
    freed, over = 0, None
    for kind, number, time, size in db.execute(_OLDEST, {"most": _AT_ONCE}).fetchall():
        if time >= before:
            if over is None:  # only now: it is a look at all that there is
                [(all_of_it,)] = db.execute(_SIZE)
                over = all_of_it - most_bytes
            if freed >= over:
                break
        gone[kind].append(number)
        freed += size
    return gone


def _holder(db: sqlite3.Connection, conversation: str) -> Holder | None:
    query = "SELECT realm, person, key FROM holders WHERE conversation = ?"
    found = db.execute(query, (conversation,)).fetchone()
    return None if found is None else Holder(*found)


def _needles(text: str) -> tuple[bytes, bytes]:
    """Return a text as it is, and as it stands within JSON."""
    as_it_is = text.encode("utf-8", "replace")
    return as_it_is, msgspec.json.encode(as_it_is.decode())[1:-1]


def _rested(db: sqlite3.Connection) -> bool:
    return not db.in_transaction
