"""What people type to name a person or a record: read as one thing exactly, or refused with what can be written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from events.errors import HeadraceError, RejectedError
from operators.changes.keys import canonical_key
from stores.profile_settings import ProfilesSettings, ProfileTableSettings
from stores.profiles.record_keys import RecordKeys, record_of

_PERSON = re.compile(r"p[a-z2-7]{16}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_BARE = frozenset({"email", "phone", "code", "document"})
"""What people write without saying what it is: a value of these names somebody by itself."""


class Lookup(msgspec.Struct, frozen=True):
    """What is looked for.

    :arg text: As it was typed; of an identifier only its value.
    :arg types: Types of the identifier that it may be; empty for a record or a person.
    :arg realm: Only there; empty: in all realms.
    :arg bare: Whether nothing was typed but the value, so that it may be of any of the types.
    """

    kind: Literal["identifier", "record", "person"]
    text: str
    types: tuple[str, ...] = ()
    realm: str = ""
    bare: bool = False


class RecordName(NamedTuple):
    """A record: its table in the settings, its source, and its primary key as canonical JSON."""

    table: ProfileTableSettings
    source: str
    key: str

    @property
    def record(self) -> str:
        """The record key."""
        return record_of(self.table, (self.source, self.key))


class ShortName(NamedTuple):
    """A record by its table's name in the settings, perhaps its source, and the value of its only key column."""

    table: ProfileTableSettings
    source: str
    value: str


def by_normaliser(normaliser: str, text: str, profiles: ProfilesSettings, realm: str = "") -> Lookup:
    """Return the look-up by identifiers whose value is one `email`, one `phone`, and so on.

    :raises HeadraceError: When no type of the settings is so.
    """
    types = tuple(one.type for one in profiles.identifiers if one.parts == (normaliser,))
    if normaliser in types:
        types = (normaliser,)
    if not types:
        detail = f"no type of identifier is made of one {normaliser}"
        raise HeadraceError(detail, f"use --identifier TYPE:VALUE; types: {_types(profiles)}")
    return Lookup("identifier", text, types, realm)


def by_type(type_: str, text: str, profiles: ProfilesSettings, realm: str = "") -> Lookup:
    """Return the look-up by an identifier of one type.

    :raises HeadraceError: When there is no such type.
    """
    if type_ not in {one.type for one in profiles.identifiers}:
        detail = f"there is no type of identifier {type_!r}"
        raise HeadraceError(detail, f"there are: {_types(profiles)}")
    return Lookup("identifier", text, (type_,), realm)


def by_identifier(text: str, profiles: ProfilesSettings, realm: str = "") -> Lookup:
    """Return the look-up by `TYPE:VALUE`.

    :raises HeadraceError: When it is not written so.
    """
    type_, colon, value = text.partition(":")
    if not colon:
        detail = f"{text!r} is not an identifier"
        raise HeadraceError(detail, f"write TYPE:VALUE; types: {_types(profiles)}")
    return by_type(type_, value, profiles, realm)


def anything(text: str, profiles: ProfilesSettings, realm: str = "") -> Lookup:
    """Return the look-up by a person's id or alias, `TYPE:VALUE`, a record, or an address or number of whatever type.

    What has an `@` is an address and nothing else; what has a `/` and a letter is a record.

    :raises HeadraceError: When it is none of these.
    """
    text = text.strip()
    if _PERSON.fullmatch(text):
        return Lookup("person", text, (), realm)
    type_, colon, value = text.partition(":")
    if colon and type_ in {one.type for one in profiles.identifiers}:
        return Lookup("identifier", value, (type_,), realm)
    # Numbers of telephones are written with a `/` as well.
    if "/" in text and any(map(str.isalpha, text)):
        return Lookup("record", text, (), realm)
    if "@" in text:
        return by_normaliser("email", text, profiles, realm)
    types = tuple(one.type for one in profiles.identifiers if len(one.parts) == 1 and one.parts[0] in _BARE)
    if types and text:
        return Lookup("identifier", text, types, realm, bare=True)
    detail = f"{text!r} is no person's id, identifier or record"
    raise HeadraceError(detail, f"write a person's id, {other_names(profiles)}")


def other_names(profiles: ProfilesSettings) -> str:
    """Say how else a person or a record can be named."""
    return f"TYPE:VALUE (types: {_types(profiles)}), SOURCE/TABLE/KEY or NAME/KEY"


def as_typed(lookup: Lookup) -> str:
    """Write a look-up as the user would."""
    plain = lookup.bare or lookup.kind != "identifier"
    return repr(lookup.text) if plain else f"{' or '.join(lookup.types)} {lookup.text!r}"


def record_name(text: str, keys: RecordKeys, tables: Sequence[ProfileTableSettings]) -> RecordName | ShortName:
    """Read a record's key, `SOURCE/TABLE/KEY`, or its short name, `NAME/KEY` with the table's name in the settings.

    :raises RejectedError: When it is neither, or names a table that is not in the settings.
    """
    found = keys.find(text)
    if found is not None:
        table, (source, key) = found
        return RecordName(table, source, _canonical(key))
    named = {table.name: table for table in tables}
    name, _, value = text.partition("/")
    if name in named and value:
        return ShortName(named[name], named[name].source, value)
    source, _, rest = text.partition("/")
    of, _, value = rest.rpartition("/")
    settings = keys.table(source, of) if value else None
    if settings is None:
        detail = f"{text!r} is not a record of a table of [[profiles.tables]]"
        hint = f"write SOURCE/TABLE/KEY, with the key as JSON, or NAME/KEY; names: {', '.join(sorted(named)) or 'none'}"
        raise RejectedError(detail, hint)
    return ShortName(settings, source, value)


def short_key(key: str) -> str:
    """Return the values of a primary key alone, for people."""
    try:
        columns = _decode(key.encode())
    except msgspec.DecodeError:
        return key
    return ", ".join(str(value) for value in columns.values()) if isinstance(columns, dict) else key


def short_record(record: str, name: tuple[str, str, str]) -> str:
    """Write a record for people.

    :arg name: The table's name in the settings, the key in short, and the source; this one is empty if all that is
        known of the record is its key.
    """
    table, key, source = name
    return f"{table} {key} ({source})" if source else record


def keys_of(column: str, value: str) -> list[str]:
    """Return the canonical keys that a value of a key column can mean, as a text and as a number."""
    keys = [canonical_key({column: value})]
    if _NUMBER.fullmatch(value):
        keys.insert(0, canonical_key({column: Decimal(value)}))
    return keys


def whole_key(value: str) -> str | None:
    """Return the canonical key if the value is one written as JSON with its columns' names, else None."""
    return _canonical(value) if value.startswith("{") else None


def _canonical(key: str) -> str:
    try:
        columns = _decode(key.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        columns = None
    if not isinstance(columns, dict):
        detail = f"the key {key!r} is not a JSON object"
        raise RejectedError(detail, 'write it as in SOURCE/TABLE/{"id":4711}')
    return canonical_key(columns)


def _decode(text: bytes) -> object:
    return msgspec.json.Decoder(float_hook=Decimal).decode(text)


def _types(profiles: ProfilesSettings) -> str:
    return ", ".join(one.type for one in profiles.identifiers)


def listed(names: Sequence[str], most: int = 10) -> str:
    """Write names with commas between, of very many the first ones only."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
