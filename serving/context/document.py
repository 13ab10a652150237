"""A context as it is served and kept: one JSON document, the same bytes for the same context, read back as it was.

Keys have their fixed order. Times are ISO 8601 in UTC to the millisecond, ages and lags milliseconds, exact decimals
text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from events.clock import to_iso
from events.context import Context, ContextItem, Cut, ItemKind, Superseded
from events.errors import RejectedError

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_INTEGERS = range(-(2**63), 2**64)


class _Superseded(msgspec.Struct, frozen=True):
    column: str
    was: Any
    now: Any
    until: str


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    kind: ItemKind
    id: str
    source: str
    place: str
    title: str
    text: str
    position: str
    as_of: str
    since: str
    applied_at: str
    age_ms: int
    lag_ms: int | None
    stale: bool
    warning: str = ""
    score: float
    tokens: int
    data: dict[str, Any]
    superseded: list[_Superseded]


class _Cut(msgspec.Struct, frozen=True):
    store: str
    applied: dict[str, int]
    age_ms: int | None


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    conversation: str
    person: str
    question: str
    audiences: list[str]
    at: str
    tokens: int
    budget: int
    tokenizer: str
    items: list[_Item]
    left_out: dict[ItemKind, int]
    cuts: list[_Cut]
    notes: list[str]
    block: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Document).decode


def context_json(context: Context) -> bytes:
    """Return the document."""
    return _encode(
        _Document(
            id=context.id,
            conversation=context.conversation,
            person=context.person,
            question=context.question,
            audiences=list(context.audiences),
            at=to_iso(context.at),
            tokens=context.tokens,
            budget=context.budget,
            tokenizer=context.tokenizer,
            items=[_item(item, context.at) for item in context.items],
            left_out=context.left_out,
            cuts=[_Cut(cut.store, cut.applied, cut.age) for cut in context.cuts],
            notes=list(context.notes),
            block=context.block,
        )
    )


def context_of(document: bytes) -> Context:
    """Read back what `context_json` wrote.

    :raises RejectedError: When it is no such document.
    """
    try:
        found = _decode(document)
        return Context(
            id=found.id,
            conversation=found.conversation,
            person=found.person,
            question=found.question,
            audiences=tuple(found.audiences),
            at=_millis(found.at),
            items=tuple(map(_read_item, found.items)),
            block=found.block,
            tokens=found.tokens,
            budget=found.budget,
            tokenizer=found.tokenizer,
            left_out=found.left_out,
            cuts=tuple(Cut(cut.store, cut.applied, cut.age_ms) for cut in found.cuts),
            notes=tuple(found.notes),
        )
    except (msgspec.DecodeError, ValueError) as error:
        detail = f"this is no context: {error}"
        raise RejectedError(detail, "give the bytes that were served, unchanged") from None


def plain(value: Any) -> Any:
    """Return a value as JSON has it, the same before and after: exact decimals and huge numbers are text."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if value in _INTEGERS else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    return msgspec.to_builtins(value, enc_hook=str)


def _item(item: ContextItem, now: int) -> _Item:
    return _Item(
        number=item.number,
        kind=item.kind,
        id=item.id,
        source=item.source,
        place=item.place,
        title=item.title,
        text=item.text,
        position=item.position,
        as_of=to_iso(item.as_of),
        since=to_iso(item.since),
        applied_at=to_iso(item.applied_at),
        age_ms=item.age(now),
        lag_ms=item.lag,
        stale=item.stale,
        warning=item.warning,
        score=item.score,
        tokens=item.tokens,
        data=plain(item.data),
        superseded=[
            _Superseded(change.column, plain(change.was), plain(change.now), to_iso(change.until))
            for change in item.superseded
        ],
    )


def _read_item(item: _Item) -> ContextItem:
    return ContextItem(
        number=item.number,
        kind=item.kind,
        id=item.id,
        source=item.source,
        place=item.place,
        title=item.title,
        text=item.text,
        position=item.position,
        as_of=_millis(item.as_of),
        since=_millis(item.since),
        applied_at=_millis(item.applied_at),
        lag=item.lag_ms,
        stale=item.stale,
        warning=item.warning,
        score=item.score,
        tokens=item.tokens,
        data=item.data,
        superseded=tuple(
            Superseded(change.column, change.was, change.now, _millis(change.until)) for change in item.superseded
        ),
    )


def _millis(text: str) -> int:
    # Before Python 3.11 the zone `Z` is not understood.
    moment = datetime.fromisoformat(text.removesuffix("Z") + "+00:00")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
