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

_SCALE = 2**64


class People:
    """Notes whom conversations name.

    :arg profile_of: Returns the id of the person that the profile store has for an id; empty if it has none.
    """

    def __init__(self, profile_of: Callable[[str], str] = lambda person: "") -> None:
        self._profile_of = profile_of
        self._above: dict[str, str] = {}
        self._lowest: dict[str, str] = {}
        self._said: dict[str, tuple[datetime, bool]] = {}

    def note(self, row: Mapping[str, Any]) -> None:
        """Take in whom a conversation names, and what was said about consent in it."""
        persons: list[str] = row["persons"]
        for person in persons:
            self._add(person)
            self._unite(persons[0], person)
        for turn in row["turns"]:
            said = turn["consent"]
            for person in [turn["person"]] if turn["person"] else persons:
                if said is not None:
                    # Of two words of one moment the refusal counts.
                    mine = (turn["time"], not said)
                    before = self._said.get(person)
                    if before is None or mine > before:
                        self._said[person] = mine

    def refused(self, row: Mapping[str, Any]) -> bool:
        """Tell whether the last word on consent, of the conversation or of anybody that it names, is no."""
        if row["consent"] is False or any(self._newest_refuses(person) for person in row["persons"]):
            return True
        words = [(turn["time"], not turn["consent"]) for turn in row["turns"] if turn["consent"] is not None]
        return bool(words) and max(words)[1]

    def group(self, conversation: str, persons: tuple[str, ...]) -> str:
        """Return what must stay on one side: the people of a conversation, or the conversation if nobody is known."""
        return f"person/{self._lowest[self._root(persons[0])]}" if persons else f"conversation/{conversation}"

    def _newest_refuses(self, person: str) -> bool:
        return self._refusals().get(self._root(person), (None, False))[1]

    def _refusals(self) -> dict[str, tuple[datetime, bool]]:
        if self._newest is None:
            newest: dict[str, tuple[datetime, bool]] = {}
            for person, said in self._said.items():
                root = self._root(person)
                newest[root] = max(newest.get(root, said), said)
            self._newest = newest
        return self._newest
