"""How the store follows its settings: what others have made is made anew from the rows that it holds.

That something is unfinished is noted before it is begun, and by which settings it is made when all of it is done: a
remaking that was interrupted begins again, whatever the settings are by then, and ends the same. Readers see a profile
as it was until it is merged again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stores.profile_settings import ProfilesSettings, ProfileTableSettings
from stores.profiles.base import ProfileWriter
from stores.profiles.persons import Persons
from stores.profiles.table import AT_ONCE, ProfileTable

logger = logging.getLogger(__name__)

MADE = "profiles_made"
"""Kind of facts that hold, by table, the settings that its part of the store is made by."""
MERGED = "profiles_merged"
"""Kind of facts that hold how profiles are merged."""

_COMMIT_EVERY = 10 * AT_ONCE
_REMEDY = "stop the flow and remove the profile store, the identity folder and the recovery folder"
_DECODING = "key", "initiator", "columns"
_PLACING = "references", "by", "time", "show", "last", "open", "sums"


class Made(msgspec.Struct, frozen=True):
    """By which settings a table's part of the store is made.

    :arg place: Source and table that its rows are of; None while no settings name it.
    :arg decoding: What decides how its events are read.
    :arg placing: What decides where its rows belong and what they come to; empty for rows with identifiers.
    :arg unfinished: It is being made anew.
    """

    place: tuple[str, str] | None = None
    decoding: dict[str, Any] = {}
    placing: dict[str, Any] = {}
    unfinished: bool = False


class Merged(msgspec.Struct, frozen=True):
    """By which `[[profiles.fields]]` profiles are merged. `unfinished` as in `Made`."""

    fields: list[Any] = []
    unfinished: bool = False


def follow(
    writer: ProfileWriter,
    settings: ProfilesSettings,
    tables: Mapping[str, ProfileTable],
    persons: Persons,
    *,
    is_read: bool,
) -> None:
    """Make what the store holds as the settings say, and tell of what only reading again could make so.

    :arg is_read: Whether the store has noted that events were read.
    """
    known = {name: msgspec.json.decode(value, type=Made) for name, value in writer.facts(MADE).items()}
    made = _made(settings)
    # A table that is left out misses what comes until it is named again.
    made.update(dict.fromkeys(known.keys() - made.keys(), Made()))
    changed = {name: one for name, one in made.items() if known.get(name) != one}
    noted = writer.facts(MERGED).get("")
    was_merged = None if noted is None else msgspec.json.decode(noted, type=Merged)
    merged = Merged([field.model_dump(mode="json") for field in settings.fields])
    if not changed and was_merged == merged:
        return
    before = {name: known.get(name, Made()) for name in changed}
    if is_read:
        for name, one in changed.items():
            _tell(name, before[name], one)
    with writer.transaction():
        _note(writer, {name: msgspec.structs.replace(was, unfinished=True) for name, was in before.items()})
        if was_merged is not None and was_merged != merged:
            writer.note(MERGED, {"": msgspec.json.encode(msgspec.structs.replace(was_merged, unfinished=True))})
    is_moved = False
    for name, one in changed.items():
        if name in tables and _is_to_be_placed(before[name], one):
            is_moved |= _place(writer, tables[name], persons)
    if is_moved or was_merged != merged or any(_is_seen(before[name], one) for name, one in changed.items()):
        _merge(writer, persons)
    with writer.transaction():
        _note(writer, changed)
        writer.note(MERGED, {"": msgspec.json.encode(merged)})


def _made(settings: ProfilesSettings) -> dict[str, Made]:
    tables = {table.name: table for table in settings.tables}
    return {name: _made_of(table, tables) for name, table in tables.items()}


def _made_of(table: ProfileTableSettings, tables: Mapping[str, ProfileTableSettings]) -> Made:
    said = table.model_dump(mode="json")
    placing: dict[str, Any] = {}
    if table.references:
        other = tables[table.references]
        placing = {name: said[name] for name in _PLACING} | {"of": [other.source, other.table]}
    return Made((table.source, table.table), {name: said[name] for name in _DECODING}, placing)


def _is_to_be_placed(was: Made, one: Made) -> bool:
    return was.unfinished or was.placing != one.placing


def _is_seen(was: Made, one: Made) -> bool:
    """Tell whether profiles show that a table is made otherwise, though none of its rows may have been placed anew."""
    return was.unfinished or (was.place is not None and was.place != one.place)


def _tell(name: str, was: Made, one: Made) -> None:
    """Tell what has been read by other settings than these, and stays so."""
    if one.place is None:
        return
    table = f"[[profiles.tables]] {name!r}"
    others = sorted(setting for setting in one.decoding if one.decoding[setting] != was.decoding.get(setting))
    if was.place is None:
        logger.warning(
            "%s has been added: events that were read before are not in it; to read them again, %s", table, _REMEDY
        )
    elif was.place != one.place:
        logger.warning(
            "%s is made of another table than before: what was read of that one stays, and what was read before of "
            "this one is not in it; to read all anew, %s",
            table,
            _REMEDY,
        )
    elif others:
        logger.warning(
            "the settings of %s have changed (%s): rows that do not change again stay as they were read; to read them "
            "again, %s",
            table,
            ", ".join(others),
            _REMEDY,
        )


def _note(writer: ProfileWriter, made: Mapping[str, Made]) -> None:
    writer.note(MADE, {name: msgspec.json.encode(one, order="deterministic") for name, one in made.items()})


def _place(writer: ProfileWriter, table: ProfileTable, persons: Persons) -> bool:
    """Place and sum up all activities of a table anew; tell whether there were any, or are."""
    total, count = writer.tally(table.name, AT_ONCE).live if table.is_activity else 0, 0
    with writer.transaction():
        cleared = writer.clear_activities(table.name)
    after, is_done = ("", ""), not table.is_activity
    while not is_done:
        placed = count
        with writer.transaction():
            for _ in range(0, _COMMIT_EVERY, AT_ONCE):
                rows = writer.live_rows(table.name, after, AT_ONCE)
                persons.place(table, table.turn_away(rows))
                after, count = rows[-1].id if rows else after, count + len(rows)
                is_done = len(rows) < AT_ONCE
                if is_done:
                    break
        if count > placed:
            done = f"{count:,} of {total:,}"
            logger.info("the settings of %s have changed: %s activities placed anew", table.name, done)
    return bool(cleared or count)


def _merge(writer: ProfileWriter, persons: Persons) -> None:
    count = 0
    for some in _persons(writer):
        with writer.transaction():
            for person in some:
                persons.touch(person)
            persons.merge()
        count += len(some)
        logger.info("the settings of profiles have changed: %s persons merged anew", f"{count:,}")


def _persons(writer: ProfileWriter) -> Iterator[list[str]]:
    after = ""
    while some := writer.person_ids(after, _COMMIT_EVERY):
        yield some
        after = some[-1]
