"""Records, the identifiers that they carry, and the persons that they are of.

An identifier is `type:value`, its value normalised: two records that carry the same one are of one person, unless too
many do. Record keys and identifiers belong to one realm each.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

import msgspec

from events.changes import Change


class Links(msgspec.Struct, frozen=True, gc=False):
    """A change of a row that carries identifiers, with what it says of them.

    :arg change: The change; one with `after` None says that the record carries none any more.
    :arg realm: Where its identifiers link.
    :arg identifiers: For each rule of the record's table the distinct identifiers that it found, sorted; None where the
        source left out a column that the rule reads: what the record carried by it stays.
    :arg created: When the row was made, as it says itself (ms since epoch); None if it does not.
    """

    change: Change
    realm: str
    identifiers: tuple[tuple[str, ...] | None, ...]
    created: int | None = None


class Member(msgspec.Struct, frozen=True, gc=False):
    """Which person a record is of.

    :arg record: The record key.
    :arg person: The person's id; empty once the record is gone.
    :arg identifiers: All that the record carries, sorted; also those that do not link.
    :arg since: When the record was made (ms since epoch): the earliest one gives the person its id.
    :arg held: Types of identifiers that do not link this record because the person would be larger than the limit.
    """

    record: str
    realm: str
    person: str
    identifiers: tuple[str, ...] = ()
    since: int = 0
    held: tuple[str, ...] = ()


class Shared(msgspec.Struct, frozen=True, gc=False):
    """An identifier that has more records than its limit, and so does not link; or has no longer.

    :arg records: How many records carry it; up to `limit` it links again.
    """

    identifier: str
    realm: str
    records: int
    limit: int


class Cause(msgspec.Struct, frozen=True):
    """The change that moved records between persons.

    :arg record: Whose change it was.
    :arg gained: Identifiers that it has brought to the record.
    :arg lost: Identifiers that it has taken from the record.
    """

    record: str
    op: str
    stream: str
    partition: int
    offset: int
    event_time: int
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class PersonEvent(msgspec.Struct, frozen=True):
    """Records have moved between persons. After a crash, or a rebuild, it may be told again, with the same id.

    :arg kind: `merged`: the persons `others` are part of `person` now. `split`: records of `person` are of `others`
        now, beside those that it still has, if any. `renamed`: another record is the earliest of `person`, which is
        called as the only one of `others` now.
    """

    id: str
    kind: Literal["merged", "split", "renamed"]
    realm: str
    person: str
    others: tuple[str, ...]
    cause: Cause


def person_id(realm: str, record: str) -> str:
    """Return the id that a person bears whose earliest record this is: `p` and 16 letters or digits."""
    digest = hashlib.blake2b(f"{realm}\0{record}".encode(), digest_size=10).digest()
    return "p" + base64.b32encode(digest).decode().lower()


def type_of(identifier: str) -> str:
    """Return the type of an identifier."""
    return identifier.partition(":")[0]
