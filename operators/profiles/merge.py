"""The profile of a person: its records, rows and activities as one view, the same whatever order they come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from events.persons import Member, person_id
from events.profiles import Collection, Profile, RecordRow
from operators.profiles.collect import Summary, combined
from operators.profiles.fields import field_of, plain_fields
from operators.profiles.rules import ProfileRules


def profile_of(
    rules: ProfileRules,
    members: Sequence[Member],
    rows: Sequence[RecordRow],
    summaries: Mapping[str, Sequence[Summary]],
) -> Profile:
    """Return the profile of one person.

    :arg members: All its members, earliest first; at least one.
    :arg rows: Their rows, as far as there are any.
    :arg summaries: By activity table, those of the members that have any.
    """
    first = members[0]
    if rules.fields:
        found = ((field.name, field_of(field, rows)) for field in rules.fields)
        fields = {name: field for name, field in found if field is not None}
    else:
        fields = plain_fields(rows)
    return Profile(
        person=first.person,
        realm=first.realm,
        since=first.since,
        aliases=tuple(person_id(member.realm, member.record) for member in members[1:]),
        records=tuple(member.record for member in members),
        identifiers=_identifiers(members),
        fields=fields,
        collections=_collections(rules, summaries),
        held=tuple(dict.fromkeys(type_ for member in members for type_ in member.held)),
    )


def _identifiers(members: Sequence[Member]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for member in members:
        for identifier in member.identifiers:
            type_, _, value = identifier.partition(":")
            found.setdefault(type_, set()).add(value)
    return {type_: tuple(sorted(found[type_])) for type_ in sorted(found)}


def _collections(rules: ProfileRules, summaries: Mapping[str, Sequence[Summary]]) -> dict[str, Collection]:
    """Return the collections in the order of the rules; tables of which the person has nothing are left out."""
    return {
        name: combined(activity, found) for name, activity in rules.activities.items() if (found := summaries.get(name))
    }
