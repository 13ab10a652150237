"""Who is who, worked out from the whole set of events at once, with `networkx.connected_components`."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import networkx as nx

from events.changes import Change, Truncation
from events.persons import Links, Member
from operators.identity.rules import IdentityRules

FOR_EVER = 10**15
"""A horizon that nothing is older than, in milliseconds."""


class FinalRow(NamedTuple):
    """What a record carries in the end, and when it was made."""

    identifiers: frozenset[str]
    since: int


def final_rows(events: Iterable[Links | Truncation], horizon: int = FOR_EVER) -> dict[str, FinalRow]:
    """Return the records that are there when all events have happened, in whatever order they came.

    :arg horizon: A record that comes back longer after it went is made anew (ms of event time).
    """
    by_table: dict[tuple[str, str], list[Links | Truncation]] = {}
    for event in events:
        row = event if isinstance(event, Truncation) else event.change
        by_table.setdefault((row.source, row.table), []).append(event)
    rows: dict[str, FinalRow] = {}
    for table in by_table.values():
        table.sort(key=_place)
        for record in {event.change.record for event in table if isinstance(event, Links)}:
            story = [event for event in table if isinstance(event, Truncation) or event.change.record == record]
            row_ = _final_row(story, horizon)
            if row_ is not None:
                rows[record] = row_
    return rows


def _place(event: Links | Truncation) -> tuple[tuple[int, ...], int]:
    # A source gives all its events a position, or none.
    row: Change | Truncation = event if isinstance(event, Truncation) else event.change
    return row.position, 0 if row.position else row.offset


def _final_row(story: list[Links | Truncation], horizon: int) -> FinalRow | None:
    carried: list[tuple[str, ...]] | None = None
    created: int | None = None
    for event in story:
        if isinstance(event, Truncation) or event.change.after is None:
            carried, created = None, None
            continue
        old = carried or [()] * len(event.identifiers)
        carried = [was if said is None else said for was, said in zip(old, event.identifiers, strict=True)]
        if event.created is not None or not event.change.unavailable:
            created = event.created
    if carried is None:
        return None
    return FinalRow(frozenset().union(*carried), _first(story, horizon) if created is None else created)


def _first(story: list[Links | Truncation], horizon: int) -> int:
    """Return the smallest time of a record's events since it came back, if it ever did after the horizon."""
    times: list[int] = []
    went: int | None = None
    for event in story:
        if isinstance(event, Truncation):
            went = event.event_time if times and went is None else went
            continue
        change = event.change
        if went is not None and change.event_time - went > horizon:
            times.clear()
        times.append(change.event_time)
        went = change.event_time if change.after is None else None
    return min(times)


def members_of(realm: str, rules: IdentityRules, rows: Mapping[str, FinalRow]) -> dict[str, Member]:
    """Return whose each record is."""
    carriers = Counter(identifier for row in rows.values() for identifier in row.identifiers)
    names = [type_.type for type_ in rules.types]
    limits = {type_.type: type_.limit for type_ in rules.types}
    whose: dict[str, tuple[str, tuple[str, ...]]] = {}
    for depth in range(len(names) + 1):
        graph: nx.Graph[tuple[str, str]] = nx.Graph()
        for record, row in rows.items():
            graph.add_node(("record", record))
            for identifier in row.identifiers:
                type_name = identifier.split(":")[0]
                if type_name in names[:depth] and carriers[identifier] <= limits[type_name]:
                    graph.add_edge(("record", record), ("identifier", identifier))
        for component in nx.connected_components(graph):
            records = [name for sort, name in component if sort == "record"]
            if len(records) <= rules.person_limit:
                earliest = min(records, key=lambda record: (rows[record].since, record))
                whose.update((record, (_person_id(realm, earliest), tuple(names[depth:]))) for record in records)
    return {
        record: Member(record, realm, person, tuple(sorted(rows[record].identifiers)), rows[record].since, held)
        for record, (person, held) in whose.items()
    }


def over_limits(rules: IdentityRules, rows: Mapping[str, FinalRow]) -> dict[str, int]:
    """Return the identifiers that link nothing, with how many records carry them."""
    carriers = Counter(identifier for row in rows.values() for identifier in row.identifiers)
    limits = {type_.type: type_.limit for type_ in rules.types}
    return {name: count for name, count in carriers.items() if count > limits[name.split(":")[0]]}


def _person_id(realm: str, record: str) -> str:
    digest = hashlib.blake2b((realm + "\0" + record).encode(), digest_size=10).digest()
    return "p" + b32encode(digest).decode().lower()
