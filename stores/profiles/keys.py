"""By what members are found beside their record keys: the same in every adapter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from events.persons import Member, person_id
from stores.profiles.base import HeldPerson

_STEPS = 8
"""Former ids that lead to one another at most: each is of a person that had lost its earliest record anew."""


def number_of(realm: str, identifier: str) -> int:
    """Return the number under which the records are found that carry an identifier: 64 bits, signed.

    Two identifiers may have one number: whoever is found by it is still to be asked for the identifier.
    """
    digest = hashlib.blake2b(f"{realm}\0{identifier}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def numbers_of(member: Member | None) -> set[int]:
    """Return the numbers of all that a member carries."""
    return set() if member is None else {number_of(member.realm, identifier) for identifier in member.identifiers}


def own_id(member: Member) -> str | None:
    """Return the id that its person would bear by this member; None if it is the one that it bears."""
    own = person_id(member.realm, member.record)
    return None if own == member.person else own


def lead(
    id_: str,
    person_of: Callable[[str], str | None],
    former: Callable[[str], tuple[str, str | None] | None],
    realms: Callable[[], Iterable[str]],
) -> str | None:
    """Return the person to which an id leads, None if to none.

    :arg person_of: Tells, of the id of a person or of one of its records, the person.
    :arg former: Tells, of a former id, the record that was noted with it, and whose that is if it is still there.
    :arg realms: Tells all realms.
    """
    ids = [id_]
    for _ in range(_STEPS):
        gone: list[str] = []
        for one in ids:
            person = person_of(one)
            if person is not None:
                return person
            record, person = former(one) or ("", None)
            if person is not None:
                return person
            if record:
                gone.append(record)
        # The record is gone as well: the person may have been called after it.
        ids = [person_id(realm, record) for record in gone for realm in sorted(realms())]
    return None


def by_person(members: Iterable[Member]) -> dict[str, list[Member]]:
    """Return members by person, in their order."""
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.person, []).append(member)
    return found


def held_person(members: Sequence[Member]) -> HeldPerson:
    """Return what is reported of the person that has these members, earliest first."""
    held = dict.fromkeys(type_ for member in members for type_ in member.held)
    return HeldPerson(members[0].person, members[0].realm, len(members), tuple(held))
