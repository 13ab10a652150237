"""Who is who in the lake, and who has agreed to be learnt from.

Ids that one conversation names together are of one group, and so are those that the profile store says are one person.
A group is on one side, training or validation, by a keyed hash of its lowest id: more conversations of the same people
change nothing. What somebody said last about consent, in whichever conversation, holds for all of theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

Side: TypeAlias = Literal["train", "validation"]
_Word: TypeAlias = "tuple[datetime, bool]"
"""When something was said about consent, and whether it was no: of two words of one moment the refusal is greater."""

_KEY_BYTES = 16
_SCALE = 2**64


class People:
    """Notes whom conversations name.

    :arg persons_of: Returns whom an id leads to in the profile store: nobody, a person, or several that it may be.
    """

    def __init__(self, persons_of: Callable[[str], tuple[str, ...]] = lambda id_: ()) -> None:
        self._persons_of = persons_of
        self._known: dict[str, tuple[str, ...]] = {}  # by id, what the profile store calls somebody, else the id itself
        self._above: dict[str, str] = {}
        self._lowest: dict[str, str] = {}
        self._words: dict[str, _Word] = {}

    def note(self, row: Mapping[str, Any]) -> None:
        """Take in whom a conversation names, and what was said about consent in it."""
        persons: list[str] = row["persons"]
        for person in persons:
            self._add(person)
            self._unite(persons[0], person)
        for turn in row["turns"]:
            if turn["consent"] is None:
                continue
            word = turn["time"], not turn["consent"]
            for person in [turn["person"]] if turn["person"] else persons:
                known = self._known[person]
                # Of several that it may be, each is taken to have refused, and none to have agreed.
                for one in known if len(known) == 1 or word[1] else (person,):
                    self._words[one] = max(self._words.get(one, word), word)

    def refused(self, row: Mapping[str, Any]) -> bool:
        """Tell whether the last word on consent, of a conversation or of anybody that it names, is no.

        Everything must have been noted before.
        """
        words = [(turn["time"], not turn["consent"]) for turn in row["turns"] if turn["consent"] is not None]
        if words and max(words)[1]:
            return True
        known = {one for person in row["persons"] for one in (person, *self._known[person])}
        newest = [self._words.get(one) for one in known]
        return any(word is not None and word[1] for word in newest)

    def group(self, conversation: str, persons: tuple[str, ...]) -> str:
        """Return what must stay on one side: the people of a conversation, or the conversation if nobody is known."""
        return f"person/{self._lowest[self._root(persons[0])]}" if persons else f"conversation/{conversation}"

    def _add(self, person: str) -> None:
        if person in self._known:
            return
        known = self._persons_of(person)
        self._known[person] = known or (person,)
        self._above[person] = self._lowest[person] = person
        for one in known:
            node = f"\0{one}"  # no id begins so; it is never the lowest of a group
            if node not in self._above:
                self._above[node], self._lowest[node] = node, person
            self._unite(node, person)

    def _unite(self, one: str, other: str) -> None:
        one, other = self._root(one), self._root(other)
        if one != other:
            self._above[other] = one
            self._lowest[one] = min(self._lowest[one], self._lowest[other])

    def _root(self, node: str) -> str:
        while (above := self._above[node]) != node:
            self._above[node] = node = self._above[above]
        return node


def side_of(group: str, salt: str, validation: float) -> Side:
    """Return the side of a group: the same for the same salt, whatever else there is.

    :arg validation: Share of groups for validation.
    """
    key = hashlib.blake2b(salt.encode(), digest_size=_KEY_BYTES).digest()
    drawn = int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8, key=key).digest(), "big")
    return "validation" if drawn < validation * _SCALE else "train"


def salt_digest(salt: str) -> str:
    """Return what tells one salt from another without telling the salt."""
    return hashlib.blake2b(salt.encode(), digest_size=8, person=b"headrace-salt").hexdigest()
