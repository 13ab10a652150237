"""At most so much of one conversation is kept: the oldest of it, so that its row and the work on it have a bound.

What came first by event time stays, whatever came first here: what is kept is a function of the set of events, unless
one that lies at the border is amended. Where a conversation is full, and how much of it has been left out, is a fact of
the working state's file.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from events.feedback import Said, rank

MOST = 10_000
"""Events of one conversation that are kept."""

MOST_BYTES = 64 * 2**20
"""Their size at most, as the file has them."""

KIND = "full"
"""Kind of facts that hold, by id of a conversation, its cutoff."""

_SIZES = 100_000
"""Conversations whose size is remembered."""

logger = logging.getLogger(__name__)


class Cutoff(msgspec.Struct, frozen=True):
    """Where a conversation is full: of events from there on, by time and rank, none is kept.

    :arg left_out: How many were not kept; one that came again counts again.
    """

    time: int
    rank: bytes
    left_out: int


class Cutoffs:
    """Bounds the conversations of an open file. All but the making of it happens within the file's transactions."""

    def __init__(self, db: sqlite3.Connection, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._db = db
        self._most = most
        self._most_bytes = most_bytes
        # By number: events and bytes, at least what there is. Counting with each batch took up to 4/5 of the time.
        self._sizes: dict[int, tuple[int, int]] = {}
        self._found = {
            id_: msgspec.json.decode(value, type=Cutoff)
            for id_, value in db.execute("SELECT name, value FROM headrace_facts WHERE kind = ?", (KIND,))
        }

    def admitted(self, events: Sequence[Said]) -> Sequence[Said]:
        """Return those events for which their conversations have room; note how many of the others there are."""
        if not self._found:
            return events
        admitted: list[Said] = []
        left: dict[str, int] = {}
        for event in events:
            cutoff = self._found.get(event.conversation)
            if cutoff is None or rank(event) < (cutoff.time, cutoff.rank):
                admitted.append(event)
            else:
                left[event.conversation] = left.get(event.conversation, 0) + 1
        for id_, count in left.items():
            self._leave_out(id_, self._found[id_], count)
        return admitted

    def trim(self, ids: Mapping[int, str], put: Iterable[tuple[int, int]]) -> None:
        """Remove what there is too much of in conversations.

        :arg ids: Of conversations by number.
        :arg put: What has been put into them: the number of the conversation, and the size of the event.
        """
        if len(self._sizes) > _SIZES:
            self._sizes.clear()
        for number, size in put:
            if number in self._sizes:
                events, total = self._sizes[number]
                self._sizes[number] = events + 1, total + size
        self._measure([number for number in ids if number not in self._sizes])
        self._measure([number for number in ids if self._is_over(number)])
        for number in [number for number in ids if self._is_over(number)]:
            self._trim(number, ids[number])
            self._measure([number])

    def forget(self) -> None:
        """Forget the cutoffs of conversations that are not known any more."""
        self._db.execute(
            "DELETE FROM headrace_facts WHERE kind = ? AND name NOT IN (SELECT id FROM conversations)", (KIND,)
        )
        kept = {id_ for (id_,) in self._db.execute("SELECT name FROM headrace_facts WHERE kind = ?", (KIND,))}
        self._found = {id_: cutoff for id_, cutoff in self._found.items() if id_ in kept}

    def _is_over(self, number: int) -> bool:
        events, size = self._sizes[number]
        return events > self._most or size > self._most_bytes

    def _measure(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        self._sizes |= dict.fromkeys(numbers, (0, 0))
        query = """SELECT conversation, count(*), sum(length(value)) FROM events
            WHERE conversation IN (SELECT value FROM json_each(?)) GROUP BY conversation"""
        for number, events, size in self._db.execute(query, (msgspec.json.encode(numbers).decode(),)):
            self._sizes[number] = events, size

    def _trim(self, number: int, id_: str) -> None:
        query = """SELECT rowid, time, rank FROM (SELECT rowid, time, rank, row_number() OVER oldest AS events,
                sum(length(value)) OVER oldest AS size FROM events WHERE conversation = ?
                WINDOW oldest AS (ORDER BY time, rank ROWS UNBOUNDED PRECEDING))
            WHERE events > ? OR size > ? ORDER BY time, rank"""
        surplus = self._db.execute(query, (number, self._most, self._most_bytes)).fetchall()
        self._db.executemany("DELETE FROM events WHERE rowid = ?", [(row,) for row, _, _ in surplus])
        _, time, digest = surplus[0]
        known = self._found.get(id_)
        self._leave_out(id_, Cutoff(time, digest, known.left_out if known else 0), len(surplus))

    def _leave_out(self, id_: str, cutoff: Cutoff, count: int) -> None:
        total = cutoff.left_out + count
        self._found[id_] = msgspec.structs.replace(cutoff, left_out=total)
        fact = KIND, id_, msgspec.json.encode(self._found[id_])
        self._db.execute("INSERT OR REPLACE INTO headrace_facts VALUES (?, ?, ?)", fact)
        # Each time that it is ten times as many.
        if len(str(total)) > len(str(cutoff.left_out)) or cutoff.left_out == 0:
            logger.warning(
                "the conversation %r has more than %d events or %d MiB: %d of them, the newest ones, are not in the "
                "lake; begin another conversation from time to time",
                id_[:100], self._most, self._most_bytes // 2**20, total,
            )  # fmt: skip


def left_out(facts: Iterable[bytes]) -> int:
    """Return how many events have not been kept, of all conversations, as the facts have it."""
    return sum(msgspec.json.decode(fact, type=Cutoff).left_out for fact in facts)
