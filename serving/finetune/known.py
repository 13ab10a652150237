"""What is known to name the persons of a conversation: their ids there, and what the profile store has of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from events.persons import type_of
from events.profiles import Profile
from serving.finetune.scrub import Known
from stores.profiles.base import ProfileReader

_SHORTEST_ID = 6
"""Characters of the shortest identifier that is taken out: shorter ones stand for other things too often."""
_SHORTEST_NAME = 3
_MOST_HOLDERS = 100
_NAME = "name"
_TITLES_TEXT = """
    mr mrs ms miss mister sir madam dr doctor prof professor herr frau fräulein senhor senhora dona señor señora don
    doña monsieur madame mademoiselle mme mlle signor signora signore dhr mevr mevrouw meneer heer jr sr
"""
_TITLES = frozenset(_TITLES_TEXT.split())
"""They name nobody by themselves."""


class KnownPersons:
    """Asks the profile store, once for each id.

    :arg reader: None where there is no profile store: then only the ids themselves are known.
    :arg realms: Where identifiers are looked for.
    :arg types: Types of identifiers that there are.
    :arg fields: Fields of profiles whose values name somebody.
    """

    def __init__(
        self, reader: ProfileReader | None, realms: Sequence[str], types: Iterable[str], fields: Iterable[str]
    ) -> None:
        self._reader = reader
        self._realms = tuple(realms)
        self._types = frozenset(types)
        self._fields = tuple(fields)
        self._persons: dict[str, tuple[str, ...]] = {}

    def persons_of(self, id_: str) -> tuple[str, ...]:
        """Return whom an id of a conversation leads to in the profile store; several if it does not say which realm."""
        if self._reader is None:
            return ()
        if id_ not in self._persons:
            member = self._reader.member(id_)
            person = member.person if member is not None else self._reader.person_of(id_)
            self._persons[id_] = (person,) if person else self._holders(self._reader, id_)
        return self._persons[id_]

    def of(self, persons: Iterable[str]) -> list[Known]:
        """Return what names these persons."""
        found: list[Known] = []
        for id_ in persons:
            found += _identifier(id_, self._types)
            for person in self.persons_of(id_):
                profile = None if self._reader is None else self._reader.profile(person)
                found += [] if profile is None else self._told(profile)
        names = {one.text.casefold() for one in found if one.kind == "NAME"}
        return [one for one in found if one.kind == "NAME" or one.text.casefold() not in names]

    def _holders(self, reader: ProfileReader, id_: str) -> tuple[str, ...]:
        if type_of(id_) not in self._types or ":" not in id_:
            return ()
        found: set[str] = set()
        for realm in self._realms:
            held = {member.person for member in reader.holders(realm, id_, _MOST_HOLDERS)}
            # What several persons of one realm carry, such as the number of a company, says nothing of who it is.
            found |= held if len(held) == 1 else set()
        return tuple(sorted(found))

    def _told(self, profile: Profile) -> Iterator[Known]:
        for identifiers in profile.identifiers.values():
            for identifier in identifiers:
                for part in identifier.split("|"):
                    yield from _identifier(part, frozenset())
        for name in self._fields:
            field = profile.fields.get(name)
            values = [] if field is None else [field.value, *(other.value for other in field.others)]
            for value in values:
                for text in value if isinstance(value, list) else [value]:
                    if isinstance(text, str):
                        yield from _name(text, profile.person) if _NAME in name else _identifier(text, frozenset())


def _identifier(text: str, types: frozenset[str]) -> Iterator[Known]:
    if type_of(text) in types:
        text = text.partition(":")[2]
    if len(text) >= _SHORTEST_ID:
        yield Known("ID", text, text.casefold())


def _name(text: str, person: str) -> Iterator[Known]:
    words = [word for word in re.split(r"[\s,;]+", text) if word.strip(".").casefold() not in _TITLES | {""}]
    for one in {" ".join(words), " ".join(words[::-1]), ", ".join(words[::-1]), *words}:
        if len(one) >= _SHORTEST_NAME:
            yield Known("NAME", one, person)
