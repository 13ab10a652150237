"""The shapes of Headrace's own JSON, as strict as a type can be, and what is said to those who got one wrong.

A field that is not there and one that is null are the same. Fields that nobody knows are refused: a misspelt `latency`
would be missed by nobody until somebody needs it. `metadata` and `extra` are for whatever else there is.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from events.errors import RejectedError
from events.feedback import Role, Scale

LONGEST_NAME = 512
LONGEST_COMMENT = 100_000
"""Characters. What people type is shorter; a turn is as long as a record may be."""
_MOST_ITEMS = 1_000
_MOST_TOPICS = 20
_LONGEST_TOPIC = 200
_MOST_LABELS = 32
_MUCH = 1e12
_LARGEST = 1e100
"""Of a metric: far from where sums of floats have no end."""

Id = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Name: TypeAlias = Annotated[str, Meta(max_length=LONGEST_NAME)] | UnsetType | None
Text: TypeAlias = str | UnsetType | None
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=_MUCH)] | UnsetType | None
Count: TypeAlias = Annotated[int, Meta(ge=0, le=10**12)] | Annotated[float, Meta(ge=0, le=_MUCH)] | UnsetType | None
Time: TypeAlias = int | float | str | UnsetType | None
Flag: TypeAlias = bool | UnsetType | None
Code: TypeAlias = Annotated[str, Meta(pattern="^([A-Za-z]{2,3}([-_].{1,20})?)?$")] | UnsetType | None
Labels: TypeAlias = (
    Annotated[dict[Id, Annotated[str, Meta(max_length=LONGEST_NAME)]], Meta(max_length=_MOST_LABELS)] | UnsetType | None
)
Value = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
Topic = Annotated[str, Meta(max_length=_LONGEST_TOPIC)]


class _Shape(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    time: Time = UNSET
    metadata: Any = UNSET
    extra: Any = UNSET


class TurnSaid(_Shape, tag="turn", kw_only=True):
    """A `Turn`."""

    conversation: Name = UNSET
    id: Name = UNSET
    role: Role
    text: Text = UNSET
    application: Name = UNSET
    model: Name = UNSET
    language: Code = UNSET
    topic: Name = UNSET
    person: Name = UNSET
    latency: Amount = UNSET
    tokens_in: Count = UNSET
    tokens_out: Count = UNSET
    cost: Amount = UNSET
    fallback: Flag = UNSET
    context: Name = UNSET
    consent: Flag = UNSET


class RatingSaid(_Shape, tag="rating", kw_only=True):
    """A `Rating`; a thumb may also be true or false."""

    conversation: Name = UNSET
    id: Name = UNSET
    scale: Scale
    value: bool | float
    turn: Name = UNSET
    person: Name = UNSET


class VerdictSaid(msgspec.Struct):
    """A `Verdict`: KPIs group by what it says, so that it is short."""

    category: Topic | UnsetType | None = UNSET
    topics: Annotated[tuple[Topic, ...], Meta(max_length=_MOST_TOPICS)] | UnsetType | None = UNSET
    confidence: Annotated[float, Meta(ge=0, le=1)] | UnsetType | None = UNSET
    model: Name = UNSET


class CommentSaid(_Shape, tag="comment", kw_only=True):
    """A `Comment`."""

    conversation: Name = UNSET
    id: Name = UNSET
    text: Annotated[str, Meta(min_length=1, max_length=LONGEST_COMMENT)]
    turn: Name = UNSET
    person: Name = UNSET
    language: Code = UNSET
    verdict: VerdictSaid | UnsetType | None = UNSET


class ItemSaid(msgspec.Struct, forbid_unknown_fields=True):
    """A `ShownItem`."""

    source: Id
    document: Name = UNSET
    chunk: Name = UNSET
    as_of: Time = UNSET
    lag: Amount = UNSET
    stale: Flag = UNSET
    text: Text = UNSET
    metadata: Any = UNSET
    extra: Any = UNSET


class ContextSaid(_Shape, tag="context", kw_only=True):
    """A `ShownContext`."""

    conversation: Name = UNSET
    id: Id
    items: Annotated[list[ItemSaid], Meta(max_length=_MOST_ITEMS)]
    person: Name = UNSET


class PointSaid(_Shape, tag="point", kw_only=True):
    """A `Point`."""

    id: Name = UNSET
    name: Id
    value: bool | Value
    labels: Labels = UNSET


class ConversationSaid(_Shape, tag="conversation", kw_only=True):
    """A whole conversation; what it says of itself holds for its parts, where they do not say otherwise."""

    id: Id
    application: Name = UNSET
    person: Name = UNSET
    language: Code = UNSET
    topic: Name = UNSET
    model: Name = UNSET
    consent: Flag = UNSET
    turns: list[TurnSaid] | UnsetType | None = UNSET
    ratings: list[RatingSaid] | UnsetType | None = UNSET
    comments: list[CommentSaid] | UnsetType | None = UNSET
    contexts: list[ContextSaid] | UnsetType | None = UNSET


Said: TypeAlias = TurnSaid | RatingSaid | CommentSaid | ContextSaid | PointSaid | ConversationSaid
"""One object of a record."""

_PARTS: dict[str, type[msgspec.Struct]] = {
    "turn": TurnSaid,
    "rating": RatingSaid,
    "comment": CommentSaid,
    "context": ContextSaid,
    "point": PointSaid,
    "conversation": ConversationSaid,
    "item": ItemSaid,
}
TYPES = tuple(_PARTS)[:-1]
"""What `type` may be."""
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$(.*)`)?")
_LIST = re.compile(r"\.(turn|rating|comment|context|item)s\[\d+\]")


def refusal(error: msgspec.ValidationError, value: dict[str, Any]) -> RejectedError:
    """Say what is wrong with an object that has no shape of ours."""
    kind = value.get("type")
    if kind not in TYPES:
        message = "the event has no `type`" if kind is None else f"there is no `type` {str(kind)[:40]!r}"
        return RejectedError(message, f"use one of {', '.join(TYPES)}")
    if missing := _MISSING.fullmatch(str(error)):
        field, path = missing.groups()
        return RejectedError(f"the {_part(kind, path)} has no `{field}`", f"give `{field}`")
    if unknown := _UNKNOWN.fullmatch(str(error)):
        field, path = unknown.groups()
        part = _part(kind, path)
        near = difflib.get_close_matches(field, _PARTS[part].__struct_fields__, 1)
        hint = f"did you mean `{near[0]}`?" if near else "put fields of your own into `metadata`"
        return RejectedError(f"a {part} has no field `{field[:LONGEST_NAME]}`", hint)
    message = f"not a {kind}: {str(error)[:LONGEST_NAME]}"
    return RejectedError(message, "correct that field at its source")


def _part(kind: str, path: str | None) -> str:
    lists = _LIST.findall(path or "")
    return lists[-1] if lists else kind
