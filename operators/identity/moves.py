"""What a change does to persons: which records have moved, and how that is told.

Every move of a record from one person to another is told by exactly one event: wherever a person's records are of one
other person only, the two have merged, or it has another name; wherever they are of several, it has split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from events.persons import Cause, PersonEvent


class Move(msgspec.Struct, frozen=True, gc=False):
    """A record whose person has changed, or what is held back of its links.

    :arg old: The person that it was of; empty for a record that was not there.
    :arg new: The person that it is of; empty for one that is gone. The same as `old` if only what is held back changed.
    """

    record: str
    old: str
    new: str


class Moves(msgspec.Struct, gc=False):
    """All that one change of the graph has done.

    :arg before: Persons that were there before, among those whose records were looked at.
    :arg after: Persons that are there after it, among those.
    :arg shared: How many records carried an identifier before and carry it after, where one of both is over its limit.
    """

    moved: list[Move] = []
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    shared: dict[str, tuple[int, int]] = {}


def combined(steps: Iterable[Moves]) -> Moves:
    """Return what several changes have done together, as if they were one."""
    went: dict[str, tuple[str, str]] = {}
    was: dict[str, bool] = {}
    stays: dict[str, bool] = {}
    for step in steps:
        for move in step.moved:
            went[move.record] = (went[move.record][0] if move.record in went else move.old, move.new)
        for person in step.before | step.after:
            was.setdefault(person, person in step.before)
            stays[person] = person in step.after
    return Moves(
        [Move(record, old, new) for record, (old, new) in went.items()],
        frozenset(person for person, there in was.items() if there),
        frozenset(person for person, there in stays.items() if there),
    )


def person_events(realm: str, moves: Moves, cause: Cause) -> list[PersonEvent]:
    """Return what is told of `moves`, the same for the same moves and cause."""
    went: dict[str, set[str]] = {}
    for move in moves.moved:
        if move.old and move.new and move.old != move.new:
            went.setdefault(move.old, set()).add(move.new)
    told: list[PersonEvent] = []
    joined: dict[str, list[str]] = {}
    for old, new in went.items():
        if old in moves.after or len(new) > 1:
            told.append(_event("split", realm, old, new, cause))
        else:
            joined.setdefault(next(iter(new)), []).append(old)
    for new_, olds in joined.items():
        if new_ in moves.before or len(olds) > 1:
            told.append(_event("merged", realm, new_, olds, cause))
        else:
            told.append(_event("renamed", realm, olds[0], (new_,), cause))
    return sorted(told, key=_order)


def _order(event: PersonEvent) -> tuple[str, str]:
    return event.kind, event.person


def _event(
    kind: Literal["merged", "split", "renamed"],
    realm: str,
    person: str,
    others: set[str] | list[str] | tuple[str, ...],
    cause: Cause,
) -> PersonEvent:
    names = tuple(sorted(others))
    place = (cause.record, cause.op, cause.stream, cause.partition, cause.offset)
    content = msgspec.json.encode((kind, realm, person, names, place))
    return PersonEvent(hashlib.blake2b(content, digest_size=12).hexdigest(), kind, realm, person, names, cause)
