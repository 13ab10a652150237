"""The file of served contexts: its tables, how it is made, and how it is opened by any number of processes.

It comes into being whole, under its name only when all tables are in it, readable by its owner alone. What is deleted
is written over at once: every connection is told to.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from events.errors import RejectedError, StoreError
from stores.rows.sqlite_file import check
from stores.rows.sqlite_schema import Layout

_BUSY_SECONDS = 30.0

LAYOUT = Layout(
    "store of contexts",
    0x48524358,
    1,
    (
        # size: of the body as it lies here.
        """CREATE TABLE contexts (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conversation TEXT NOT NULL,
            realm TEXT NOT NULL, person TEXT NOT NULL, audiences TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL,
            size INTEGER NOT NULL, body BLOB NOT NULL) STRICT""",
        "CREATE INDEX contexts_at ON contexts (at, size)",
        "CREATE INDEX contexts_conversation ON contexts (conversation, at) WHERE conversation <> ''",
        "CREATE INDEX contexts_person ON contexts (realm, person) WHERE person <> ''",
        # touched: time of the newest that was kept in the conversation; before the first, of the claim.
        """CREATE TABLE holders (conversation TEXT PRIMARY KEY, realm TEXT NOT NULL, person TEXT NOT NULL,
            key TEXT NOT NULL, touched INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
        "CREATE INDEX holders_person ON holders (realm, person) WHERE person <> ''",
        "CREATE INDEX holders_touched ON holders (touched)",
        # speaking: of turns at the same time, who comes first.
        """CREATE TABLE turns (number INTEGER PRIMARY KEY, conversation TEXT NOT NULL, time INTEGER NOT NULL,
            speaking INTEGER NOT NULL, id TEXT NOT NULL, person TEXT NOT NULL, size INTEGER NOT NULL,
            value BLOB NOT NULL, UNIQUE (conversation, id)) STRICT""",
        "CREATE INDEX turns_conversation ON turns (conversation, time, speaking, id)",
        "CREATE INDEX turns_time ON turns (time, size)",
        "CREATE INDEX turns_person ON turns (person) WHERE person <> ''",
    ),
)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as StoreError, and what cannot be written at all as RejectedError."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        detail = f"the {LAYOUT.name} {path} cannot be used: {error}"
        hint = "see that the disk has space and the file can be read and written, then ask again"
        if type(error) is sqlite3.DatabaseError:
            hint = "the file is damaged or of another kind: move it aside; a new one is made"
        raise StoreError(detail, hint) from error
    except (UnicodeEncodeError, OverflowError) as error:
        detail = f"this cannot be kept: {error}"
        raise RejectedError(detail, "send texts without halves of characters, and times of this age") from None


def open_contexts(path: Path) -> sqlite3.Connection:
    """Open the store, made if it is not there.

    :raises StoreError: When it is not ours.
    """
    if not path.exists():
        _make(path)
    db = _connect(path)
    try:
        db.execute("PRAGMA secure_delete = ON").close()
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA temp_store = MEMORY")
        if not check(db, path, LAYOUT):
            detail = f"{path} is empty, not a {LAYOUT.name}"
            raise StoreError(detail, "remove it; a new one is made")
    except BaseException:
        db.close()
        raise
    return db


def _make(path: Path) -> None:
    """Make an empty store beside, and give it its name, unless somebody was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    os.close(os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(_connect(making)) as db:
            # It stays so, and the files beside it have the rights of the database itself.
            db.execute("PRAGMA journal_mode = WAL").close()
            db.execute("BEGIN IMMEDIATE")
            for statement in LAYOUT.tables:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {LAYOUT.application}")
            db.execute(f"PRAGMA user_version = {LAYOUT.version}")
            db.execute("COMMIT")
        try:
            os.link(making, path)
        except FileExistsError:
            return
    finally:
        making.unlink()


def _connect(path: Path) -> sqlite3.Connection:
    # Isolation level None: transactions begin where the store says so.
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
