"""Rules made of what the settings say. What is read of them is named here, so that no operator needs the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from operators.identity.rules import (
    Columns,
    EmailRule,
    IdentifierRule,
    IdentityRules,
    Normaliser,
    RecordRules,
    TypeRules,
)
from operators.profiles.rules import ActivityRules, FieldRules, ProfileRules, Survivorship


class TypeConfig(Protocol):
    """As `[[profiles.identifiers]]` has it."""

    @property
    def type(self) -> str: ...  # noqa: D102
    @property
    def parts(self) -> tuple[Normaliser, ...]: ...  # noqa: D102
    @property
    def limit(self) -> int: ...  # noqa: D102


class TableConfig(Protocol):
    """As `[[profiles.tables]]` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def table(self) -> str: ...  # noqa: D102
    @property
    def realm(self) -> str: ...  # noqa: D102
    @property
    def identifiers(self) -> Mapping[str, tuple[str | tuple[str, ...], ...]]: ...  # noqa: D102
    @property
    def created(self) -> str: ...  # noqa: D102
    @property
    def region(self) -> str: ...  # noqa: D102
    @property
    def references(self) -> str: ...  # noqa: D102
    @property
    def by(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def time(self) -> str: ...  # noqa: D102
    @property
    def show(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def last(self) -> int: ...  # noqa: D102
    @property
    def open(self) -> dict[str, tuple[str | int | bool, ...]]: ...  # noqa: D102
    @property
    def sums(self) -> tuple[str, ...]: ...  # noqa: D102


class FieldConfig(Protocol):
    """As `[[profiles.fields]]` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def columns(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def rule(self) -> Survivorship: ...  # noqa: D102
    @property
    def priority(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def said_at(self) -> dict[str, str]: ...  # noqa: D102


class ProfilesConfig(Protocol):
    """As `[profiles]` has it."""

    @property
    def tables(self) -> Sequence[TableConfig]: ...  # noqa: D102
    @property
    def identifiers(self) -> Sequence[TypeConfig]: ...  # noqa: D102
    @property
    def fields(self) -> Sequence[FieldConfig]: ...  # noqa: D102
    @property
    def person_limit(self) -> int: ...  # noqa: D102
    @property
    def region(self) -> str: ...  # noqa: D102
    @property
    def block(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def email_aliases(self) -> bool: ...  # noqa: D102
    @property
    def email_providers(self) -> dict[str, EmailRule]: ...  # noqa: D102


def identity_rules(profiles: ProfilesConfig) -> IdentityRules:
    """Return what decides which records are of one person."""
    return IdentityRules(
        types=tuple(TypeRules(one.type, one.parts, one.limit) for one in profiles.identifiers),
        person_limit=profiles.person_limit,
        block=profiles.block,
        email_aliases=profiles.email_aliases,
        email_providers=profiles.email_providers,
    )


def record_rules(profiles: ProfilesConfig) -> dict[str, RecordRules]:
    """Return, by name in the settings, where rows carry identifiers."""
    return {
        table.name: RecordRules(
            name=table.name,
            realm=table.realm,
            identifiers=tuple(
                IdentifierRule(type_, _parts(one)) for type_, columns in table.identifiers.items() for one in columns
            ),
            created=table.created,
            region=table.region or profiles.region,
        )
        for table in profiles.tables
        if table.identifiers
    }


def profile_rules(profiles: ProfilesConfig) -> ProfileRules:
    """Return how profiles are merged."""
    tables = {table.name: table for table in profiles.tables}
    activities: dict[str, ActivityRules] = {}
    for table in profiles.tables:
        if table.references:
            other = tables[table.references]
            activities[table.name] = ActivityRules(
                name=table.name,
                references=(other.source, other.table),
                by=table.by,
                time=table.time,
                show=table.show,
                last=table.last,
                open=table.open,
                sums=table.sums,
            )
    fields = tuple(
        FieldRules(
            name=field.name,
            columns={name: _columns(text) for name, text in field.columns.items()},
            rule=field.rule,
            priority=field.priority,
            said_at=field.said_at,
        )
        for field in profiles.fields
    )
    return ProfileRules(fields, activities)


def _parts(columns: str | tuple[str, ...]) -> tuple[Columns, ...]:
    return tuple(_columns(text) for text in ((columns,) if isinstance(columns, str) else columns))


def _columns(text: str) -> Columns:
    return tuple(part.strip() for part in text.split("+"))
