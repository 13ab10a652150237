"""Facts of a conversation: a pure function of what stands in it. Which fields they have: `events.kpis.FIELDS`.

A turn's application, language and person are its own, else those of the nearest turn before it that says them, else
after it; a context's application likewise. Nothing is taken from further away than the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from events.kpis import Fact, FactValue
from operators.feedback.configure import Objectives
from operators.feedback.conversations import Conversation, place_of
from operators.feedback.rows import (
    ABOUT,
    APPLICATION,
    BAD,
    BY,
    COMMENT_LANGUAGE,
    COST,
    FALLBACK,
    GOOD,
    KINDS,
    LANGUAGE,
    LATENCY,
    MODEL,
    PERSON,
    PIECES,
    ROLE,
    SCALE,
    TEXT,
    TIME,
    TOKENS_IN,
    TOKENS_OUT,
    VALUE,
    VERDICT,
    Key,
    Kind,
    Row,
    SavedVerdict,
)


def facts_of(conversation: Conversation, objectives: Objectives) -> dict[tuple[str, str], Fact]:
    """Return all facts of a conversation, by kind and id."""
    keys: list[Key] = [(kind, id_) for kind in KINDS for id_ in conversation.rows[kind]]
    return {(fact.kind, fact.id): fact for key in keys for fact in facts_at(conversation, key, objectives)}


def facts_at(conversation: Conversation, key: Key, objectives: Objectives) -> tuple[Fact, ...]:
    """Return the facts of one event: of a context as many as it has pieces, none if it does not stand."""
    kind, id_ = key
    row = conversation.rows[kind].get(id_)
    return () if row is None else _MAKERS[kind](conversation, id_, row, objectives)


def fact_id(*ids: str) -> str:
    """Return the ids with slashes between them; those within an id are escaped."""
    joined = "/".join(ids)
    if "%" not in joined and joined.count("/") < len(ids):
        return joined
    return "/".join([id_.replace("%", "%25").replace("/", "%2F") for id_ in ids])


def score_of(row: Row) -> float:
    """Return a rating from 0 to 1."""
    return float(row[VALUE] if row[SCALE] == "thumbs" else (row[VALUE] - 1) / 4)


def is_stale(piece: Row, objectives: Objectives) -> bool:
    """Tell whether a piece of a context was out of date."""
    source, _, lag, stale = piece
    return bool(stale or (lag is not None and lag > objectives.of(source)))


def _turn(conversation: Conversation, id_: str, row: Row, objectives: Objectives) -> tuple[Fact, ...]:
    if row[ROLE] == "user":
        fields = _said(conversation, id_, row)
        del fields["model"]
        return (Fact("questions", fact_id(conversation.id, id_), row[TIME], fields),)
    if row[ROLE] != "assistant":
        return ()
    fields = _said(conversation, id_, row)
    tokens_in, tokens_out = row[TOKENS_IN], row[TOKENS_OUT]
    known = tokens_in is not None or tokens_out is not None
    fields["latency"] = row[LATENCY]
    fields["tokens_in"] = tokens_in
    fields["tokens_out"] = tokens_out
    fields["tokens"] = (tokens_in or 0) + (tokens_out or 0) if known else None
    fields["cost"] = row[COST]
    fields["fallback"] = row[FALLBACK]
    _add_ratings(fields, _ratings_of(conversation, id_, row))
    _add_context(fields, conversation.context(row), objectives)
    return (Fact("answers", fact_id(conversation.id, id_), row[TIME], fields),)


def _rating(conversation: Conversation, id_: str, row: Row, objectives: Objectives) -> tuple[Fact, ...]:
    fields = _of_target(conversation, row)
    target = conversation.target(row)
    context = None if target is None else conversation.context(conversation.rows["turns"][target])
    fields["scale"] = row[SCALE]
    fields["value"] = row[VALUE]
    fields["score"] = score_of(row)
    fields["good"] = row[GOOD]
    fields["bad"] = row[BAD]
    fields["stale"] = None if context is None else any(is_stale(piece, objectives) for piece in context[PIECES])
    return (Fact("ratings", fact_id(conversation.id, id_), row[TIME], fields),)


def _comment(conversation: Conversation, id_: str, row: Row, objectives: Objectives) -> tuple[Fact, ...]:
    del objectives
    fields = _of_target(conversation, row)
    if row[COMMENT_LANGUAGE]:
        fields["language"] = row[COMMENT_LANGUAGE]
    verdict: SavedVerdict | None = conversation.verdict(("comments", id_), row[TIME]) or row[VERDICT]
    category, topics, confidence = verdict or ("", None, None)
    fields["category"] = category or None
    fields["topics"] = topics
    fields["confidence"] = confidence
    fields["text"] = row[TEXT]
    return (Fact("comments", fact_id(conversation.id, id_), row[TIME], fields),)


def _context(conversation: Conversation, id_: str, row: Row, objectives: Objectives) -> tuple[Fact, ...]:
    # Turns of the same moment count as said before.
    application = conversation.inherited(APPLICATION, row[TIME], (row[TIME] + 1,)) or None
    return tuple(
        Fact(
            "contexts",
            fact_id(conversation.id, id_, str(ordinal)),
            row[TIME],
            {
                "conversation": conversation.id,
                "context": id_,
                "application": application,
                "source": piece[0],
                "document": piece[1] or None,
                "lag": piece[2],
                "stale": is_stale(piece, objectives),
            },
        )
        for ordinal, piece in enumerate(row[PIECES])
        if piece[0]
    )


_MAKERS: dict[Kind, Callable[[Conversation, str, Row, Objectives], tuple[Fact, ...]]] = {
    "turns": _turn,
    "ratings": _rating,
    "comments": _comment,
    "contexts": _context,
}


def _said(conversation: Conversation, id_: str, row: Row) -> dict[str, FactValue]:
    time, place, inherited = row[TIME], place_of(id_, row), conversation.inherited
    return {
        "conversation": conversation.id,
        "turn": id_,
        "application": row[APPLICATION] or inherited(APPLICATION, time, place) or None,
        "model": row[MODEL] or None,
        "language": row[LANGUAGE] or inherited(LANGUAGE, time, place) or None,
        "topic": conversation.topic(id_, row) or None,
        "person": row[PERSON] or inherited(PERSON, time, place) or None,
    }


def _of_target(conversation: Conversation, row: Row) -> dict[str, FactValue]:
    target = conversation.target(row)
    fields: dict[str, FactValue]
    if target is None:
        fields = {"conversation": conversation.id}
    else:
        fields = _said(conversation, target, conversation.rows["turns"][target])
    fields["turn"] = row[ABOUT] or None
    if row[BY]:
        fields["person"] = row[BY]
    fields["known"] = target is not None
    return fields


def _ratings_of(conversation: Conversation, id_: str, row: Row) -> list[Row]:
    ratings = conversation.rows["ratings"]
    found = [ratings[about] for kind, about in conversation.about.get(id_, ()) if kind == "ratings"]
    return [rating for rating in found if abs(rating[TIME] - row[TIME]) <= conversation.horizon]


def _add_ratings(fields: dict[str, FactValue], ratings: list[Row]) -> None:
    fields["rated"] = bool(ratings)
    if not ratings:
        fields["good"] = fields["bad"] = fields["score"] = None
        return
    good, bad = sum(rating[GOOD] for rating in ratings), sum(rating[BAD] for rating in ratings)
    fields["good"] = good > bad
    fields["bad"] = bad > good
    # Rounded once: the same in whatever order they came.
    fields["score"] = math.fsum(map(score_of, ratings)) / len(ratings)


def _add_context(fields: dict[str, FactValue], context: Row | None, objectives: Objectives) -> None:
    if context is None:
        fields["stale"] = fields["lag"] = fields["documents"] = None
        return
    pieces = context[PIECES]
    fields["stale"] = any(is_stale(piece, objectives) for piece in pieces)
    fields["lag"] = max((piece[2] for piece in pieces if piece[2] is not None), default=None)
    fields["documents"] = tuple(sorted({f"{piece[0]}/{piece[1]}" for piece in pieces if piece[1]}))
