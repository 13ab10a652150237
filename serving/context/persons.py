"""The person that a question is asked for as pieces of a context: the profile, and each open activity.

Only fields that may be shown are told, and nothing of what the person's records carry beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from events.profiles import Activity, Collection, Field, Profile, Value
from serving.context import wording
from serving.context.candidate import Candidate
from serving.context.lookups import BY_PROFILE
from serving.profile_document import NameOf
from stores.settings import Settings

SCORE = 0.95
"""Of the profile: only what the question names itself is more useful than who asks."""

STEP = 0.01
"""By so much each further open activity is less useful than the one before."""

_NAME = "name"
_NOBODY = "customer"


def tell(profile: Profile, settings: Settings, name_of: NameOf, now: int) -> list[Candidate]:
    """Return the profile, then the open activities, the nearest to the present first.

    :arg name_of: Tells of a record the table's name in the settings, its key in short, and the source.
    :arg now: The present (ms since epoch).
    """
    context = settings.serving.context
    shown = {name: profile.fields[name] for name in context.fields or profile.fields if name in profile.fields}
    open_ones = [(name, one) for name, found in profile.collections.items() for one in found.open]
    open_ones.sort(key=lambda named: (abs(named[1].at - now), named[1].record))
    return [
        _profile(profile, shown, name_of),
        *(
            _activity(name, activity, name_of, BY_PROFILE - STEP * min(rank, 50))
            for rank, (name, activity) in enumerate(open_ones[: context.activities])
        ),
    ]


def _profile(profile: Profile, shown: dict[str, Field], name_of: NameOf) -> Candidate:
    said = [value for field in shown.values() for value in field.of] or list(_as_values(profile))
    newest = max(said, key=lambda value: (value.as_of, value.record), default=None)
    record = newest.record if newest is not None else next(iter(profile.records), "")
    table, key, source = name_of(record)
    name = shown[_NAME].value if _NAME in shown else None
    lines = [
        *(f"{wording.one_line(name)}: {_field_text(field.value)}" for name, field in shown.items()),
        *(_collection_text(name, found) for name, found in profile.collections.items()),
    ]
    return Candidate(
        kind="profile",
        id=profile.person,
        store="profiles",
        source=source,
        place=_place(table, key),
        title=(wording.one_line(name) if isinstance(name, str) else "") or _NOBODY,
        text=wording.cut("\n".join(lines), wording.LONGEST_TEXT),
        position=newest.position if newest is not None else "",
        as_of=newest.as_of if newest is not None else profile.since,
        since=newest.as_of if newest is not None else profile.since,
        applied_at=newest.applied_at if newest is not None else profile.since,
        score=SCORE,
        data={name: wording.kept(field.value) for name, field in shown.items()},
    )


def _activity(name: str, activity: Activity, name_of: NameOf, score: float) -> Candidate:
    table, key, source = name_of(activity.record)
    texts = {column: wording.plain(value) for column, value in activity.row.items()}
    happened = f"{wording.one_line(name)} of {wording.minute(activity.at)}, open"
    return Candidate(
        kind="activity",
        id=activity.record,
        store="profiles",
        source=source,
        place=_place(table, key),
        title=wording.one_line(f"{name} {key}"),
        text=wording.cut(f"{happened}: {wording.columns_text(texts)}", wording.LONGEST_TEXT),
        position=activity.position,
        as_of=activity.as_of,
        since=activity.as_of,
        applied_at=activity.applied_at,
        score=round(score, 2),
        data={column: wording.kept(value) for column, value in activity.row.items()},
    )


def _as_values(profile: Profile) -> Iterable[Value]:
    """Yield where a profile that shows no field is from: its activities."""
    for found in profile.collections.values():
        for one in (*found.open, *found.last):
            yield Value(None, one.record, one.position, one.as_of, one.applied_at)


def _field_text(value: Any) -> str:
    return wording.cut(", ".join(map(wording.plain, value))) if isinstance(value, list) else wording.plain(value)


def _collection_text(name: str, found: Collection) -> str:
    sums = "".join(f"; {wording.one_line(column)} in all {wording.cut(total)}" for column, total in found.sums.items())
    latest = f"; latest {wording.minute(found.latest)}" if found.latest is not None else ""
    return f"{wording.one_line(name)}: {found.count}, of which {found.open_count} open{sums}{latest}"


def _place(table: str, key: str) -> str:
    return wording.one_line(f"{table}/{key}" if key else table)
