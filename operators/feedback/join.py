"""What belongs together is put together: turns, ratings, comments, contexts and late verdicts become facts.

At each moment, the facts told so far are those of a batch computation over the events so far. An event that changes
some is told as their changes, so that whoever counts them takes out what was and puts in what is. A fact that is new
has the watermark of its own event, and so counts, whatever other partitions brought before; from then on its watermark
does not fall, so that it is never taken out of a window that it never entered.

One thing depends on which came first: what a fact has of an event whose partition is more than the horizon ahead of the
fact's window counts there only if the event came before the fact.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

from bytewax.dataflow import Stream, operator
from typing_extensions import override

from events.erasure import ErasedConversation
from events.feedback import Judgement, Point, Said, Timed, kind_of
from events.kpis import Fact, FactChange, Frontier
from operators.buckets import Bucket, Snapshot, bucketed
from operators.feedback.configure import Objectives
from operators.feedback.conversations import Conversation, Entry
from operators.feedback.facts import facts_at
from operators.feedback.points import PointEntry, point_id, take_point
from operators.feedback.reach import reach
from operators.feedback.rows import KINDS, RANK, TIME, TOLD, VERDICT, Key, Row, row_of, saved, weight
from operators.feedback.rules import Limits
from operators.feedback.slices import slice_of

MOST = 10_000
"""Events of one conversation, pieces of its contexts and verdicts that wait for their event: more are refused."""
OPEN = 16
"""Conversations of a bucket whose sorted lists are kept beside their state."""
_WORDS = 1_000
_TRIMMED = 4
"""Horizons behind the frontier; what is older is forgotten of conversations that go on."""

Joined: TypeAlias = "Timed | Judgement | Frontier | ErasedConversation"

_POINT, _CONVERSATION = "p", "c"
"""What an id of the state begins with."""

_logger = logging.getLogger(__name__)


class JoinBucket(Bucket[Joined, FactChange]):
    """Joins the conversations of one bucket, and drops points that come twice.

    What is beyond `most` in one conversation does not count: it is logged, and counted in the conversation's state.
    What is older than the frontier by more than the horizon, as what is replayed may be, counts only where its
    conversation is still known, and not trimmed as far as there: a part must not stand for the whole that was told.
    The watermark is the frontier's.

    :arg is_erased: Tells whether a conversation was that of a person who has been erased: what was under way of it then
        is passed over. It knows of an erasure before that comes here.
    :arg refused: Told of each event whose conversation, or which itself, may have been forgotten.
    """

    def __init__(
        self,
        limits: Limits,
        objectives: Objectives,
        most: int = MOST,
        is_erased: Callable[[str], bool] = lambda conversation: False,
        refused: Callable[[Timed], None] = lambda timed: None,
    ) -> None:
        super().__init__()
        self._refused = refused
        self._is_erased = is_erased
        self._limit = limits.horizon
        self._objectives = objectives
        self._most = most
        self._open: dict[str, Conversation] = {}
        self._words: dict[str, str] = {}

    @override
    def step(self, id_: str, value: Joined) -> Iterable[FactChange]:
        if isinstance(value, Frontier):
            if self.watermark is None or value.time > self.watermark:
                self.watermark = value.time
                self._forget(value.time)
            return ()
        if isinstance(value, ErasedConversation):
            # Its facts are not taken back: what has been counted stays counted, and says nothing of anybody.
            self.entries.pop(id_, None)
            self._open.pop(id_, None)
            return ()
        if id_[0] == _CONVERSATION and self._is_erased(id_[1:]):
            return ()
        if self._may_be_forgotten(id_, value):
            if isinstance(value, Timed):
                self._refused(value)
            return ()
        if isinstance(value, Judgement):
            conversation = self._conversation(id_, value.conversation)
            changes = self._judge(conversation, value)
        elif isinstance(value.event, Point):
            return self._point(id_, value.event, value.watermark)
        else:
            conversation = self._conversation(id_, value.event.conversation)
            changes = self._say(conversation, value.event, value.watermark)
        self.entries[id_] = conversation.entry()
        return changes

    @override
    def resume(self, state: Snapshot) -> None:
        super().resume(state)
        self._open.clear()

    def _conversation(self, id_: str, name: str) -> Conversation:
        conversation = self._open.pop(id_, None)
        if conversation is None:
            conversation = Conversation(name, self._limit, cast("Entry | None", self.entries.get(id_)))
            if len(self._open) >= OPEN:
                del self._open[next(iter(self._open))]
        self._open[id_] = conversation
        return conversation

    def _may_be_forgotten(self, id_: str, value: Timed | Judgement) -> bool:
        if self.watermark is None:
            return False
        time = value.event.time if isinstance(value, Timed) else value.time
        return time < self.watermark - self._limit * (_TRIMMED if id_ in self.entries else 1)

    def _point(self, id_: str, point: Point, watermark: int) -> Iterable[FactChange]:
        taken = take_point(point, watermark, cast("PointEntry | None", self.entries.get(id_)))
        if taken is None:
            return ()
        self.entries[id_], change = taken
        return (change,)

    def _say(self, conversation: Conversation, event: Said, watermark: int) -> list[FactChange]:
        key, said = row_of(event, self._word)
        old = conversation.rows[key[0]].get(key[1])
        row = (*said, watermark if old is None else old[TOLD])
        if old is not None and not _stands_over(key, row, old):
            return []
        more = weight(key[0], row) - (0 if old is None else weight(key[0], old))
        if more > 0 and conversation.size + more > self._most:
            self._refuse(conversation)
            return []
        conversation.newest = max(conversation.newest, row[TIME])
        return self._replace(conversation, key, old, row, watermark)

    def _judge(self, conversation: Conversation, judgement: Judgement) -> list[FactChange]:
        key: Key = ("comments" if judgement.kind == "comment" else "turns", judgement.id)
        time, verdict = judgement.time, saved(judgement.verdict)
        row, before = conversation.rows[key[0]].get(key[1]), conversation.verdict(key, time)
        # Of two verdicts on one text one stands, whichever came first.
        if (row is not None and time < row[TIME]) or (before is not None and verdict <= before):
            return []
        if row is None and conversation.size >= self._most:
            self._refuse(conversation)
            return []
        conversation.newest = max(conversation.newest, time)
        if row is None or row[TIME] != time:
            _keep_verdict(conversation, key, time, verdict)
            return []
        touched = self._facts(conversation, reach(conversation, key, row), {})
        conversation.remove(key)
        _keep_verdict(conversation, key, time, verdict)
        touched = self._facts(conversation, reach(conversation, key, row), touched)
        conversation.put(key, row)
        return self._changes(conversation, touched, judgement.watermark)

    def _replace(
        self, conversation: Conversation, key: Key, old: Row | None, row: Row, watermark: int
    ) -> list[FactChange]:
        touched: dict[Key, tuple[Fact, ...]] = {}
        if old is not None:
            touched = self._facts(conversation, reach(conversation, key, old), touched)
            conversation.remove(key)
            _drop_verdicts(conversation, key[0] + key[1], row[TIME])
        touched = self._facts(conversation, reach(conversation, key, row), touched)
        conversation.put(key, row)
        return self._changes(conversation, touched, watermark)

    def _facts(
        self, conversation: Conversation, keys: Iterable[Key], known: dict[Key, tuple[Fact, ...]]
    ) -> dict[Key, tuple[Fact, ...]]:
        for key in keys:
            if key not in known:
                known[key] = facts_at(conversation, key, self._objectives)
        return known

    def _changes(
        self, conversation: Conversation, touched: dict[Key, tuple[Fact, ...]], watermark: int
    ) -> list[FactChange]:
        changes: list[FactChange] = []
        for key, before in touched.items():
            after = facts_at(conversation, key, self._objectives)
            if before == after:
                continue
            told = conversation.tell(key, watermark, anew=not before)
            if before:
                changes += _differences(before, after, told, watermark)
            else:
                changes += [FactChange(None, fact, watermark) for fact in after]
        return changes

    def _refuse(self, conversation: Conversation) -> None:
        conversation.refused += 1
        refused = conversation.refused
        # Each time that it is ten times as many.
        if refused == 10 ** (len(str(refused)) - 1):
            _logger.warning(
                "the conversation %r has more than %d events, or so many of them are pieces of shown contexts: "
                "%d events do not count any more; begin another conversation from time to time",
                conversation.id[:100], self._most, refused,
            )  # fmt: skip

    def _word(self, text: str) -> str:
        if len(self._words) >= _WORDS:
            self._words.clear()
        return self._words.setdefault(text, text)

    def _forget(self, time: int) -> None:
        """Forget what no event can belong to any more that is not too late when everything has come up to `time`."""
        # An event may be one horizon older, what it amends or belongs to one more; that touches what is yet one more
        # away, whose other fields may come from one more away.
        point, newest, oldest = (time - horizons * self._limit for horizons in (1, 2, _TRIMMED))
        for id_, entry in list(self.entries.items()):
            if id_[0] == _POINT:
                if entry[TIME] < point:
                    del self.entries[id_]
            elif cast("Entry", entry)[0] < newest:
                del self.entries[id_]
                self._open.pop(id_, None)
            else:
                self._trim(id_, cast("Entry", entry), oldest)

    def _trim(self, id_: str, entry: Entry, before: int) -> None:
        old: list[Key] = [
            (kind, name)
            for kind, rows in zip(KINDS, entry[2:6], strict=True)
            for name, row in rows.items()
            if row[TIME] < before
        ]
        if not old:
            return
        conversation = self._open.get(id_) or Conversation(id_, self._limit, entry)
        for key in old:
            conversation.remove(key)
        for name in list(conversation.verdicts):
            _drop_verdicts(conversation, name, before)


def _stands_over(key: Key, row: Row, old: Row) -> bool:
    """Tell whether a row is to replace another one; so does the same comment with a verdict that stands."""
    if row[RANK] != old[RANK]:
        return bool(row[RANK] > old[RANK])
    if key[0] != "comments" or row[VERDICT] is None:
        return False
    return old[VERDICT] is None or bool(row[VERDICT] > old[VERDICT])


def _keep_verdict(conversation: Conversation, key: Key, time: int, verdict: Any) -> None:
    name = key[0] + key[1]
    if name not in conversation.verdicts:
        conversation.verdicts[name] = {}
        conversation.size += 1
    conversation.verdicts[name][time] = verdict


def _drop_verdicts(conversation: Conversation, name: str, before: int) -> None:
    """Drop verdicts on what was said before."""
    verdicts = conversation.verdicts.get(name)
    if verdicts is None:
        return
    for time in [time for time in verdicts if time < before]:
        del verdicts[time]
    if not verdicts:
        del conversation.verdicts[name]
        conversation.size -= 1


def _differences(before: tuple[Fact, ...], after: tuple[Fact, ...], told: int, watermark: int) -> list[FactChange]:
    # By kind as well: a turn may have been a question, and be an answer.
    was, is_ = ({(fact.kind, fact.id): fact for fact in facts} for facts in (before, after))
    return [
        FactChange(was.get(name), is_.get(name), told if name in was else watermark)
        for name in dict.fromkeys([*was, *is_])
        if was.get(name) != is_.get(name)
    ]


class Refused:
    """Counts what is of conversations that may have been forgotten, and logs the count each time it has doubled.

    :arg count: So far, on this worker.
    """

    def __init__(self) -> None:
        self.count = 0
        self._next = 1

    def __call__(self, timed: Timed) -> None:
        """Count one event more."""
        self.count += 1
        if self.count >= self._next:
            self._next *= 2
            _logger.warning(
                "%d events do not count: they are older than what is remembered, as the %s %r is "
                "(to count such events, raise feedback.horizon_hours and read their streams again)",
                self.count, kind_of(timed.event), timed.event.id[:100],
            )  # fmt: skip


def joined_id(value: Joined) -> str:
    """Return under which id the state of a value is: its conversation's, or that of the point."""
    if isinstance(value, Frontier):
        return ""
    if isinstance(value, (Judgement, ErasedConversation)):
        return _CONVERSATION + value.conversation
    event = value.event
    return _POINT + point_id(event) if isinstance(event, Point) else _CONVERSATION + event.conversation


@operator
def join(
    step_id: str,
    up: Stream[Joined],
    limits: Limits,
    objectives: Objectives,
    is_erased: Callable[[str], bool] = lambda conversation: False,
) -> Stream[FactChange]:
    """Put together what belongs together.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Events that are not too late, verdicts that come after them, frontiers and conversations that are to be
        forgotten, in any order.
    :arg limits: How far apart what belongs together may be.
    :arg objectives: From when on a shown context is stale.
    :arg is_erased: Tells whether a conversation was that of a person who has been erased.
    :returns: What changes among the facts with each event.
    """
    refused = Refused()

    def make() -> JoinBucket:
        return JoinBucket(limits, objectives, is_erased=is_erased, refused=refused)

    return bucketed("conversations", up, joined_id, make, slice_of=slice_of)
