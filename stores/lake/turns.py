"""The turns of one conversation, as the lake's flow has taken them in so far: read beside it, one commit at a time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from events.feedback import SPEAKING, Turn
from events.log import Applied
from stores.lake.working import LAYOUT, explained
from stores.rows.base import APPLIED, applied_of
from stores.rows.sqlite import facts
from stores.rows.sqlite_file import check, open_for_reading

_QUERY = """SELECT value FROM events WHERE kind = 0
    AND conversation = (SELECT number FROM conversations WHERE id = ?)"""
_turn = msgspec.json.Decoder(Turn).decode


class SaidTurns(msgspec.Struct, frozen=True):
    """What was said in a conversation, and how far the store was then.

    :arg turns: In their order; those that late feedback may still amend.
    """

    turns: tuple[Turn, ...] = ()
    applied: tuple[Applied, ...] = ()


def read_turns(path: Path, conversation: str) -> SaidTurns | None:
    """Return the turns of a conversation from the lake's working file; None if there is no such file.

    :raises StoreError: When it cannot be read.
    """
    if not path.exists():
        return None
    with explained(path), closing(open_for_reading(path)) as db:
        db.execute("BEGIN")
        if not check(db, path, LAYOUT):
            return None
        turns = [_turn(value) for (value,) in db.execute(_QUERY, (conversation,))]
        turns.sort(key=lambda turn: (turn.time, SPEAKING[turn.role], turn.id))
        return SaidTurns(tuple(turns), tuple(applied_of(facts(db, APPLIED))))
