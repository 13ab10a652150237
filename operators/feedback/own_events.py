"""From objects of Headrace's own JSON to events: what is left out is inherited, made or empty, and values are checked.

A part of a conversation has of it what it does not say itself. Where an event has no id it gets one that is made of
what it says, so that an event that is sent twice counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from events.errors import RejectedError
from events.feedback import Comment, FeedbackEvent, Point, Rating, ShownContext, ShownItem, Turn, Verdict
from operators.feedback.own_shapes import (
    CommentSaid,
    ContextSaid,
    ConversationSaid,
    ItemSaid,
    PointSaid,
    RatingSaid,
    Said,
    Time,
    TurnSaid,
    VerdictSaid,
)
from operators.feedback.reading import Origin, checked_time, digest, moment

_HIGHEST = {"thumbs": 1, "stars": 5, "csat": 5}
_CODE = 3
T = TypeVar("T")


class Common(msgspec.Struct, frozen=True):
    """What parts of a conversation have of it, where they do not say it themselves."""

    conversation: str = ""
    time: int | None = None
    application: str = ""
    person: str = ""
    language: str = ""
    topic: str = ""
    model: str = ""
    consent: bool | None = None


_NOTHING = Common()


def said_events(said: Said, origin: Origin) -> tuple[FeedbackEvent, ...]:
    """Return the events that an object says.

    :raises RejectedError: With what is wrong and the remedy.
    """
    if isinstance(said, ConversationSaid):
        return _parts(said, origin)
    return (_READERS[type(said)](said, _NOTHING, origin),)


def _parts(said: ConversationSaid, origin: Origin) -> tuple[FeedbackEvent, ...]:
    time = _moment(said.time, "time")
    common = Common(
        conversation=said.id,
        time=time,
        application=said.application or "",
        person=said.person or "",
        language=said.language or "",
        topic=said.topic or "",
        model=said.model or "",
        consent=_known(said.consent),
    )
    found: list[FeedbackEvent] = []
    last: int | None = None
    for place, one in enumerate(said.turns or (), start=1):
        after = common if last is None else msgspec.structs.replace(common, time=last + 1)
        turn = _turn(one, after, origin, str(place))
        last = turn.time
        found.append(turn)
    found += [_rating(one, common, origin) for one in said.ratings or ()]
    found += [_comment(one, common, origin) for one in said.comments or ()]
    found += [_context(one, common, origin) for one in said.contexts or ()]
    if not found:
        message = f"the conversation {said.id!r} has neither turns nor feedback"
        raise RejectedError(message, "give `turns`, `ratings`, `comments` or `contexts`")
    return tuple(found)


def _turn(said: TurnSaid, common: Common, origin: Origin, place: str = "") -> Turn:
    conversation = _conversation(said.conversation, common)
    time = _time(said.time, common, origin)
    text = said.text or ""
    topic, model = said.topic or common.topic, said.model or ""
    if said.role == "assistant":
        model = model or common.model
    consent = _known(said.consent)
    return Turn(
        conversation,
        said.id or place or digest("turn", conversation, str(time), said.role, text),
        time,
        said.role,
        text,
        said.application or common.application or origin.application,
        model,
        _language(said.language or common.language),
        topic,
        said.person or common.person,
        _known(said.latency),
        _whole(said.tokens_in, "tokens_in"),
        _whole(said.tokens_out, "tokens_out"),
        _known(said.cost),
        bool(said.fallback),
        said.context or "",
        common.consent if consent is None else consent,
    )


def _rating(said: RatingSaid, common: Common, origin: Origin) -> Rating:
    conversation = _conversation(said.conversation, common)
    time = _time(said.time, common, origin)
    turn, person, value, scale = said.turn or "", said.person or common.person, float(said.value), said.scale
    highest = _HIGHEST[scale]
    if not (value in {0, 1} if highest == 1 else 1 <= value <= highest):
        goes = "is 0 or 1" if highest == 1 else f"goes from 1 to {highest}"
        message = f"a rating of {value:g} on the scale `{scale}`, which {goes}"
        raise RejectedError(message, "correct `value`, or name the right `scale`: thumbs, stars or csat")
    # A person has one rating of an answer on each scale: the newest. Nobody knows who the others are of.
    who = person or f"@{time}"
    return Rating(
        conversation, said.id or digest("rating", conversation, turn, scale, who), time, scale, value, turn, person
    )


def _comment(said: CommentSaid, common: Common, origin: Origin) -> Comment:
    conversation = _conversation(said.conversation, common)
    time = _time(said.time, common, origin)
    turn, person = said.turn or "", said.person or common.person
    return Comment(
        conversation,
        said.id or digest("comment", conversation, turn, person, str(time), said.text),
        time,
        said.text,
        turn,
        person,
        _language(said.language or common.language),
        _verdict(said.verdict),
    )


def _verdict(said: VerdictSaid | msgspec.UnsetType | None) -> Verdict | None:
    if said is None or said is msgspec.UNSET:
        return None
    return Verdict(said.category or "", said.topics or (), said.confidence or 0.0, said.model or "")


def _context(said: ContextSaid, common: Common, origin: Origin) -> ShownContext:
    conversation = _conversation(said.conversation, common)
    time, person = _time(said.time, common, origin), said.person or common.person
    return ShownContext(conversation, said.id, time, tuple(map(_item, said.items)), person)


def _item(said: ItemSaid) -> ShownItem:
    return ShownItem(
        said.source,
        said.document or "",
        said.chunk or "",
        _moment(said.as_of, "as_of"),
        _known(said.lag),
        bool(said.stale),
        said.text or "",
    )


def _point(said: PointSaid, common: Common, origin: Origin) -> Point:
    time = _time(said.time, common, origin)
    return Point(said.id or str(time), time, said.name, float(said.value), said.labels or {})


_READERS: dict[type, Callable[[Any, Common, Origin], FeedbackEvent]] = {
    TurnSaid: _turn,
    RatingSaid: _rating,
    CommentSaid: _comment,
    ContextSaid: _context,
    PointSaid: _point,
}


def _known(value: T | msgspec.UnsetType | None) -> T | None:
    return None if value is msgspec.UNSET else value


def _whole(value: float | msgspec.UnsetType | None, what: str) -> int | None:
    if value is None or value is msgspec.UNSET:
        return None
    if value != int(value):
        message = f"`{what}` is {value}, not a whole number"
        raise RejectedError(message, "count whole tokens")
    return int(value)


def _conversation(said: str | msgspec.UnsetType | None, common: Common) -> str:
    if not said or said == common.conversation:
        if common.conversation:
            return common.conversation
        message = "the event does not say which conversation it belongs to"
        raise RejectedError(message, "give the conversation's id as `conversation`")
    if common.conversation:
        message = f"a part of the conversation {common.conversation!r} says that it is of {said!r}"
        raise RejectedError(message, "leave `conversation` out of its parts")
    return said


def _time(said: Time, common: Common, origin: Origin) -> int:
    found = _moment(said, "time")
    if found is None:
        found = origin.time if common.time is None else common.time
    return checked_time(found, origin.latest)


def _moment(said: Time, what: str) -> int | None:
    return None if said is None or said is msgspec.UNSET else moment(said, what)


def _language(code: str) -> str:
    """Return the language of a code: `en` of `en`, `EN` and `en-GB`."""
    return code if len(code) <= _CODE and code.islower() else code.partition("-")[0].partition("_")[0].lower()
