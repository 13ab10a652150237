"""Who may see which live table, and which of its rows.

A row that is a person's is served to that person alone. Where it is not clear whose it is, it is nobody's: an
identifier that anybody else carries as well, such as a family's telephone, leads to no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from events.changes import Row
from events.errors import SettingsError
from events.profiles import Profile
from serving.access.caller import PUBLIC, Caller
from serving.errors import ForbiddenError
from stores.profile_settings import ProfileTableSettings
from stores.profiles.base import ProfileReader
from stores.profiles.record_keys import RecordKeys
from stores.rows.base import Condition
from stores.serving_settings import OwnerSettings, ServedTableSettings
from stores.settings import Settings

MOST_CONDITIONS = 200
"""By so many values at most a person's rows are looked for; what belongs to further ones is not seen."""

_SHOWN = 100
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class _ByIdentifier(NamedTuple):
    column: str
    type: str
    limit: int


class _ByRecord(NamedTuple):
    """`key` is empty if the key's only column is it."""

    column: str
    table: str
    key: str


class RowGate:
    """Decides by the settings. Threads may share it.

    :arg settings: Which tables there are, and who may read them.
    :raises SettingsError: When `[[serving.tables]]` names what there is not, or leaves it open whose rows are.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = RecordKeys(settings.profiles.tables)
        self._served = {live.name: settings.serving.table(live.name) for live in settings.tables.live}
        self._owners: dict[str, _ByIdentifier | _ByRecord] = {}
        for served in settings.serving.tables:
            if served.name not in self._served:
                detail = f"[[serving.tables]] names {served.name!r}, which is no live table"
                names = ", ".join(self._served)
                raise SettingsError(detail, f"there are: {names}" if names else "add [[tables.live]] to headrace.toml")
            if served.owner is not None:
                self._owners[served.name] = _owner(settings, served, served.owner)

    def visible(self, caller: Caller) -> list[str]:
        """Return the names of the live tables of which a caller may see any rows, or could for a person."""
        return [name for name, served in self._served.items() if {PUBLIC, *caller.audiences} & {*served.audience}]

    def check(self, table: str, caller: Caller) -> None:
        """Check that a caller may read a live table at all.

        :raises ForbiddenError: When it is for other audiences or not there, in the same words; or when its rows are
            persons' and the caller asks for none.
        """
        visible = self.visible(caller)
        if table not in visible:
            detail = f"there is no live table {table[:_SHOWN]!r} for this caller"
            raise ForbiddenError(detail, f"there are: {', '.join(visible) or 'none'}")
        if table in self._owners and not caller.person:
            detail = f"the rows of {table!r} are persons', each for its own"
            raise ForbiddenError(detail, "send the person's token: POST /tokens or `headrace token` signs one")

    def is_owned(self, table: str) -> bool:
        """Tell whether the rows of a live table are persons', each for its own."""
        return table in self._owners

    def own(self, table: str, profile: Profile | None, profiles: ProfileReader | None) -> list[Condition] | None:
        """Return the conditions of which a person's rows of a live table fulfil one at least.

        :arg profiles: What the profile was read from, and of the same cut if it was from one: tells who else carries an
            identifier. None if it is of none: then an identifier is nobody's.
        :returns: None if the table's rows are nobody's in particular; an empty list if the person has none.
        """
        owner = self._owners.get(table)
        if owner is None and table in self._served:
            return None
        if owner is None or profile is None:
            return []
        if isinstance(owner, _ByRecord):
            found = self._referred(owner, profile)
        else:
            found = iter(()) if profiles is None else _carried(owner, profile, profiles)
        return list(islice(dict.fromkeys(found), MOST_CONDITIONS))

    def strip(self, table: str, row: Row) -> Row:
        """Return a row of a live table without the columns that are hidden."""
        served = self._served.get(table)
        if served is None or not served.hidden:
            return row
        return {column: value for column, value in row.items() if column not in served.hidden}

    def _referred(self, owner: _ByRecord, profile: Profile) -> Iterator[Condition]:
        for record in profile.records:
            found = self._keys.find(record)
            if found is None or found[0].name != owner.table:
                continue
            value = _value(_decode(found[1][1]), owner.key)
            if value is not None:
                yield Condition(owner.column, "=", value)


def _carried(owner: _ByIdentifier, profile: Profile, profiles: ProfileReader) -> Iterator[Condition]:
    for value in profile.identifiers.get(owner.type, ()):
        if _is_own(f"{owner.type}:{value}", owner.limit, profile, profiles):
            yield Condition(owner.column, "=", value)
            # Normalised values are texts; the column may hold the same as a number.
            if value.isascii() and value.isdigit() and str(int(value)) == value:
                yield Condition(owner.column, "=", int(value))


def _is_own(identifier: str, limit: int, profile: Profile, profiles: ProfileReader) -> bool:
    """Tell whether nobody else carries an identifier."""
    holders = profiles.holders(profile.realm, identifier, limit + 1)
    return len(holders) <= limit and all(member.person == profile.person for member in holders)


def _owner(settings: Settings, served: ServedTableSettings, owner: OwnerSettings) -> _ByIdentifier | _ByRecord:
    """Return by what a table's rows are persons'.

    :raises SettingsError: When that is not there, or would take one person's rows for another's.
    """
    profiles = settings.profiles
    where = f"the owner of [[serving.tables]] {served.name!r}"
    if owner.identifier:
        limits = {one.type: one.limit for one in profiles.identifiers}
        if owner.identifier not in limits:
            detail = f"{where} names the identifier {owner.identifier!r}, which is no type of [[profiles.identifiers]]"
            raise SettingsError(detail, f"there are: {', '.join(limits)}")
        if len(profiles.realms) > 1:
            detail = f"{where} is named by an identifier, which is another person's in each of the realms"
            raise SettingsError(detail, f"name it by `record`; realms: {', '.join(profiles.realms)}")
        return _ByIdentifier(owner.column, owner.identifier, limits[owner.identifier])
    tables = {table.name: table for table in profiles.tables if table.identifiers}
    table = tables.get(owner.record)
    if table is None:
        detail = f"{where} names the record {owner.record!r}, which is no table of persons of [[profiles.tables]]"
        raise SettingsError(detail, f"there are: {', '.join(tables) or 'none'}")
    live = next(live for live in settings.tables.live if live.name == served.name)
    # Numbers of customers begin at 1 in each database: the 7 of one is not the 7 of another.
    for section, streams, named in (("profiles.tables", profiles, table), ("tables.live", settings.tables, live)):
        if not named.source and len(streams.streams) > 1:
            detail = (
                f"{where}: {named.name!r} may come from several databases, whose keys would be taken for one another"
            )
            raise SettingsError(detail, f"give [[{section}]] {named.name!r} its `source`")
    return _ByRecord(owner.column, owner.record, _key_column(where, owner, table))


def _key_column(where: str, owner: OwnerSettings, table: ProfileTableSettings) -> str:
    if not table.key or owner.key in table.key:
        return owner.key
    if owner.key or len(table.key) > 1:
        detail = f"{where} refers to a column of the key of {table.name!r}, but not clearly to which"
        raise SettingsError(detail, f"set its `key` to one of: {', '.join(table.key)}")
    return table.key[0]


def _value(key: Mapping[str, Any], column: str) -> str | int | float | bool | None:
    """Return the value of a column of a primary key, of its only one if none is named; None if it is not clear."""
    if not column and len(key) != 1:
        return None
    value = key.get(column or next(iter(key)))
    if not isinstance(value, Decimal):
        return value if isinstance(value, str | int) else None
    number = float(value)
    return number if Decimal(repr(number)) == value else None
