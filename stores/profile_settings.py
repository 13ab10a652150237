"""Settings of the profiles flow: which rows carry identifiers, which refer to them, what becomes of their fields."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from stores.sections import ChangesSettings, ChangeTableSettings, Section, checked_name, checked_table, refuse_twins

Normaliser = Literal["email", "phone", "code", "document", "name", "date", "postcode"]
Rule = Literal["newest", "priority", "frequent", "longest", "union", "consent", "strictest"]

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,31}")


class IdentifierSettings(Section):
    """`[[profiles.identifiers]]`: one type of identifier. The order of the types is that of their strength."""

    type: str = Field(description="its name, such as `email`: lower-case letters, digits and underscores")
    parts: tuple[Normaliser, ...] = Field(
        min_length=1, max_length=8, description="how its values are normalised; several: all of them together name one"
    )
    limit: int = Field(10, ge=1, le=10_000, description="more records than this that share one do not belong together")

    @field_validator("type")
    @classmethod
    def _named(cls, value: str) -> str:
        if not _TYPE.fullmatch(value):
            message = f"{value!r} cannot name a type of identifier; use lower-case letters, digits and '_'"
            raise ValueError(message)
        return value


IDENTIFIERS = (
    IdentifierSettings(type="loyalty", parts=("code",), limit=10),
    IdentifierSettings(type="document", parts=("document",), limit=10),
    IdentifierSettings(type="email", parts=("email",), limit=10),
    IdentifierSettings(type="phone", parts=("phone",), limit=10),
    IdentifierSettings(type="device", parts=("code",), limit=20),
    IdentifierSettings(type="born", parts=("name", "date", "postcode"), limit=5),
)


class ProfileTableSettings(ChangeTableSettings):
    """`[[profiles.tables]]`: one table whose rows are of persons.

    With `identifiers` its rows carry identifiers. With `references` they are activities, such as bookings: each
    belongs to the record of another table that it refers to.
    """

    realm: str = Field("default", description="tenant, brand or region: identifiers link within one realm only")
    identifiers: dict[str, tuple[str | tuple[str, ...], ...]] = Field(
        {},
        description="by type of identifier, its columns: `a+b` for two that make one value, a list for its parts",
    )
    created: str = Field("", description="column that holds when the row was made; default: its oldest event")
    region: str = Field(
        "", description="country of phone numbers without one, such as `PT`; default: that of [profiles]"
    )
    references: str = Field("", description="name here of the table whose rows these refer to")
    by: dict[str, str] = Field({}, description="column of the reference to column of the other table's primary key")
    time: str = Field("", description="column that holds when it happened; default: the time of the change")
    show: tuple[str, ...] = Field((), description="columns that a profile shows of it; default: all")
    last: int = Field(5, ge=0, le=100, description="how many of the newest a profile shows")
    open: dict[str, tuple[str | int | bool, ...]] = Field(
        {}, description="column to the values that it has while the activity is open"
    )
    sums: tuple[str, ...] = Field((), description="columns that are summed up")

    @field_validator("realm")
    @classmethod
    def _realm_named(cls, value: str) -> str:
        return checked_name(value)

    @model_validator(mode="after")
    def _has_one_role(self) -> ProfileTableSettings:
        if bool(self.identifiers) == bool(self.references):
            message = f"the table {self.name!r} needs either `identifiers` or `references`"
            raise ValueError(message)
        idle = sorted(self.model_fields_set & (_OF_IDENTIFIERS if self.references else _OF_REFERENCES))
        if idle:
            role = "references" if self.references else "identifiers"
            message = f"the table {self.name!r}: `{idle[0]}` has no effect beside `{role}`; leave it out"
            raise ValueError(message)
        if bool(self.references) != bool(self.by):
            message = f"the table {self.name!r}: `references` names a table, `by` the columns that refer to it"
            raise ValueError(message)
        return self


_OF_IDENTIFIERS = {"created", "region"}
_OF_REFERENCES = {"by", "time", "show", "last", "open", "sums"}


class FieldSettings(Section):
    """`[[profiles.fields]]`: one field of a profile."""

    name: str = Field(description="its name: lower-case letters, digits and underscores")
    columns: dict[str, str] = Field(description="table (its name here) to column; `a+b` joins two by a blank")
    rule: Rule = Field("newest", description="which of several values survives")
    priority: tuple[str, ...] = Field((), description="tables, the most trusted first, for the rule `priority`")
    said_at: dict[str, str] = Field(
        {}, description="table to the column that holds when the value was given; default: the time of the change"
    )

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        return checked_table(value)

    @model_validator(mode="after")
    def _has_priority(self) -> FieldSettings:
        if (self.rule == "priority") != bool(self.priority):
            message = f"the field {self.name!r}: the rule `priority` and the tables in `priority` need each other"
            raise ValueError(message)
        return self


class ProfilesSettings(ChangesSettings):
    """`[profiles]`: the profiles flow; `[[profiles.streams]]` say where changes come from."""

    tables: tuple[ProfileTableSettings, ...] = Field((), description="`[[profiles.tables]]`: rows of persons")
    identifiers: tuple[IdentifierSettings, ...] = Field(
        IDENTIFIERS, description="`[[profiles.identifiers]]`: types of identifiers, the strongest first"
    )
    fields: tuple[FieldSettings, ...] = Field(
        (), description="`[[profiles.fields]]`: fields of a profile; default: every column, the newest value"
    )
    person_limit: int = Field(50, ge=1, le=10_000, description="more records than this are not one person")
    region: str = Field(
        "", description="country of phone numbers without one, such as `PT`; default: they do not count"
    )
    block: tuple[str, ...] = Field((), description="values that never link, such as `email:info@example.org`")
    email_aliases: bool = Field(True, description="take the ways of writing one address at known providers for one")
    email_providers: dict[str, Literal["none", "plus", "minus", "plus-dots"]] = Field(
        {}, description="domain to what it ignores in an address, beside the known providers"
    )

    @model_validator(mode="after")
    def _distinct(self) -> ProfilesSettings:
        refuse_twins(self.streams, self.tables, "tables")
        types = {identifier.type: len(identifier.parts) for identifier in self.identifiers}
        if len(types) < len(self.identifiers):
            message = "two types of identifiers have one name; give each its own"
            raise ValueError(message)
        tables = {table.name: table for table in self.tables}
        for table in self.tables:
            _check_identifiers(table, types)
            _check_reference(table, tables)
        for field in self.fields:
            for name in (*field.columns, *field.priority, *field.said_at):
                if name not in tables or tables[name].references:
                    message = f"the field {field.name!r} names {name!r}, which is no table with identifiers"
                    raise ValueError(message)
        names = [field.name for field in self.fields]
        if len(set(names)) < len(names):
            message = "two fields have one name; give each its own"
            raise ValueError(message)
        return self

    @property
    def realms(self) -> tuple[str, ...]:
        """All realms, in the order of their names."""
        return tuple(sorted({table.realm for table in self.tables}))


def _check_identifiers(table: ProfileTableSettings, types: dict[str, int]) -> None:
    for type_, columns in table.identifiers.items():
        if type_ not in types:
            message = f"the table {table.name!r} names the type {type_!r}; there are: {', '.join(types)}"
            raise ValueError(message)
        for column in columns:
            parts = 1 if isinstance(column, str) else len(column)
            if parts != types[type_]:
                message = f"the table {table.name!r}: an identifier {type_!r} has {types[type_]} parts, not {parts}"
                raise ValueError(message)


def _check_reference(table: ProfileTableSettings, tables: dict[str, ProfileTableSettings]) -> None:
    if not table.references:
        return
    other = tables.get(table.references)
    if other is None or other.references:
        message = f"the table {table.name!r} refers to {table.references!r}, which is no table with identifiers"
        raise ValueError(message)
    if other.realm != table.realm:
        message = f"the table {table.name!r} refers to {table.references!r} of another realm"
        raise ValueError(message)
