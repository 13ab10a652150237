"""Which facts of a conversation an event can touch: all others are the same with it and without it.

It may name some that are the same, never leave out one that is not: facts are told only where they differ.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from operators.feedback.conversations import INHERITED, Conversation, Edge, Place, between, place_of
from operators.feedback.rows import ABOUT, APPLICATION, ROLE, TIME, TOPIC, Key, Row


def reach(conversation: Conversation, key: Key, row: Row) -> dict[Key, None]:
    """Return whose facts may differ between the conversation with `row` and without it.

    :arg conversation: With the row or without it.
    """
    kind, id_ = key
    touched: dict[Key, None] = {key: None}
    if kind == "turns":
        for turn in _turns(conversation, id_, row, touched):
            touched.update(dict.fromkeys(_of_turn(conversation, turn, row if turn == id_ else None)))
    elif kind == "ratings":
        if row[ABOUT] in conversation.rows["turns"]:
            touched["turns", row[ABOUT]] = None
    elif kind == "contexts":
        for turn in conversation.naming.get(id_, ()):
            touched.update(dict.fromkeys(_of_turn(conversation, turn)))
    return touched


def _turns(conversation: Conversation, id_: str, row: Row, touched: dict[Key, None]) -> dict[str, None]:
    """Return the turns that may have something of this one, itself included; note contexts as `touched`."""
    rows, place = conversation.rows["turns"], place_of(id_, row)
    turns = {id_: None}
    for field in INHERITED:
        if not row[field]:
            continue
        after, before = _span(conversation, conversation.holders[field], place)
        for *_, other in between(conversation.order, after, before):
            if not rows[other][field]:
                turns[other] = None
        if field == APPLICATION and conversation.shown:
            shown = conversation.shown
            for _, context in shown[bisect_left(shown, (after[0],)) : bisect_left(shown, (before[0] + 1,))]:
                touched["contexts", context] = None
    if row[ROLE] == "user" and conversation.question_topic(id_, row):
        topical = conversation.topical
        before = _until(topical, bisect_right(topical, place), place[0] + conversation.horizon)
        for *_, answer in between(conversation.answers, place, before):
            if not rows[answer][TOPIC]:
                turns[answer] = None
    return turns


def _span(conversation: Conversation, holders: list[Place], place: Place) -> tuple[Edge, Edge]:
    """Return after and before which turns may have of the one at `place` what they do not say themselves.

    That ends at the next ones that say it: they are nearer. Where the one before is near enough to `place`, it is so
    to all between them.
    """
    time, horizon = place[0], conversation.horizon
    left, right = bisect_left(holders, place), bisect_right(holders, place)
    after: Edge = place
    if not left or time - holders[left - 1][0] > horizon:
        after = (time - horizon,)
        if left and holders[left - 1] > after:
            after = holders[left - 1]
    return after, _until(holders, right, time + horizon)


def _until(places: list[Place], at: int, time: int) -> Edge:
    """Return the place at an index; after everything at `time` if that is nearer."""
    after = (time + 1,)
    return places[at] if at < len(places) and places[at] < after else after


def _of_turn(conversation: Conversation, id_: str, absent: Row | None = None) -> Iterator[Key]:
    """Yield the turn, and the ratings and comments that are about it, or would be.

    :arg absent: The row of the turn, if it may not be there.
    """
    yield "turns", id_
    yield from conversation.about.get(id_, ())
    whole = conversation.whole
    if not whole:
        return
    row = conversation.rows["turns"][id_] if absent is None else absent
    time, horizon, place = row[TIME], conversation.horizon, place_of(id_, row)
    if row[ROLE] == "assistant":
        at = bisect_right(conversation.answers, place)
        until = time + horizon
        if at < len(conversation.answers):
            until = min(until, conversation.answers[at][0])
        for _, kind, about in whole[bisect_left(whole, (time,)) : bisect_left(whole, (until + 1,))]:
            yield kind, about
    # As the first turn there is: where no other is within the horizon before it.
    since = time - horizon
    at = bisect_left(conversation.order, place)
    if at:
        since = max(since, conversation.order[at - 1][0] + horizon + 1)
    for _, kind, about in whole[bisect_left(whole, (since,)) : bisect_left(whole, (time + horizon + 1,))]:
        yield kind, about
