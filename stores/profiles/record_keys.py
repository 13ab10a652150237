"""Where records lie in the store: record keys to tables and row ids, and back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stores.profile_settings import ProfileTableSettings
from stores.rows.base import RowId
from stores.sections import table_of

_is_key = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class RecordKeys:
    """The tables of the settings, by what events call them."""

    def __init__(self, tables: Sequence[ProfileTableSettings]) -> None:
        self._tables = tables
        self._known: dict[tuple[str, str], ProfileTableSettings | None] = {}

    def table(self, source: str, table: str) -> ProfileTableSettings | None:
        """Return the settings of a table as its source names it, None if it is none of ours."""
        place = source, table
        if place not in self._known:
            self._known[place] = table_of(self._tables, source, table)
        return self._known[place]

    def find(self, record: str) -> tuple[ProfileTableSettings, RowId] | None:
        """Return the table of a record and the id of its row, None if it is of no table of ours."""
        end = record.find("/{")
        while end >= 0:
            place, key = record[:end], record[end + 1 :]
            begin = place.find("/")
            # Sources and tables may have a slash in their names; mostly there is none.
            while begin >= 0:
                source, table = place[:begin], place[begin + 1 :]
                found = self.table(source, table) if self._is_ours(table) else None
                if found is not None and _is_json(key):
                    return found, (source, key)
                begin = place.find("/", begin + 1)
            end = record.find("/{", end + 1)
        return None

    def _is_ours(self, table: str) -> bool:
        return any(settings.table == table for settings in self._tables)


def _is_json(key: str) -> bool:
    try:
        _is_key(key)
    except msgspec.DecodeError:
        return False
    return True


def record_of(table: ProfileTableSettings, id_: RowId) -> str:
    """Return the record key of a row."""
    return f"{id_[0]}/{table.table}/{id_[1]}"
