"""Which rows of live tables belong to a question, by `[[serving.lookups]]`: what it names, and what follows from that.

A row that the caller may not see is not looked at: whose rows they are goes into the query, before its limit. What
several columns take from one row, or from one activity, belongs together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice, product
from math import prod
from typing import Any, NamedTuple, TypeAlias

import msgspec

from events.changes import Row
from events.errors import RejectedError
from events.profiles import Profile
from serving.access.caller import Caller
from serving.access.rows import RowGate
from serving.context.entities import Finding, Way
from serving.context.readings import Conditions, readings
from serving.errors import ForbiddenError
from serving.printable import printable
from stores.profiles.base import ProfileReader
from stores.rows.base import Condition, RowQuery, RowReader, StoredRow
from stores.serving_settings import LookupSettings
from stores.settings import Settings

SCORES: dict[Way, float] = {"pattern": 1.0, "value": 0.9, "date": 0.6}
"""Of a row by what led to it: how sure it is that the question means it. Several things together leave less doubt: it
is the product of the doubts that each of them leaves, so that a place and a day go before the place alone."""

BY_PROFILE = 0.8
"""Of a row that a field or an open activity of the person leads to."""

BY_ROW = 0.95
"""Share of a row's score that another one has to which it leads: a little below."""

MOST_COMBINATIONS = 20
"""Combinations of values that one look-up is asked with at most."""

_MOST_QUERIES = 200
"""Queries of one look-up: its combinations, each for all by which rows may be the person's."""

_SHOWN, _NAMED = 60, 3
"""Characters and number of values that a note repeats."""
_MOST_OWN = 1_000
"""Rows of a person whose names are known."""

_SINGLE = (str, int, float, Decimal)
_NUMBERS = (int, float, Decimal)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode

Kinds = Mapping[str, Mapping[str, str]]
"""By live table, the columns that are known and their kinds."""


class Hit(NamedTuple):
    """A row that a look-up has found.

    :arg row: Its image is None past the time-to-live.
    :arg ends: When that ends or has ended (ms since epoch); 0 without one.
    """

    lookup: LookupSettings
    row: StoredRow
    score: float
    ends: int

    @property
    def image(self) -> Row:
        """What is known of the row: past its time-to-live the columns of its key alone."""
        return key_columns(self.row) if self.row.image is None else self.row.image


class Asker(NamedTuple):
    """Who asks.

    :arg profile: Of the person that the caller asks for; None for nobody.
    :arg profiles: What the profile is from; None if it is of none.
    """

    caller: Caller
    profile: Profile | None
    profiles: ProfileReader | None


class Question(NamedTuple):
    """What look-ups are asked for.

    :arg findings: What the question names.
    :arg only: Live tables whose rows are wanted; None: all.
    :arg now: The present (ms since epoch).
    """

    findings: Sequence[Finding]
    asker: Asker
    only: tuple[str, ...] | None
    now: int


class _Option(NamedTuple):
    """One way to fulfil some columns of a look-up."""

    conditions: Conditions
    score: float


_Values: TypeAlias = "tuple[tuple[Any, ...], float]"
"""A value for each column of a group, and their score."""


class _Group(NamedTuple):
    """Columns whose values belong together, and those that they can have."""

    columns: tuple[str, ...]
    values: tuple[_Values, ...]


class Lookups:
    """Asks the look-ups of the settings. Threads may share it.

    :arg settings: The look-ups, and the times-to-live of their tables.
    :arg gate: Who may see which rows.
    """

    def __init__(self, settings: Settings, gate: RowGate) -> None:
        self._lookups = settings.serving.lookups
        self._gate = gate
        self._ttl = {
            live.name: round(live.ttl_seconds * 1000) for live in settings.tables.live if live.ttl_seconds is not None
        }

    def ask(self, question: Question, tables: RowReader, kinds: Callable[[], Kinds]) -> tuple[list[Hit], list[str]]:
        """Return the rows that belong to a question, look-up by look-up, and what could not be asked, in words.

        :arg kinds: Returns what is known of the columns; called only if a look-up is asked.
        """
        hits: dict[str, list[Hit]] = {}
        notes: list[str] = []
        for lookup in self._lookups:
            hits[lookup.called] = []
            groups = _groups(lookup, question, hits)
            if all(group.values for group in groups) and self.may_see(lookup.table, question.asker.caller):
                hits[lookup.called] = self._find(
                    lookup, groups, question, tables=tables, kinds=kinds().get(lookup.table, {}), notes=notes
                )
        wanted = [hit for found in hits.values() for hit in found]
        return [hit for hit in wanted if question.only is None or hit.lookup.table in question.only], notes

    def may_see(self, table: str, caller: Caller) -> bool:
        """Tell whether a caller may see rows of a live table."""
        try:
            self._gate.check(table, caller)
        except ForbiddenError:
            return False
        return True

    def own_values(self, table: str, column: str, asker: Asker, tables: RowReader, now: int) -> list[str]:
        """Return the texts that a column has in the rows of a live table that are the person's own, in order."""
        ttl = self._ttl.get(table)
        query = RowQuery(
            table=table,
            any_of=tuple(self._own(table, asker) or ()),
            limit=_MOST_OWN,
            fresh_since=None if ttl is None else now - ttl,
        )
        rows = _selected(tables, query) if query.any_of else []
        values = [row.image.get(column) for row in rows if row.image is not None]
        return sorted({value for value in values if isinstance(value, str)})

    def _own(self, table: str, asker: Asker) -> list[Condition] | None:
        return self._gate.own(table, asker.profile, asker.profiles)

    def _find(
        self,
        lookup: LookupSettings,
        groups: Sequence[_Group],
        question: Question,
        *,
        tables: RowReader,
        kinds: Mapping[str, str],
        notes: list[str],
    ) -> list[Hit]:
        strange = [column for column in lookup.where if kinds and column not in kinds]
        if strange:
            notes.append(f"the look-up {lookup.called!r}: the live table has no column {strange[0]!r}")
            return []
        options = [list(_options(group, kinds)) for group in groups]
        combinations = list(islice(product(*options), MOST_COMBINATIONS + 1))
        if len(combinations) > MOST_COMBINATIONS:
            notes.append(
                f"the look-up {lookup.called!r}: too much is named, {MOST_COMBINATIONS} combinations were asked"
            )
        own = self._own(lookup.table, question.asker) if combinations else []
        whose: list[Conditions] = [()] if own is None else [(condition,) for condition in own]
        ttl = self._ttl.get(lookup.table)
        found: dict[tuple[str, str], Hit] = {}
        for combination, mine in islice(product(combinations[:MOST_COMBINATIONS], whose), _MOST_QUERIES):
            score = round(1 - prod(1 - option.score for option in combination), 4)
            query = RowQuery(
                table=lookup.table,
                where=(*(condition for option in combination for condition in option.conditions), *mine),
                order=lookup.order,
                descending=lookup.descending,
                limit=lookup.limit,
                fresh_since=None if ttl is None else question.now - ttl,
            )
            for row in _selected(tables, query):
                if row.id not in found or found[row.id].score < score:
                    found[row.id] = Hit(lookup, row, score, 0 if ttl is None else row.as_of + ttl)
        if not found and kinds and own is None and not any("." in of for of in lookup.where.values()):
            # Of what is named and not there it is said so: else a model takes something near it for that.
            notes.append(_absent(lookup, question.findings))
        return _ordered(found.values(), lookup)[: lookup.limit]


def _absent(lookup: LookupSettings, findings: Sequence[Finding]) -> str:
    """Say that nothing is known of what a question names."""
    named = []
    for column, entity in lookup.where.items():
        values = dict.fromkeys(printable(finding.value[:_SHOWN]) for finding in findings if finding.entity == entity)
        named.append(f"{column} {' or '.join(list(values)[:_NAMED])}")
    return f"no row of {lookup.table} is known with {' and '.join(named)}"


def key_columns(row: StoredRow) -> Row:
    """Return the columns of a row's key; none if it has no names for them."""
    try:
        key = _decode(row.key)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return {}
    return key if isinstance(key, dict) else {}


def _groups(lookup: LookupSettings, question: Question, hits: Mapping[str, list[Hit]]) -> list[_Group]:
    """Return the columns of a look-up with the values for them; those of one row or activity belong together."""
    origins: dict[tuple[str, ...], dict[str, str]] = {}
    for column, of in lookup.where.items():
        *origin, member = of.split(".")
        # An entity and a field stand for themselves: two columns may have two values of one.
        alone = not origin or origin == ["profile"]
        origins.setdefault((*origin, member, column) if alone else tuple(origin), {})[column] = member
    return [
        _Group(tuple(members), _distinct(members.values(), _rows(origin, question, hits)))
        for origin, members in origins.items()
    ]


def _rows(
    origin: tuple[str, ...], question: Question, hits: Mapping[str, list[Hit]]
) -> Iterable[tuple[Mapping[str, Any], float]]:
    """Return what values come from, with the score of each: such as rows of another look-up, or open activities."""
    profile = question.asker.profile
    match origin:
        case ("profile", field, _):
            values = profile.fields[field].value if profile is not None and field in profile.fields else None
            return [({field: value}, BY_PROFILE) for value in (values if isinstance(values, list) else [values])]
        case ("profile", collection):
            found = profile.collections.get(collection) if profile is not None else None
            return [(activity.row, BY_PROFILE) for activity in (found.open if found is not None else ())]
        case (entity, _):
            named = [finding for finding in question.findings if finding.entity == entity]
            return [({entity: finding.value}, SCORES[finding.way]) for finding in named]
    return [(hit.image, hit.score * BY_ROW) for hit in hits[origin[0]]]


def _distinct(members: Iterable[str], rows: Iterable[tuple[Mapping[str, Any], float]]) -> tuple[_Values, ...]:
    members = tuple(members)
    found: dict[str, _Values] = {}
    for row, score in rows:
        values = tuple(row.get(member) for member in members)
        if all(isinstance(value, _SINGLE) for value in values):
            name = repr(values)
            found[name] = values, max(score, found[name][1] if name in found else 0.0)
    return tuple(found.values())


def _options(group: _Group, kinds: Mapping[str, str]) -> Iterator[_Option]:
    """Yield the ways to fulfil a group's columns: each of its values, as each sort that its column may hold."""
    for values, score in group.values:
        each = [
            readings(column, value, kinds.get(column, "")) for column, value in zip(group.columns, values, strict=True)
        ]
        for chosen in product(*each):
            yield _Option(tuple(condition for reading in chosen for condition in reading), score)


def _selected(tables: RowReader, query: RowQuery) -> list[StoredRow]:
    try:
        return tables.select(query)
    except RejectedError:  # a value that no column of this store can have
        return []


def _ordered(hits: Iterable[Hit], lookup: LookupSettings) -> list[Hit]:
    """Sort rows that several queries have found as each query does."""
    by_id = sorted(hits, key=lambda hit: hit.row.id)
    if not lookup.order:
        return by_id
    ranked = [(_rank(hit.image.get(lookup.order)), hit) for hit in by_id]
    there = sorted(
        ((rank, hit) for rank, hit in ranked if rank is not None), key=lambda one: one[0], reverse=lookup.descending
    )
    return [hit for _, hit in there] + [hit for rank, hit in ranked if rank is None]


def _rank(value: Any) -> tuple[int, Any] | None:
    """Return a value so that it compares with all others as row stores sort them; None for what comes last."""
    if value is None:
        return None
    if isinstance(value, bool):
        return 1, value
    if isinstance(value, _NUMBERS):
        return 0, value
    return (2, value) if isinstance(value, str) else (3, 0)
