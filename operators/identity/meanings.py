"""What a text may mean by which an application names a person: every identifier that it is when it is normalised.

The same for the same text, whoever asks: by it the events of a person are found, and turned away once it is erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from events.errors import RejectedError
from operators.identity.extract import Extractor
from operators.identity.rules import IdentityRules, Normaliser, RecordRules

SHORTEST = 6
"""Characters of the shortest code that names somebody without its type: shorter ones stand for other things too."""

_MOST = 10_000
_BARE: frozenset[Normaliser] = frozenset({"phone", "code", "document"})


class Meanings:
    """Reads texts as identifiers.

    :arg tables: The tables whose rows carry identifiers, by name in the settings: they have the realms and regions.
    :arg region: Country of phone numbers without one, where no table has another.
    """

    def __init__(
        self, extractor: Extractor, rules: IdentityRules, tables: Mapping[str, RecordRules], region: str = ""
    ) -> None:
        self._extractor = extractor
        self._types = {one.type: one.parts for one in rules.types}
        self._regions: dict[str, dict[str, None]] = {}
        for table in tables.values():
            self._regions.setdefault(table.realm, {region: None})[table.region] = None
        self._known: dict[str, tuple[tuple[str, str], ...]] = {}

    def of(self, text: str) -> tuple[tuple[str, str], ...]:
        """Return realm and identifier of all that a text may mean; nothing for one that is none.

        An address is one wherever it stands; `TYPE:VALUE` is of that type; else it may be a number or code of any.
        """
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            found = self._known[text] = tuple(dict.fromkeys(self._read(text)))
        return found

    def _read(self, text: str) -> Iterable[tuple[str, str]]:
        types, value = self._typed(text)
        for type_ in types:
            for realm, regions in self._regions.items():
                for region in regions:
                    try:
                        yield realm, self._extractor.identifier(type_, value, region)
                    except RejectedError:
                        continue

    def _typed(self, text: str) -> tuple[list[str], str]:
        type_, colon, value = text.partition(":")
        if colon and type_ in self._types:
            return [type_], value
        kinds: frozenset[Normaliser] = frozenset({"email"}) if "@" in text else _BARE
        if "@" not in text and len(text.strip()) < SHORTEST:
            return [], text
        return [name for name, parts in self._types.items() if len(parts) == 1 and parts[0] in kinds], text
