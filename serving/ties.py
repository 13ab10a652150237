"""What holds a person and others together, but is held back: with it the person would be larger than the limit.

Of the types that are held back only those count that the person has, and of its identifiers those that others carry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from events.persons import Member, type_of
from stores.profiles.base import ProfileReader


class Tie(msgspec.Struct, frozen=True):
    """An identifier that would join records.

    :arg records: How many carry it, those of the person among them.
    """

    identifier: str
    records: int


class Held(msgspec.Struct, frozen=True):
    """A person whose records do not all link.

    :arg records: How many it has.
    :arg held: Types of its identifiers that are held back.
    :arg ties: What would join it with others: the strongest first, of one type those that join most.
    """

    person: str
    realm: str
    records: int
    held: tuple[str, ...]
    ties: tuple[Tie, ...]


def held_of(members: Sequence[Member]) -> tuple[str, ...]:
    """Return the types of identifiers that are held back of these records and that they have, in order of strength."""
    return held_among(
        (type_ for member in members for type_ in member.held),
        {type_of(identifier) for member in members for identifier in member.identifiers},
    )


def held_among(held: Iterable[str], types: Collection[str]) -> tuple[str, ...]:
    """Return those types that are held back which are among `types`, once each."""
    return tuple(dict.fromkeys(type_ for type_ in held if type_ in types))


def ties_of(
    reader: ProfileReader,
    members: Sequence[Member],
    shared: Collection[tuple[str, str]],
    limits: Mapping[str, int],
) -> tuple[Tie, ...]:
    """Return what would join a person with others if it were not held back.

    :arg members: The person's.
    :arg shared: By realm and name, identifiers that are over their limit: these link nothing anyway.
    :arg limits: By type, the strongest first, how many records may carry one.
    """
    own = {member.record for member in members}
    ranks = {type_: rank for rank, type_ in enumerate(limits)}
    carried = {
        (member.realm, identifier): None
        for member in members
        for identifier in member.identifiers
        if type_of(identifier) in member.held and (member.realm, identifier) not in shared
    }
    found = []
    for realm, identifier in carried:
        holders = reader.holders(realm, identifier, limits.get(type_of(identifier), 0) + 1)
        if any(holder.record not in own for holder in holders):
            found.append(Tie(identifier, len(holders)))
    weakest = len(ranks)
    order = sorted(found, key=lambda tie: (ranks.get(type_of(tie.identifier), weakest), -tie.records, tie.identifier))
    return tuple(order)
