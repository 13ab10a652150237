"""What state keeps of an event: a plain tuple without its text, with a digest that tells which of two stands.

Every row begins with the event time and the digest, so that of two rows of one id the greater one stands. It ends with
the watermark that its facts were told with last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from events.feedback import Comment, Rating, Said, Turn, Verdict, rank

Row: TypeAlias = "tuple[Any, ...]"
"""Plain values only."""

Kind: TypeAlias = Literal["turns", "ratings", "comments", "contexts"]
KINDS: tuple[Kind, ...] = ("turns", "ratings", "comments", "contexts")

Key: TypeAlias = "tuple[Kind, str]"
"""Names an event within its conversation."""

SavedVerdict: TypeAlias = "tuple[str, tuple[str, ...], float]"
"""Category, topics, confidence."""

TIME = 0
RANK = slice(0, 2)
TOLD = -1
"""Where the watermark is that the facts of the event were told with last."""
ROLE, APPLICATION, MODEL, LANGUAGE, TOPIC, PERSON = 2, 3, 4, 5, 6, 7
LATENCY, TOKENS_IN, TOKENS_OUT, COST, FALLBACK, CONTEXT = 8, 9, 10, 11, 12, 13
"""Of turns."""

ABOUT, BY = 2, 3
"""Of ratings and comments: the turn, the person."""
SCALE, VALUE, GOOD, BAD = 4, 5, 6, 7
"""Of ratings."""
COMMENT_LANGUAGE, TEXT, VERDICT = 4, 5, 6
"""Of comments."""

PIECES = 2
"""Of contexts; each piece is its source, document, lag and whether it was said to be stale."""

TEXT_LENGTH = 500


def row_of(event: Said, word: Callable[[str], str]) -> tuple[Key, Row]:
    """Return the key and the row of an event, as yet without what is at `TOLD`.

    :arg word: Returns a text that is equal to the one given: texts that come again and again are kept once.
    """
    if isinstance(event, Turn):
        return ("turns", event.id), (
            *rank(event),
            event.role,
            word(event.application),
            word(event.model),
            word(event.language),
            word(event.topic),
            word(event.person),
            event.latency,
            event.tokens_in,
            event.tokens_out,
            event.cost,
            event.fallback,
            event.context,
        )
    if isinstance(event, Rating):
        judged = (event.scale, event.value, event.good, event.bad)
        return ("ratings", event.id), (*rank(event), event.turn, word(event.person), *judged)
    if isinstance(event, Comment):
        verdict = None if event.verdict is None else saved(event.verdict)
        said = (word(event.language), event.text[:TEXT_LENGTH], verdict)
        return ("comments", event.id), (*rank(event), event.turn, word(event.person), *said)
    pieces = tuple((word(item.source), word(item.document), item.lag, item.stale) for item in event.items)
    return ("contexts", event.id), (*rank(event), pieces)


def saved(verdict: Verdict) -> SavedVerdict:
    """Return what is kept of a verdict."""
    return verdict.category, verdict.topics, verdict.confidence


def weight(kind: Kind, row: Row) -> int:
    """Return how much room a row takes: a context as much as its pieces and itself."""
    return 1 + len(row[PIECES]) if kind == "contexts" else 1
