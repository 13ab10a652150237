"""Whether entities and look-ups name what there is: said at the start, in one line, instead of at each question.

Nothing that is hidden decides what is found.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from events.errors import SettingsError
from stores.settings import Settings

PLACEHOLDER = re.compile(r"\{([^{}]{1,200})\}")
"""Where a look-up's `text` has the value of a column."""


def check(settings: Settings, kinds: Mapping[str, Mapping[str, str]]) -> None:
    """Check that look-ups, entities and served tables name what there is, as far as it is known.

    :arg kinds: By live table, the columns that have been seen.
    :raises SettingsError: When they do not.
    """
    live = [table.name for table in settings.tables.live]
    for entity in settings.serving.entities:
        if entity.table:
            where = f"the entity {entity.name!r}"
            _check_table(where, entity.table, live)
            _check_columns(where, entity.table, [entity.column], kinds)
            _check_shown(where, entity.table, [entity.column], settings)
    for served in settings.serving.tables:
        _check_spelling(f"[[serving.tables]] {served.name!r}", served.hidden, kinds.get(served.name, {}))
    columns_of = {lookup.called: lookup.table for lookup in settings.serving.lookups}
    for lookup in settings.serving.lookups:
        where = f"the look-up {lookup.called!r}"
        placeholders = PLACEHOLDER.findall(lookup.text)
        _check_table(where, lookup.table, live)
        order = [lookup.order] if lookup.order else []
        used = [*lookup.where, *lookup.columns, *placeholders, *order]
        _check_columns(where, lookup.table, used, kinds)
        _check_shown(where, lookup.table, used, settings)
        for of in lookup.where.values():
            origin, _, member = of.rpartition(".")
            if origin in columns_of:
                _check_columns(where, columns_of[origin], [member], kinds)
                _check_shown(where, columns_of[origin], [member], settings)
            elif origin:
                _check_profile(where, of, settings)


def _check_table(where: str, table: str, live: Sequence[str]) -> None:
    if table not in live:
        detail = f"{where} names {table!r}, which is no live table"
        raise SettingsError(detail, f"there are: {', '.join(live)}" if live else "add [[tables.live]] to headrace.toml")


def _check_columns(where: str, table: str, columns: Iterable[str], kinds: Mapping[str, Mapping[str, str]]) -> None:
    known = kinds.get(table)
    strange = [column for column in columns if known and column not in known]
    if known and strange:
        close = difflib.get_close_matches(strange[0], known, n=1)
        detail = f"{where}: the live table {table!r} has no column {strange[0]!r}"
        raise SettingsError(detail, f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}")


def _check_spelling(where: str, columns: Iterable[str], known: Mapping[str, str]) -> None:
    """Check that no column that has never come looks like one that has: what is misspelt there would be served."""
    for column in columns:
        close = [] if column in known else difflib.get_close_matches(column, known, n=1)
        if close:
            detail = f"{where} hides {column!r}, which its live table has never had"
            raise SettingsError(detail, f"did you mean {close[0]!r}?")


def _check_shown(where: str, table: str, columns: Iterable[str], settings: Settings) -> None:
    """Check that no column is hidden: by whether a row is found, and by its place, its values could be guessed."""
    hidden = settings.serving.table(table).hidden
    for column in columns:
        if column in hidden:
            detail = f"{where} uses the column {column!r} of {table!r}, which [[serving.tables]] hides"
            raise SettingsError(detail, "take it out of one of them")


def _check_profile(where: str, of: str, settings: Settings) -> None:
    _, *rest = of.split(".")
    tables = [table.name for table in settings.profiles.tables if table.references]
    fields = [field.name for field in settings.profiles.fields]
    if len(rest) > 1 and rest[0] not in tables:
        detail = f"{where} takes {of!r}, but {rest[0]!r} is no table of activities"
        raise SettingsError(detail, f"there are: {', '.join(tables) or 'none'}")
    # Without fields in the settings, every column of a person's tables is one.
    if len(rest) == 1 and fields and rest[0] not in fields:
        detail = f"{where} takes {of!r}, but a profile has no field {rest[0]!r}"
        raise SettingsError(detail, f"there are: {', '.join(fields)}")
