"""Rows of live tables that are a person's own, by `[[serving.tables]] owner`: what an erasure takes with it."""

from __future__ import annotations

from serving.access.rows import RowGate
from stores.profiles.base import ProfileReader
from stores.rows.base import RowQuery, RowReader
from stores.settings import Settings

_AT_ONCE = 100_000


def owned_records(settings: Settings, profiles: ProfileReader, rows: RowReader, person: str) -> set[str]:
    """Return the record keys of the rows that a person owns now; none where the settings say nothing of owners.

    :arg person: Its id now.
    """
    owned = [table.name for table in settings.serving.tables if table.owner is not None]
    profile = profiles.profile(person) if owned else None
    if profile is None:
        return set()
    gate = RowGate(settings)
    sources = {live.name: live.table for live in settings.tables.live}
    found: set[str] = set()
    for name in owned:
        own = gate.own(name, profile, profiles)
        if own:
            query = RowQuery(table=name, any_of=tuple(own), limit=_AT_ONCE)
            found |= {f"{row.source}/{sources[name]}/{row.key}" for row in rows.select(query)}
    return found
