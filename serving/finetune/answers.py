"""From a conversation of the lake to its answers, each with what it answered: a function of the row alone.

An exchange is what a person asked, in one message or several, and what came back. Of several answers in one exchange,
written again or around a tool, the last one is what the conversation went on from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from events.feedback import Rating, ShownContext, Turn
from stores.lake.rows import Objective, events_of


class Exchange(msgspec.Struct, frozen=True):
    """A question and what came back, with how that was received.

    :arg score: Mean of its ratings, from 0 to 1; where nobody rated the answer, that of the whole conversation; None
        if there is neither.
    :arg rated: Whether somebody rated the answer itself.
    :arg fresh: Whether nothing of its context was out of date; None if it names no context, or one that is not known.
    """

    question: str
    answer: str
    score: float | None
    rated: bool
    fallback: bool
    fresh: bool | None


class Answer(msgspec.Struct, frozen=True):
    """One answer, with everything that was said before it.

    :arg begin: When its conversation began (ms since epoch).
    :arg persons: Everybody that its conversation names.
    :arg system: The application's own instructions; empty if there are none.
    :arg shown: Texts that the model was shown for it: pieces of its context, then what tools returned.
    """

    conversation: str
    turn: str
    begin: int
    time: int
    persons: tuple[str, ...]
    applications: tuple[str, ...]
    language: str
    topic: str
    system: str
    history: tuple[Exchange, ...]
    last: Exchange
    shown: tuple[str, ...]

    @property
    def characters(self) -> int:
        """How long all of it is."""
        said = sum(len(one.question) + len(one.answer) for one in (*self.history, self.last))
        return said + len(self.system) + sum(map(len, self.shown))


def answers_of(row: Mapping[str, Any], objective: Objective) -> list[Answer]:
    """Return the answers of a conversation in the order of their times.

    :arg row: As pyarrow's `to_pylist` returns it from the lake.
    :arg objective: How many milliseconds a source may be behind when a piece of it is shown.
    """
    events = events_of(row)
    turns = [event for event in events if isinstance(event, Turn)]
    ratings = [event for event in events if isinstance(event, Rating)]
    contexts = {event.id: event for event in events if isinstance(event, ShownContext)}
    persons, applications = tuple(row["persons"]), tuple(row["applications"])
    begin = turns[0].time if turns else 0
    system: list[str] = []
    history: list[Exchange] = []
    asked: list[Turn] = []
    tools: list[str] = []
    standing: Exchange | None = None
    found: list[Answer] = []
    for turn in turns:
        if turn.role == "user":
            if standing is not None:
                history.append(standing)
                asked, tools, standing = [], [], None
            asked.append(turn)
        elif turn.role == "system":
            system += [turn.text.strip()] if turn.text.strip() else []
        elif turn.role == "tool":
            tools += [turn.text.strip()] if turn.text.strip() else []
        else:
            context = contexts.get(turn.context)
            question = "\n\n".join(one.text.strip() for one in asked if one.text.strip())
            standing = Exchange(
                question, turn.text.strip(), *_score(turn, ratings), turn.fallback, _fresh(context, objective)
            )
            last = asked[-1] if asked else turn
            found.append(
                Answer(
                    row["id"], turn.id, begin, turn.time, persons, applications,
                    turn.language or last.language or row["language"], turn.topic or last.topic, "\n\n".join(system),
                    tuple(one for one in history if one.question and one.answer), standing,
                    (*_pieces(context), *tools),
                )
            )  # fmt: skip
    return found


def score_of(rating: Rating) -> float:
    """Return a rating from 0 to 1."""
    return rating.value if rating.scale == "thumbs" else (rating.value - 1) / 4


def _score(turn: Turn, ratings: Sequence[Rating]) -> tuple[float | None, bool]:
    own = _mean(score_of, (rating for rating in ratings if rating.turn == turn.id))
    if own is not None:
        return own, True
    return _mean(score_of, (rating for rating in ratings if not rating.turn)), False


def _mean(of: Callable[[Rating], float], ratings: Iterable[Rating]) -> float | None:
    scores = [of(rating) for rating in ratings]
    # Rounded once: the same in whatever order they came.
    return math.fsum(scores) / len(scores) if scores else None


def _fresh(context: ShownContext | None, objective: Objective) -> bool | None:
    if context is None:
        return None
    return not any(item.stale or (item.lag is not None and item.lag > objective(item.source)) for item in context.items)


def _pieces(context: ShownContext | None) -> list[str]:
    return [] if context is None else [item.text.strip() for item in context.items if item.text.strip()]
