"""Profiles and what is said of them as plain data for other programs: times in ISO 8601, ages in milliseconds.

Every value says where it is from: source, table, record, position, as of when, and how old that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from events.clock import to_iso
from events.profiles import Activity, Collection, Field, Value
from serving.explain import Carried, Explanation
from serving.profiles import Found, Suspects
from serving.ties import Tie, held_among

NameOf = Callable[[str], tuple[str, str, str]]
"""Returns of a record key the table's name in the settings, the key in short, and the source."""


def document(found: Found, name_of: NameOf) -> dict[str, Any]:
    """Return the whole profile."""
    profile, now = found.profile, found.at
    return {
        "person": profile.person,
        "realm": profile.realm,
        "since": to_iso(profile.since),
        "aliases": profile.aliases,
        "age_ms": found.age,
        "held": held_among(profile.held, profile.identifiers),
        "ties": _ties(found.ties),
        "fields": {name: _field(field, now, name_of) for name, field in profile.fields.items()},
        "collections": {name: _collection(one, now, name_of) for name, one in profile.collections.items()},
        "identifiers": profile.identifiers,
        "records": [{"record": key, **_origin(key, name_of)} for key in profile.records],
    }


def explained(explanation: Explanation, now: int, name_of: NameOf) -> dict[str, Any]:
    """Return why two things are of one person, or what keeps them apart."""
    return {
        "a": explanation.a._asdict(),
        "b": explanation.b._asdict(),
        "together": explanation.together,
        "persons": explanation.persons,
        "path": [_carried(step, now, name_of) for step in explanation.path],
        "reasons": [
            {
                "kind": reason.kind,
                "said": reason.said,
                "identifier": reason.identifier or None,
                "carried": [_carried(one, now, name_of) for one in reason.carried],
            }
            for reason in explanation.reasons
        ],
    }


def suspected(suspects: Suspects) -> dict[str, Any]:
    """Return what may be wrong with identifiers."""
    return {
        "shared": [
            {"identifier": one.identifier, "realm": one.realm, "records": one.records, "limit": one.limit}
            for one in suspects.shared
        ],
        "shared_count": suspects.shared_count,
        "held": [
            {
                "person": one.person,
                "realm": one.realm,
                "records": one.records,
                "held": one.held,
                "ties": _ties(one.ties),
            }
            for one in suspects.held
        ],
        "person_limit": suspects.person_limit,
    }


def _ties(ties: Iterable[Tie]) -> list[dict[str, Any]]:
    return [{"identifier": tie.identifier, "records": tie.records} for tie in ties]


def _origin(record: str, name_of: NameOf) -> dict[str, Any]:
    table, key, source = name_of(record)
    return {"source": source, "table": table, "key": key}


def _field(field: Field, now: int, name_of: NameOf) -> dict[str, Any]:
    return {
        "value": field.value,
        "of": [_value(value, now, name_of) for value in field.of],
        "others": [_value(value, now, name_of) for value in field.others],
    }


def _value(value: Value, now: int, name_of: NameOf) -> dict[str, Any]:
    return {
        "value": value.value,
        "record": value.record,
        **_origin(value.record, name_of),
        "position": value.position,
        **_ages(value.as_of, value.applied_at, now),
    }


def _collection(collection: Collection, now: int, name_of: NameOf) -> dict[str, Any]:
    return {
        "count": collection.count,
        "open_count": collection.open_count,
        "sums": collection.sums,
        "first": None if collection.first is None else to_iso(collection.first),
        "latest": None if collection.latest is None else to_iso(collection.latest),
        "open": [_activity(one, now, name_of) for one in collection.open],
        "last": [_activity(one, now, name_of) for one in collection.last],
    }


def _activity(activity: Activity, now: int, name_of: NameOf) -> dict[str, Any]:
    return {
        "row": activity.row,
        "at": to_iso(activity.at),
        "open": activity.open,
        "record": activity.record,
        **_origin(activity.record, name_of),
        "position": activity.position,
        **_ages(activity.as_of, activity.applied_at, now),
    }


def _carried(one: Carried, now: int, name_of: NameOf) -> dict[str, Any]:
    known = one.as_of is not None and one.applied_at is not None
    return {
        "record": one.record,
        **_origin(one.record, name_of),
        "identifier": one.identifier or None,
        "columns": one.columns,
        "text": one.text,
        "position": one.position,
        **(_ages(one.as_of or 0, one.applied_at or 0, now) if known else {}),
    }


def _ages(as_of: int, applied_at: int, now: int) -> dict[str, Any]:
    return {"as_of": to_iso(as_of), "applied_at": to_iso(applied_at), "age_ms": max(0, now - as_of)}
