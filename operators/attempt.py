"""Work that may fail for one event without harming the next: what is rejected becomes a dead letter.

Every exception is caught, not only the expected ones: a flow that dies of one event dies again at each restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream, operator

from events.dead_letters import DeadLetter
from events.errors import RejectedError
from events.log import LogRecord

X = TypeVar("X")
Y = TypeVar("Y")

MAX_REASON = 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempted(Generic[Y]):
    """Streams returned from `attempt`."""

    done: Stream[Y]
    dead: Stream[DeadLetter]


def try_each(
    flow: str,
    step: str,
    items: Iterable[X],
    work: Callable[[X], Iterable[Y]],
    record_of: Callable[[X], LogRecord],
    *,
    instead: Callable[[X], Iterable[Y]] = lambda item: (),
) -> list[Y | DeadLetter]:
    """Do `work` on each item; where it raises, put a dead letter and what is to be `instead` in its place."""
    out: list[Y | DeadLetter] = []
    for item in items:
        try:
            # An event succeeds whole or not at all: results are taken when the last one is there.
            out.extend(list(work(item)))
            continue
        except RejectedError as error:
            reason = str(error)
        except Exception as error:
            # Not foreseen, so worth a traceback in the log; the event is kept all the same.
            logger.exception("%s.%s: an event failed in a way that was not foreseen", flow, step)
            reason = f"unexpected {type(error).__name__}: {error}"
        out.append(DeadLetter(flow, step, _one_line(reason), record_of(item)))
        out.extend(instead(item))
    return out


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:MAX_REASON]


@operator
def attempt(
    step_id: str,
    up: Stream[X],
    work: Callable[[X], Iterable[Y]],
    record_of: Callable[[X], LogRecord],
    instead: Callable[[X], Iterable[Y]] = lambda item: (),
) -> Attempted[Y]:
    """Do `work` on each item, diverting what fails instead of crashing.

    :arg step_id: Unique ID; the dead letter's `step`.
    :arg up: Stream.
    :arg work: Returns any number of results; raises RejectedError with the reason for a bad event.
    :arg record_of: Returns the event behind an item, so that it can be replayed.
    :arg instead: Returns what goes on in the place of an item that failed, beside its dead letter; must not raise.
    :returns: Two streams.
    """
    flow, _, step = step_id.partition(".")

    def shim_try(items: list[X]) -> Iterable[Y | DeadLetter]:
        return try_each(flow, step, items, work, record_of, instead=instead)

    def is_dead(item: Y | DeadLetter) -> bool:
        return isinstance(item, DeadLetter)

    tried = op.flat_map_batch("try", up, shim_try)
    split = op.branch("split", tried, is_dead)
    return Attempted(split.falses, split.trues)  # type: ignore[arg-type]  # branch cannot narrow by a plain predicate
