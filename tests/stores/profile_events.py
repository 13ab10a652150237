"""Events of two systems of customers for tests of the profile store, and the intake that they go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from events.changes import Change, Row, Truncation
from events.persons import Cause, Member, PersonEvent, person_id
from operators.profiles.logic import Profiler
from operators.profiles.rules import ActivityRules, FieldRules, ProfileRules
from stores.profile_settings import ProfilesSettings
from stores.profiles.base import ProfileWriter
from stores.profiles.intake import ProfileIntake

NOW = 1_900_000_000_000
PLACES = {
    "people": ("crm", "public.people"),
    "users": ("shop", "users"),
    "bookings": ("shop", "bookings"),
    "tickets": ("desk", "tickets"),
}
"""For each table of the settings its source, and what that calls it."""

RULES = ProfileRules(
    (
        FieldRules("name", {"people": ("name",), "users": ("name",)}),
        FieldRules("city", {"people": ("city",)}, "union"),
        FieldRules("news", {"users": ("news",)}, "consent"),
    ),
    {
        "bookings": ActivityRules(
            "bookings",
            ("", "users"),
            {"user": "id"},
            time="at",
            last=2,
            open={"status": ("open",)},
            sums=("price",),
        ),
        "tickets": ActivityRules("tickets", ("crm", "public.people"), {"person": "id"}, show=("subject",), last=1),
    },
)


def settings(**more: Any) -> ProfilesSettings:
    tables: list[dict[str, Any]] = [
        {"name": "people", "identifiers": {"email": ["email"]}},
        {"name": "users", "identifiers": {"email": ["email"]}},
        {"name": "bookings", "references": "users", "by": {"user": "id"}},
        {"name": "tickets", "references": "people", "by": {"person": "id"}},
    ]
    for table in tables:
        table["source"], table["table"] = PLACES[table["name"]]
    return ProfilesSettings.model_validate({"streams": [{"name": "changes"}], "tables": tables, **more})


def key_of(number: int) -> str:
    return f'{{"id":{number}}}'


def record(table: str, number: int) -> str:
    source, name = PLACES[table]
    return f"{source}/{name}/{key_of(number)}"


def change(
    table: str,
    number: int,
    at: int,
    after: Row | None = None,
    *,
    silent: Sequence[str] = (),
    time: int | None = None,
    gone: bool = False,
) -> Change:
    """Return an event at position `at`, which is also its time; `silent` are columns whose value it does not say."""
    source, name = PLACES[table]
    return Change(
        source,
        name,
        key_of(number),
        "delete" if gone else "update",
        None,
        None if gone else {"id": number, **(after or {})},
        at if time is None else time,
        (0, at),
        unavailable=tuple(silent),
        stream="changes",
        offset=at,
    )


def gone(table: str, number: int, at: int) -> Change:
    return change(table, number, at, gone=True)


def truncation(table: str, at: int) -> Truncation:
    source, name = PLACES[table]
    return Truncation(source, name, at, (0, at), stream="changes", offset=at)


def booking(number: int, at: int, user: int | None, price: str = "1", status: str = "done", **more: Any) -> Change:
    """Return an event of a booking that happened `number` seconds after the beginning of time."""
    moment = f"1970-01-01T00:{number // 60:02}:{number % 60:02}Z"
    return change("bookings", number, at, {"user": user, "price": price, "status": status, "at": moment}, **more)


def member(table: str, number: int, person: str, *identifiers: str, since: int = 0) -> Member:
    return Member(record(table, number), "default", person, tuple(identifiers), since or number)


def own(table: str, number: int) -> str:
    return person_id("default", record(table, number))


def person_event(kind: Any, person: str, *others: str, of: str = "crm/public.people/{}") -> PersonEvent:
    return PersonEvent("e1", kind, "default", person, others, Cause(of, "update", "changes", 0, 1, 1))


def intake(
    writer: ProfileWriter,
    profiles: ProfilesSettings | None = None,
    *,
    report: Callable[[PersonEvent], object] = lambda event: None,
    is_erased: Callable[[str, str | None], bool] = lambda record, owner: False,
    clock: Callable[[], int] = lambda: NOW,
    rules: ProfileRules = RULES,
) -> ProfileIntake:
    """Return an intake into `writer`; whoever opens it closes it."""
    return ProfileIntake(writer, profiles or settings(), clock, Profiler(rules), report, is_erased)
