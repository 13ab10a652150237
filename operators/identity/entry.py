"""What is kept of each record: where its newest event stands, what it carries by it, and whose it is.

It mirrors what the profile store makes of rows (`stores/rows/join.py`), with rules in the place of columns. For events
with positions an entry is a function of the set of events: by each rule a record carries what the newest event says
that says anything of the rule. A delete and a truncation say that it carries nothing.

When a record was made is the smallest time of its events. It begins anew with an event that comes back to a record
which went more than the horizon before it, in event time: by then it may have been forgotten, and that is to change
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events.changes import (
    Change,
    Standing,
    Truncation,
    merged_position,
    pack_position,
    supersedes,
    unpack_position,
)
from events.persons import Links, Member

CREATED = -1
"""Stands among the rules for the column that holds when the row was made."""

Gaps = dict[int, bytes | None]
"""Rules of which the newest event says nothing, with the packed position of the event that did; None: no event has."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record. Positions are packed, as some have more than 64 bits.

    :arg position: With `stream`, `partition` and `offset`, where the newest event stands.
    :arg event_time: Of the newest event (ms since epoch).
    :arg first: The smallest event time of all its events, also late ones, since it came back if it ever did.
    :arg gone: Whether it was deleted.
    :arg said: What it carries by each rule.
    :arg created: When the row was made, as it says itself.
    :arg person: Whose it is, as the store was told; empty once it is gone.
    :arg held: Types of identifiers that are held back, as the store was told.
    :arg late: The smallest event time of events that came late by more than the horizon. They are of its present life,
        unless a delete after them, which is then to come late as well, says that they were not.
    :arg ended: When it had gone before it came back: events up to then are of an earlier life.
    """

    position: bytes
    stream: str
    partition: int
    offset: int
    event_time: int
    first: int
    gone: bool = False
    said: tuple[tuple[str, ...], ...] = ()
    created: int | None = None
    gaps: Gaps = {}
    person: str = ""
    held: tuple[str, ...] = ()
    late: int | None = None
    ended: int | None = None

    @property
    def standing(self) -> Standing:
        """Where its newest event stands."""
        return Standing(unpack_position(self.position), self.stream, self.partition, self.offset)

    @property
    def identifiers(self) -> tuple[str, ...]:
        """All that it carries, sorted."""
        return tuple(sorted({identifier for said in self.said for identifier in said}))

    @property
    def since(self) -> int:
        """When it was made (ms since epoch)."""
        if self.created is not None:
            return self.created
        return self.first if self.late is None else min(self.first, self.late)

    def member(self, record: str, realm: str) -> Member:
        """Return what the store is told of it."""
        if self.gone or not self.person:
            return Member(record, realm, "")
        return Member(record, realm, self.person, self.identifiers, self.since, self.held)


class Emptied(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest truncation of a table at its source. Fields as in `Entry`."""

    position: bytes
    stream: str
    partition: int
    offset: int
    event_time: int

    @property
    def standing(self) -> Standing:
        """Where it stands among the events of the table."""
        return Standing(unpack_position(self.position), self.stream, self.partition, self.offset)


def standing_of(event: Change | Truncation) -> Standing:
    """Return where an event stands among those of its record."""
    return Standing(event.position, event.stream, event.partition, event.offset)


def emptied_by(truncation: Truncation) -> Emptied:
    """Return what is kept of a truncation."""
    return Emptied(
        pack_position(truncation.position),
        truncation.stream,
        truncation.partition,
        truncation.offset,
        truncation.event_time,
    )


def joined(entry: Entry | None, links: Links, horizon: int, emptied: Emptied | None = None) -> Entry | None:
    """Return the entry after one more event, or None if that changes nothing.

    :arg horizon: Milliseconds of event time after which records that are gone are forgotten.
    :arg emptied: Newest truncation of the table at the event's source.
    """
    change = links.change
    standing = standing_of(change)
    if emptied is not None and not supersedes(standing, emptied.standing):
        return _swept(entry, links, horizon, emptied)
    if entry is None:
        return _completed(None, links, standing, None if emptied is None else emptied.position)
    old = entry.standing
    if not supersedes(standing, old):
        return _filled(entry, links, horizon)
    if entry.gone and change.event_time - entry.event_time > horizon:
        entry = msgspec.structs.replace(entry, first=change.event_time, late=None, ended=entry.event_time)
    standing = Standing(
        merged_position(standing.position, old.position), standing.stream, standing.partition, standing.offset
    )
    return _completed(entry, links, standing, None)


def truncated(entry: Entry, emptied: Emptied, horizon: int) -> Entry | None:
    """Return the entry after the newest truncation of its table, or None if that changes nothing."""
    if entry.gone:
        return None
    if supersedes(emptied.standing, entry.standing):
        return _truncated(entry, emptied)
    overtaken = [rule for rule, known in entry.gaps.items() if known is None or known < emptied.position]
    new = _said(entry, dict.fromkeys(overtaken), emptied.position) if emptied.position and overtaken else None
    return ended_by(new or entry, emptied.event_time, horizon) or new


def _swept(entry: Entry | None, links: Links, horizon: int, emptied: Emptied) -> Entry | None:
    """Return the entry after an event from before the truncation, which it would not have outlived.

    All that stays is when it was.
    """
    change = links.change
    if entry is None:
        # Whether it went then or with the truncation is not known. Then, as that is no later than it was: what comes
        # back after a forgotten delete is not to be nearer to it than it had been.
        entry = _truncated(_made(links, standing_of(change)), emptied)
        return msgspec.structs.replace(entry, event_time=change.event_time)
    if entry.first - emptied.event_time > horizon:
        return None
    seen = _seen(entry, change, horizon)
    if not entry.gone or change.event_time <= entry.event_time:
        return seen
    return msgspec.structs.replace(seen or entry, event_time=change.event_time)


def ended_by(entry: Entry, event_time: int, horizon: int) -> Entry | None:
    """Return the entry once it is known that the record went when it had not been seen yet in its present life.

    None if that changes nothing: it did not go so early, or the entry tells it already.
    """
    if entry.first - event_time <= horizon or (entry.ended is not None and event_time <= entry.ended):
        return None
    late = None if entry.late is None or entry.late <= event_time else entry.late
    return msgspec.structs.replace(entry, late=late, ended=event_time)


def _truncated(entry: Entry, emptied: Emptied) -> Entry:
    return Entry(
        emptied.position or entry.position,
        emptied.stream,
        emptied.partition,
        emptied.offset,
        emptied.event_time,
        entry.first,
        gone=True,
        late=entry.late,
        ended=entry.ended,
    )


def _seen(entry: Entry, change: Change, horizon: int) -> Entry | None:
    """Return the entry when an event has been seen that says nothing else."""
    event_time = change.event_time
    if event_time >= entry.first or (entry.ended is not None and event_time <= entry.ended):
        return None
    if entry.first - event_time <= horizon:
        return msgspec.structs.replace(entry, first=event_time)
    if change.after is None:
        return ended_by(entry, event_time, horizon)
    if entry.late is not None and entry.late <= event_time:
        return None
    return msgspec.structs.replace(entry, late=event_time)


def _filled(entry: Entry, links: Links, horizon: int) -> Entry | None:
    """Return the entry with what an older event says by rules that no newer one says anything of."""
    seen = _seen(entry, links.change, horizon)
    if entry.gone or not entry.gaps:
        return seen
    position = pack_position(links.change.position)
    silent = _silent(links)
    filled: dict[int, tuple[str, ...] | int | None] = {
        rule: _of(links, rule)
        for rule, known in entry.gaps.items()
        if rule not in silent and (known is None or position > known)
    }
    return _said(seen or entry, filled, position) if filled else seen


def _completed(entry: Entry | None, links: Links, standing: Standing, emptied: bytes | None) -> Entry:
    """Return the entry that a newest event makes, with what is known by rules that it says nothing of."""
    new = _made(links, standing)
    if entry is not None:
        new = msgspec.structs.replace(
            new,
            first=min(new.first, entry.first),
            person=entry.person,
            held=entry.held,
            late=entry.late,
            ended=entry.ended,
        )
    silent = () if new.gone else _silent(links)
    if not silent:
        return new
    if entry is None:
        return msgspec.structs.replace(new, gaps=dict.fromkeys(silent, emptied))
    if entry.gone:
        return msgspec.structs.replace(new, gaps=dict.fromkeys(silent, entry.position))
    kept = tuple(
        (entry.said[rule] if rule < len(entry.said) else ()) if rule in silent else said
        for rule, said in enumerate(new.said)
    )
    created = entry.created if CREATED in silent else new.created
    gaps = {rule: entry.gaps.get(rule, entry.position) for rule in silent}
    return msgspec.structs.replace(new, said=kept, created=created, gaps=gaps)


def _made(links: Links, standing: Standing) -> Entry:
    change = links.change
    gone = change.after is None
    return Entry(
        pack_position(standing.position),
        standing.stream,
        standing.partition,
        standing.offset,
        change.event_time,
        change.event_time,
        gone=gone,
        said=() if gone else tuple(said or () for said in links.identifiers),
        created=None if gone else links.created,
    )


def _silent(links: Links) -> Sequence[int]:
    """Return the rules of which an event says nothing."""
    change = links.change
    if change.after is None or not change.unavailable:
        return ()
    silent = [rule for rule, said in enumerate(links.identifiers) if said is None]
    # Which column holds when the row was made is not known here: where one is left out, it may be that one.
    return [*silent, CREATED] if links.created is None else silent


def _of(links: Links, rule: int) -> tuple[str, ...] | int | None:
    if links.change.after is None:
        return None
    return links.created if rule == CREATED else links.identifiers[rule]


def _said(entry: Entry, values: dict[int, tuple[str, ...] | int | None], position: bytes) -> Entry:
    """Return the entry with other values by some rules, which an event at `position` has said."""
    said, created = list(entry.said), entry.created
    for rule, value in values.items():
        if isinstance(value, int):
            created = value
        elif rule == CREATED:
            created = None
        else:
            said[rule] = value or ()
    gaps = {**entry.gaps, **dict.fromkeys(values, position)}
    return msgspec.structs.replace(entry, said=tuple(said), created=created, gaps=gaps)
