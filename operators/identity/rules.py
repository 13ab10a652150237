"""What resolving needs to know: which columns carry which identifiers, and when identifiers do not link."""

from __future__ import annotations

from typing import Literal

import msgspec

Normaliser = Literal["email", "phone", "code", "document", "name", "date", "postcode"]
EmailRule = Literal["none", "plus", "minus", "plus-dots"]
"""What a provider ignores in the local part: nothing; from `+` or from `-` on; from `+` on and all dots."""

Columns = tuple[str, ...]
"""Columns whose texts, joined by a blank, are one value, such as first and last name."""


class TypeRules(msgspec.Struct, frozen=True):
    """One type of identifier.

    :arg parts: Normalisers of its value; of several, all must find something, and together they are the identifier.
    :arg limit: Carried by more records than this, an identifier does not link them.
    """

    type: str
    parts: tuple[Normaliser, ...]
    limit: int


class IdentifierRule(msgspec.Struct, frozen=True):
    """Where rows of a table carry an identifier.

    :arg columns: For each part of the type its columns.
    """

    type: str
    columns: tuple[Columns, ...]


class RecordRules(msgspec.Struct, frozen=True):
    """A table whose rows carry identifiers.

    :arg name: Its name in the settings.
    :arg created: Column that holds when the row was made; empty: none does.
    :arg region: Country of phone numbers without one, as ISO 3166 has it; empty: such numbers do not count.
    """

    name: str
    realm: str
    identifiers: tuple[IdentifierRule, ...]
    created: str = ""
    region: str = ""


class IdentityRules(msgspec.Struct, frozen=True):
    """All that decides which records are of one person.

    :arg types: The strongest first: where a person would be too large, links by the last ones are held back first.
    :arg person_limit: More records than this are not one person.
    :arg block: Identifiers that never link, as the user wrote them: `type:value`, to be normalised as any other.
    :arg email_aliases: Whether addresses are folded as their providers do; those of `email_providers` always are.
    :arg email_providers: For domain, what it ignores in an address.
    """

    types: tuple[TypeRules, ...]
    person_limit: int = 50
    block: tuple[str, ...] = ()
    email_aliases: bool = True
    email_providers: dict[str, EmailRule] = {}
