"""From what belongs to a conversation to its row in the lake, and back: a function of the set of events.

Of events that have the same kind and id at most one is given; which one stands has been decided before. Going there and
back loses nothing but a comment's verdict, which is ours and not the event's, and which of several contexts held whose
data. Back and there again it is the same row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias, TypeVar

import msgspec

from events.errors import RejectedError
from events.feedback import SPEAKING, Comment, FeedbackEvent, Rating, Said, ShownContext, ShownItem, Turn

Row: TypeAlias = "dict[str, Any]"
"""The columns of `stores/lake/schema.py`; times in microseconds and days since 1970-01-01."""

Objective: TypeAlias = "Callable[[str], float]"
"""Returns how many milliseconds a source may be behind when a piece of it is shown."""

S = TypeVar("S", Turn, Rating, Comment, ShownContext)

DAY = 86_400_000
_MICROS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_LAST = 253_402_300_799_999
_INT64 = 2**63


def check_event(event: FeedbackEvent) -> None:
    """Look whether the columns of the lake can hold an event.

    :raises RejectedError: When a time is outside the years 1970 to 9999, or a number has more than 64 bits.
    """
    times: list[int | None] = [event.time]
    if isinstance(event, ShownContext):
        times += [item.as_of for item in event.items]
    if any(time is not None and not 0 <= time <= _LAST for time in times):
        msg = f"a time of {event.id[:100]!r} lies outside the years 1970 to 9999"
        raise RejectedError(msg, "times are milliseconds since 1970-01-01 UTC")
    if isinstance(event, Turn) and any(
        not 0 <= (tokens or 0) < _INT64 for tokens in (event.tokens_in, event.tokens_out)
    ):
        msg = f"the turn {event.id[:100]!r} has a count of tokens that is none"
        raise RejectedError(msg, "counts are 0 or more, and below 2^63")


def _place(event: Said) -> tuple[int, int, str]:
    return event.time, SPEAKING[event.role] if isinstance(event, Turn) else 0, event.id


def conversation_row(conversation: str, events: Iterable[Said], objective: Objective) -> Row | None:
    """Return the row of a conversation; None while there is no turn.

    :arg events: All of it, in any order, each once.
    """
    kinds: dict[type, list[Any]] = {Turn: [], Rating: [], Comment: [], ShownContext: []}
    for event in events:
        kinds[type(event)].append(event)
    for group in kinds.values():
        group.sort(key=_place)
    turns: list[Turn] = kinds[Turn]
    if not turns:
        return None
    ratings: list[Rating] = kinds[Rating]
    comments: list[Comment] = kinds[Comment]
    contexts: list[ShownContext] = kinds[ShownContext]
    persons = [event.person for group in (ratings, comments, turns) for event in group if event.person]
    row: Row = {
        "id": conversation,
        "day": turns[0].time // DAY,
        "begin": turns[0].time * _MICROS,
        "end": turns[-1].time * _MICROS,
        "applications": sorted({turn.application for turn in turns if turn.application}),
        "person": persons[-1] if persons else "",
        "persons": sorted({*persons, *(context.person for context in contexts if context.person)}),
        "language": next((turn.language for turn in reversed(turns) if turn.language), ""),
        "consent": next((turn.consent for turn in reversed(turns) if turn.consent is not None), None),
        "turns": [_columns(turn) for turn in turns],
        "ratings": [_columns(rating) for rating in ratings],
        "comments": [_columns(comment) for comment in comments],
        "contexts": [_context(context) for context in contexts],
        "good": sum(rating.good for rating in ratings),
        "bad": sum(rating.bad for rating in ratings),
        "fresh": _fresh(turns, contexts, objective),
    }
    row["revision"] = hashlib.blake2b(msgspec.msgpack.encode(row), digest_size=12).hexdigest()
    return row


def events_of(row: Mapping[str, Any]) -> list[Said]:
    """Return the events that a row was made of, sorted by kind.

    :arg row: As pyarrow's `to_pylist` returns it.
    """
    conversation = row["id"]
    found: list[Said] = [_event(Turn, conversation, columns) for columns in row["turns"]]
    found += [_event(Rating, conversation, columns) for columns in row["ratings"]]
    found += [_event(Comment, conversation, columns) for columns in row["comments"]]
    # Who is named by no other event must have been named by a context.
    named = {event.person for event in found}
    unnamed = [person for person in row["persons"] if person not in named]
    for place, columns in enumerate(row["contexts"]):
        person = unnamed[place % len(unnamed)] if unnamed else ""
        items = tuple(ShownItem(**{**item, "as_of": _millis(item["as_of"])}) for item in columns["items"])
        found.append(_event(ShownContext, conversation, {**columns, "items": items, "person": person}))
    return found


def _event(kind: type[S], conversation: str, columns: Mapping[str, Any]) -> S:
    return kind(**{**columns, "conversation": conversation, "time": _millis(columns["time"])})


def _columns(event: Turn | Rating | Comment) -> Row:
    columns = msgspec.structs.asdict(event)
    del columns["conversation"]
    columns.pop("verdict", None)
    columns["time"] *= _MICROS
    return columns


def _context(context: ShownContext) -> Row:
    items = [msgspec.structs.asdict(item) for item in context.items]
    for item in items:
        if item["as_of"] is not None:
            item["as_of"] *= _MICROS
    return {"id": context.id, "time": context.time * _MICROS, "items": items}


def _fresh(turns: Sequence[Turn], contexts: Sequence[ShownContext], objective: Objective) -> bool | None:
    stale = any(
        item.stale or (item.lag is not None and item.lag > objective(item.source))
        for context in contexts
        for item in context.items
    )
    if stale:
        return False
    known = {context.id for context in contexts}
    return None if not known or any(turn.context and turn.context not in known for turn in turns) else True


def _millis(time: datetime | None) -> int | None:
    return None if time is None else (time - _EPOCH) // _MILLISECOND
