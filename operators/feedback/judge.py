"""What comments say and questions are about: at once by a classifier, or later by somebody who has to be asked.

Later means that nothing waits for it: the text goes on without a verdict, and the verdict follows as a Judgement. What
is in flight, and what waits for its turn, is the state, so that a crash asks again and loses nothing; a verdict that
comes twice is the same one.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol, TypeAlias

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic
from typing_extensions import override

from events.clock import Clock, system_clock
from events.erasure import Erasure
from events.errors import RejectedError
from events.feedback import Comment, Judgement, Timed, Turn, Verdict

MOST_CHARACTERS = 4000
"""What of a text is judged. The text itself stays whole."""
LANES = 16
"""State keys of what is in flight. Part of the state's schema: never changes."""
MOST_PENDING = 256
"""Texts of one lane that are asked for at the same time; more of them wait in its state, the flow never does."""
MANY_WAITING = 10_000
"""So many waiting texts of one lane are worth a warning."""

_REMEMBERED = 20_000
_MOST_REASON = 500
_SOONEST, _LATEST = 50, 1000  # milliseconds between two looks
_PATIENCE = 8

Classify: TypeAlias = "Callable[[Sequence[str]], list[Verdict]]"
"""Texts to verdicts, in order."""
Ask: TypeAlias = "tuple[Literal['comment', 'turn'], str, str, int, int, str]"
"""Kind, conversation, id, event time, watermark, text."""
LaneState: TypeAlias = "tuple[int, list[Ask]]"
"""Version of the layout; what is in flight, then what waits, in the order in which it came."""

_logger = logging.getLogger(__name__)


class Asked(Protocol):
    """Who is asked for verdicts."""

    def submit(self, text: str) -> Future[Verdict]:
        """Ask, without waiting. The future raises RejectedError when the text has been given up."""


class GivenUp(msgspec.Struct, frozen=True):
    """A text that will have no verdict: it counts as before, without a category.

    :arg id: Of the comment or of the turn.
    :arg time: Its event time.
    :arg reason: One line.
    """

    kind: Literal["comment", "turn"]
    conversation: str
    id: str
    time: int
    reason: str


def text_of(timed: Timed) -> str:
    """Return what is to be judged of an event: of a comment without verdict, or of a question without topic.

    :returns: Its first 4,000 characters; empty if there is nothing to judge.
    """
    event = timed.event
    if isinstance(event, Comment):
        unread = event.verdict is None
    elif isinstance(event, Turn):
        unread = event.role == "user" and not event.topic
    else:
        return ""
    text = event.text[:MOST_CHARACTERS] if unread else ""
    return text if text.strip() else ""  # blank all along is nothing said


def judge_now(batch: list[Timed], classify: Classify) -> list[Timed]:
    """Give comments their verdict, and questions without a topic their surest one.

    :arg classify: Called once, with each different text of the batch; not at all if there is none.
    """
    texts = [text_of(timed) for timed in batch]
    different = [text for text in dict.fromkeys(texts) if text]
    if not different:
        return batch
    verdicts = dict(zip(different, classify(different), strict=True))
    return [_judged(timed, verdicts[text]) if text else timed for timed, text in zip(batch, texts, strict=True)]


def _judged(timed: Timed, verdict: Verdict) -> Timed:
    event = timed.event
    if isinstance(event, Comment):
        event = msgspec.structs.replace(event, verdict=verdict)
    elif isinstance(event, Turn) and verdict.topics:
        event = msgspec.structs.replace(event, topic=verdict.topics[0])
    return msgspec.structs.replace(timed, event=event)


def remembering(classify: Classify, most: int = _REMEMBERED) -> Classify:
    """Return `classify` for each text but those of which it was asked lately. Several threads may share it.

    :arg most: Verdicts that are remembered.
    """
    known: OrderedDict[str, Verdict] = OrderedDict()
    lock = threading.Lock()

    def remembered(texts: Sequence[str]) -> list[Verdict]:
        with lock:
            found = {text: known[text] for text in texts if text in known}
        fresh = [text for text in dict.fromkeys(texts) if text not in found]
        if fresh:
            found.update(zip(fresh, classify(fresh), strict=True))
        with lock:
            for text in texts:
                known[text] = found[text]
                known.move_to_end(text)
            while len(known) > most:
                known.popitem(last=False)
        return [found[text] for text in texts]

    return remembered


class Lane(StatefulBatchLogic["list[Ask] | Erasure", "Judgement | GivenUp", LaneState]):
    """One part of what is in flight or waits for its turn, and who is asked.

    :arg clock: Only for when to look again.
    :arg most: Texts in flight; what is beyond that waits until one of them is answered.
    :arg state: What was in flight or waited when an earlier run ended: it is asked for again.
    """

    VERSION = 1

    def __init__(self, asked: Asked, clock: Clock, most: int = MOST_PENDING, state: LaneState | None = None) -> None:
        self._asked = asked
        self._clock = clock
        self._most = most
        self._pending: dict[Ask, Future[Verdict]] = {}
        self._waiting: OrderedDict[Ask, None] = OrderedDict()
        self._warned = False
        self._moved = clock()
        if state is not None:
            version, asks = state
            if version != self.VERSION:
                message = f"state of layout {version} cannot be read by layout {self.VERSION}"
                raise ValueError(message)
            self._queue(asks)
            self._submit()

    @override
    def on_batch(self, values: list[list[Ask] | Erasure]) -> tuple[Iterable[Judgement | GivenUp], bool]:
        for asks in values:
            if isinstance(asks, Erasure):
                self._forget(frozenset(asks.conversations))
            else:
                self._queue(asks)
        return self._go_on(), self.RETAIN

    @override
    def on_notify(self) -> tuple[Iterable[Judgement | GivenUp], bool]:
        return self._go_on(), self.RETAIN

    @override
    def on_eof(self) -> tuple[Iterable[Judgement | GivenUp], bool]:
        out = self._go_on()
        while self._pending:
            wait(self._pending.values(), return_when=FIRST_COMPLETED)
            out += self._go_on()
        return out, self.RETAIN

    @override
    def notify_at(self) -> datetime | None:
        if not self._pending:
            return None
        # Who has been waited for long is looked for less often: late by an eighth at most, and by a second.
        now = self._clock()
        rest = min(_LATEST, max(_SOONEST, (now - self._moved) // _PATIENCE))
        return datetime.fromtimestamp(now / 1000, timezone.utc) + timedelta(milliseconds=rest)

    @override
    def snapshot(self) -> LaneState:
        # A copy: looking again changes what is pending before the engine has written this down.
        return self.VERSION, [*self._pending, *self._waiting]

    def _forget(self, conversations: frozenset[str]) -> None:
        """Wait for nothing any more that was said in these conversations."""
        for ask in [ask for ask in self._pending if ask[1] in conversations]:
            # The answer is not cancelled: somebody else may have said the same, and wait for it too.
            del self._pending[ask]
        for ask in [ask for ask in self._waiting if ask[1] in conversations]:
            del self._waiting[ask]

    def _queue(self, asks: Iterable[Ask]) -> None:
        for ask in asks:
            if ask not in self._pending:
                self._waiting.setdefault(ask)

    def _go_on(self) -> list[Judgement | GivenUp]:
        """Ask for as much as there is room for, and return what is known."""
        out = self._finished()
        # What was asked before is answered at once, and makes room again.
        while self._submit() and (found := self._finished()):
            out += found
        self._warn()
        return out

    def _submit(self) -> bool:
        """Ask for what waits, as long as there are free places; return whether there was any."""
        free = min(len(self._waiting), self._most - len(self._pending))
        if free > 0 and not self._pending:
            self._moved = self._clock()
        for _ in range(free):
            ask, _nothing = self._waiting.popitem(last=False)
            try:
                future = self._asked.submit(ask[-1])
            except Exception as error:
                future = Future()
                future.set_exception(error)
            self._pending[ask] = future
        return free > 0

    def _warn(self) -> None:
        """Say once that many wait; once more only after most of them have been asked for."""
        waiting = len(self._waiting)
        if waiting > MANY_WAITING and not self._warned:
            _logger.warning("%d texts wait for their verdict: they come faster than they are judged", waiting)
        self._warned = waiting > (MANY_WAITING // 2 if self._warned else MANY_WAITING)

    def _finished(self) -> list[Judgement | GivenUp]:
        done = [(ask, future) for ask, future in self._pending.items() if future.done()]
        for ask, _ in done:
            del self._pending[ask]
        if done:
            self._moved = self._clock()
        return [_outcome(ask, future) for ask, future in done]


def _outcome(ask: Ask, future: Future[Verdict]) -> Judgement | GivenUp:
    kind, conversation, id_, time, watermark, _ = ask
    try:
        return Judgement(kind, conversation, id_, time, future.result(), watermark)
    except RejectedError as error:
        reason = str(error)
    except Exception as error:
        # One text must not stop the flow, whatever is wrong with who was asked.
        reason = f"unexpected {type(error).__name__}: {error}"
    return GivenUp(kind, conversation, id_, time, " ".join(reason.split())[:_MOST_REASON])


def lanes_of(batch: Iterable[Timed]) -> list[tuple[str, list[Ask]]]:
    """Gather what is to be asked into one list per lane, order kept within each."""
    lanes: dict[str, list[Ask]] = {}
    for timed in batch:
        event, text = timed.event, text_of(timed)
        if text and isinstance(event, Comment | Turn):
            kind: Literal["comment", "turn"] = "comment" if isinstance(event, Comment) else "turn"
            lane = f"{zlib.crc32(f'{event.conversation}/{event.id}'.encode('utf-8', 'surrogatepass')) % LANES:02d}"
            ask: Ask = (kind, event.conversation, event.id, event.time, timed.watermark, text)
            lanes.setdefault(lane, []).append(ask)
    return list(lanes.items())


def told_to_lanes(batch: Sequence[Timed | Erasure]) -> list[tuple[str, list[Ask] | Erasure]]:
    """Do as `lanes_of`; who is to be forgotten is told to all lanes, and first: nothing of theirs is asked any more."""
    erasures = [(f"{lane:02d}", one) for one in batch if isinstance(one, Erasure) for lane in range(LANES)]
    return [*erasures, *lanes_of(one for one in batch if not isinstance(one, Erasure))]


@dataclass(frozen=True)
class Judged:
    """Streams returned from `judge_later`."""

    judgements: Stream[Judgement]
    given_up: Stream[GivenUp]


@operator
def judge_later(
    step_id: str,
    up: Stream[Timed | Erasure],
    open_judge: Callable[[], Asked],
    clock: Clock = system_clock,
    most_pending: int = MOST_PENDING,
) -> Judged:
    """Ask what comments say and what questions without a topic are about, and tell it when it is known.

    At the end of the stream everything that is in flight or waits is asked for and waited for. While somebody is asked,
    there are looks for answers, 50 milliseconds apart at first; none while nobody is.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Events, which do not go on from here themselves, and persons who are to be forgotten.
    :arg open_judge: Called once in each process that has a lane with something to ask.
    :arg clock: Tells when to look for answers.
    :arg most_pending: Texts that are in flight in each of the 16 lanes; more of them wait in the lane's state.
    :returns: Two streams.
    """
    judge = _Once(open_judge)

    def shim_builder(state: LaneState | None) -> Lane:
        return Lane(judge(), clock, most_pending, state)

    # Lists cross between workers, not single items: each crossing costs the same.
    asks: KeyedStream[list[Ask] | Erasure] = op.flat_map_batch("lanes", up, told_to_lanes)
    told = op.key_rm("unkey", op.stateful_batch("ask", asks, shim_builder))
    split = op.branch("split", told, _is_judgement)
    return Judged(split.trues, split.falses)  # type: ignore[arg-type]  # branch cannot narrow by a plain predicate


def _is_judgement(item: Judgement | GivenUp) -> bool:
    return isinstance(item, Judgement)


class _Once:
    """Opens the one that all lanes of a process ask."""

    def __init__(self, open_judge: Callable[[], Asked]) -> None:
        self._open = open_judge
        self._lock = threading.Lock()
        self._opened: Asked | None = None

    def __call__(self) -> Asked:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened
