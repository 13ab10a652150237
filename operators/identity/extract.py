"""What a change of a row says of who it is: identifiers found by the rules of its table.

A function of the change and the rules alone, so that it may run anywhere, in any order, and again. A bad value costs
its own identifier, never the change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import chain

import msgspec

from events.changes import Change, Row
from events.errors import RejectedError, SettingsError
from events.persons import Links
from operators.identity import phones
from operators.identity.moments import moment
from operators.identity.normalise import VERSION, Normalise, normaliser
from operators.identity.reading import SEPARATOR, Part, Reader, Refused, joined
from operators.identity.rules import Columns, IdentifierRule, IdentityRules, Normaliser, RecordRules
from operators.identity.texts import BLOCKED, Normalised, Refusal

_SHOWN = 200


class Carried(msgspec.Struct, frozen=True):
    """An identifier and the columns that it comes from."""

    identifier: str
    columns: Columns


class Found(msgspec.Struct, frozen=True):
    """What a row carries and what it does not, rule by rule."""

    identifiers: tuple[Carried, ...]
    refused: tuple[Refused, ...]


class Extractor:
    """Finds identifiers in rows.

    :arg tables: The tables whose rows carry identifiers, by name in the settings.
    :raises SettingsError: When the rules name a type, a country or a domain that there is not, or block what is no
        identifier anyway.
    """

    def __init__(self, rules: IdentityRules, tables: Mapping[str, RecordRules]) -> None:
        self._rules = rules
        self._types = {type_.type: type_ for type_ in rules.types}
        self._normalisers: dict[tuple[Normaliser, str], Normalise] = {}
        blocked = self._blocked(sorted({table.region for table in tables.values()} | {""}))
        self._blocked_identifiers = blocked
        self._tables = {
            name: _Table(table, tuple(self._reader(table, rule, blocked) for rule in table.identifiers))
            for name, table in tables.items()
        }

    def links(self, change: Change, table: str) -> Links:
        """Return `change` with the identifiers that its row carries.

        :arg table: The table's name in the settings.
        """
        found = self._tables[table]
        row = change.after
        if row is None:
            return Links(change, found.realm, found.nothing)
        gaps = [column for column in change.unavailable if column not in row] if change.unavailable else ()
        identifiers = tuple(
            None if gaps and not reader.columns.isdisjoint(gaps) else reader.read(row) for reader in found.readers
        )
        created = moment(row.get(found.created)) if found.created else None
        return Links(change, found.realm, identifiers, created)

    def found(self, table: str, row: Row) -> Found:
        """Tell where the identifiers of a row come from, and why its other values are none.

        Values that are not there at all are told only where a part of an identifier is missing.
        """
        carried: list[Carried] = []
        refused: list[Refused] = []
        for reader in self._tables[table].readers:
            columns = tuple(chain.from_iterable(part.columns for part in reader.parts))
            carried.extend(Carried(identifier, columns) for identifier in reader.read(row, refused))
        return Found(tuple(carried), tuple(refused))

    def identifier(self, type_: str, text: str, region: str = "") -> str:
        """Return the identifier that a person means who writes `text`; parts are separated by `|`.

        :arg region: Country of phone numbers without one.
        :raises RejectedError: When it is none, with the reason; also when it is on the block list.
        """
        made = self._made(type_, text, region)
        if isinstance(made, str) and made in self._blocked_identifiers:
            made = BLOCKED
        if isinstance(made, Refusal):
            message = f"{text[:_SHOWN]!r} is no {type_} that names a person: {made.reason}"
            raise RejectedError(message, "look for the person by another identifier, or correct it")
        return made

    def _made(self, type_: str, text: str, region: str) -> Normalised:
        rules = self._types.get(type_)
        if rules is None:
            message = f"there is no type of identifier {type_!r}"
            raise RejectedError(message, f"the types are: {', '.join(self._types)}")
        texts = text.split(SEPARATOR) if len(rules.parts) > 1 else [text]
        if len(texts) != len(rules.parts):
            return Refusal(f"write its {len(rules.parts)} parts ({', '.join(rules.parts)}) with `|` between them")
        made: list[str] = []
        for part, one in zip(rules.parts, texts, strict=True):
            try:
                normalised = self._normaliser(part, region)(one)
            except SettingsError as error:
                return Refusal(error.detail)
            if isinstance(normalised, Refusal):
                return normalised
            made.append(normalised)
        return joined(rules, made)

    def _blocked(self, regions: list[str]) -> frozenset[str]:
        blocked: set[str] = set()
        for entry in self._rules.block:
            type_, colon, text = entry.partition(":")
            if not colon or type_ not in self._types:
                message = f"profiles.block: {entry!r} begins with no type of identifier"
                raise SettingsError(message, f"write it as TYPE:VALUE; the types are: {', '.join(self._types)}")
            # A number without a country is blocked in every country that tables have.
            made = [self._made(type_, text, region) for region in regions]
            found = {one for one in made if isinstance(one, str)}
            if not found:
                reasons = [one.reason for one in made if isinstance(one, Refusal)]
                message = f"profiles.block: {entry!r} never links anyway: {reasons[-1]}"
                raise SettingsError(message, "remove it or correct it")
            blocked |= found
        return frozenset(blocked)

    def _reader(self, table: RecordRules, rule: IdentifierRule, blocked: frozenset[str]) -> Reader:
        type_ = self._types.get(rule.type)
        if type_ is None or len(type_.parts) != len(rule.columns):
            message = f"the table {table.name!r} does not give columns for all parts of an identifier {rule.type!r}"
            raise SettingsError(message, f"the types are: {', '.join(self._types)}")
        pairs = zip(rule.columns, type_.parts, strict=True)
        return Reader(
            type_, tuple(Part(columns, self._normaliser(part, table.region)) for columns, part in pairs), blocked
        )

    def _normaliser(self, part: Normaliser, region: str) -> Normalise:
        key = (part, region if part == "phone" else "")
        if key not in self._normalisers:
            rules = self._rules
            try:
                self._normalisers[key] = normaliser(
                    part, region=region, email_aliases=rules.email_aliases, email_providers=rules.email_providers
                )
            except ValueError as error:
                raise SettingsError(str(error), "correct it in [profiles]") from None
        return self._normalisers[key]


def rules_digests(rules: IdentityRules, tables: Mapping[str, RecordRules], realm: str) -> dict[str, str]:
    """Return, for each table of a realm, a digest of everything that decides which identifiers its rows carry.

    Limits are not in it: they decide what identifiers link, not which there are. Of the numbering plans of telephones
    the edition counts, not the corrections of every second week: what these change, changes with a row's next event.
    """
    types = {type_.type: type_.parts for type_ in rules.types}
    return {
        name: _digest(rules, table, {rule.type: types.get(rule.type, ()) for rule in table.identifiers})
        for name, table in sorted(tables.items())
        if table.realm == realm
    }


def _digest(rules: IdentityRules, table: RecordRules, types: Mapping[str, tuple[Normaliser, ...]]) -> str:
    parts = set(chain.from_iterable(types.values()))
    said = {
        "version": VERSION,
        "types": sorted(types.items()),
        "block": sorted({entry for entry in rules.block if entry.partition(":")[0].strip() in types}),
        "email": [rules.email_aliases, sorted(rules.email_providers.items())] if "email" in parts else None,
        "phone": [phones.edition(), table.region] if "phone" in parts else None,
        "created": table.created,
        "identifiers": msgspec.to_builtins(table.identifiers),
    }
    return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()


class _Table:
    """A table with its rules made ready."""

    def __init__(self, rules: RecordRules, readers: tuple[Reader, ...]) -> None:
        self.realm = rules.realm
        self.created = rules.created
        self.readers = readers
        self.nothing: tuple[tuple[str, ...] | None, ...] = tuple(() for _ in readers)
