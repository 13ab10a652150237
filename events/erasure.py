"""The removal of a person, and the fingerprints by which it stays removed.

An erasure names records and identifiers while it travels; what stays of it are fingerprints, keyed by a secret of this
installation, so that they tell whether something is of an erased person, but not who that was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from events.persons import person_id

ERASED = "headrace-erased"
"""Header of a record of the log whose content has been removed: whoever reads it passes it over."""

_PERSON, _CONVERSATION = "person\0", "conversation\0"
"""What the fingerprints of ids begin with, so that none is taken for that of a record."""


class Erasure(msgspec.Struct, frozen=True, tag="erasure"):
    """Everything that one person's removal concerns, sent through the flows on their control streams.

    :arg id: Names the erasure; says nothing of the person.
    :arg realm: The person's realm.
    :arg person: Its id.
    :arg records: Keys of its records and of their activities.
    :arg identifiers: What its records carried and nobody else's.
    :arg at: When it was asked for (ms since epoch).
    :arg conversations: Ids of its conversations.
    """

    id: str
    realm: str
    person: str
    records: tuple[str, ...]
    identifiers: tuple[str, ...]
    at: int
    conversations: tuple[str, ...] = ()


class Erased(msgspec.Struct, frozen=True, gc=False):
    """One record of an erasure, for steps that keep something by record."""

    record: str


class ErasedConversation(msgspec.Struct, frozen=True, gc=False):
    """One conversation of an erasure, for steps that keep something by conversation."""

    conversation: str


class Fingerprint(msgspec.Struct, frozen=True):
    """What stays of one erasure. Fingerprints are hexadecimal.

    :arg records: Of the record keys: their events are passed over for ever, and so are activities that refer to them.
    :arg identifiers: Of realm and identifier: events that carry one are passed over if they are from before `at`.
    :arg persons: Of the person's ids: feedback that names one is passed over for ever.
    :arg conversations: Of the ids of its conversations: what belongs to one is passed over for ever.
    """

    id: str
    at: int
    records: tuple[str, ...]
    identifiers: tuple[str, ...]
    persons: tuple[str, ...] = ()
    conversations: tuple[str, ...] = ()


class Fingerprints:
    """Tells what is of an erased person.

    :arg secret: Key of the fingerprints, 32 random bytes of this installation.
    """

    def __init__(self, secret: bytes, erased: Iterable[Fingerprint] = ()) -> None:
        self._secret = secret
        self._records: set[str] = set()
        self._persons: set[str] = set()
        self._conversations: set[str] = set()
        self._identifiers: dict[str, int] = {}
        for one in erased:
            self.add(one)

    def __bool__(self) -> bool:
        return bool(self._records or self._identifiers or self._conversations)

    def add(self, erased: Fingerprint) -> None:
        """Take in one more erasure."""
        self._records.update(erased.records)
        self._persons.update(erased.persons)
        self._conversations.update(erased.conversations)
        for identifier in erased.identifiers:
            self._identifiers[identifier] = max(erased.at, self._identifiers.get(identifier, erased.at))

    def of(self, erasure: Erasure) -> Fingerprint:
        """Return what is to stay of `erasure`."""
        return Fingerprint(
            erasure.id,
            erasure.at,
            self._marks(erasure.records),
            self._marks(f"{erasure.realm}\0{identifier}" for identifier in erasure.identifiers),
            self._marks(f"{_PERSON}{id_}" for id_ in ids_of(erasure)),
            self._marks(f"{_CONVERSATION}{id_}" for id_ in erasure.conversations),
        )

    def has_record(self, record: str) -> bool:
        """Tell whether a record has been erased."""
        return bool(self._records) and self._mark(record) in self._records

    def has_identifier(self, realm: str, identifier: str, event_time: int) -> bool:
        """Tell whether an event from `event_time` (ms since epoch) carries what an erased person carried."""
        if not self._identifiers:
            return False
        at = self._identifiers.get(self._mark(f"{realm}\0{identifier}"))
        return at is not None and event_time <= at

    def has_person(self, id_: str) -> bool:
        """Tell whether this is an id of an erased person."""
        return bool(self._persons) and self._mark(f"{_PERSON}{id_}") in self._persons

    def has_conversation(self, id_: str) -> bool:
        """Tell whether a conversation was an erased person's."""
        return bool(self._conversations) and self._mark(f"{_CONVERSATION}{id_}") in self._conversations

    def _marks(self, texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted({self._mark(text) for text in texts}))

    def _mark(self, text: str) -> str:
        return hashlib.blake2b(text.encode(errors="surrogatepass"), key=self._secret, digest_size=16).hexdigest()


def ids_of(erasure: Erasure) -> set[str]:
    """Return all ids that the person has, or may have had: each of its records could have given it one."""
    return {erasure.person, *(person_id(erasure.realm, record) for record in erasure.records)}
