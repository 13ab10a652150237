"""Keeps erased persons out: tells which events are of one, from the fingerprints that stay of erasures.

Without an erasure it costs nothing. Fingerprints are read again when their file has changed, so that every worker of
every process turns events away from the moment on in which the erasure was written down.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cached_property

from events.changes import Change
from events.erasure import Fingerprints
from events.feedback import FeedbackEvent, Point, Said
from events.persons import Links
from operators.identity.configure import identity_rules, profile_rules, record_rules
from operators.identity.extract import Extractor
from operators.identity.meanings import Meanings
from operators.profiles.logic import Profiler
from stores.erasures import ErasedPeople
from stores.profile_settings import ProfileTableSettings
from stores.sections import table_of
from stores.settings import Settings


class Barred:
    """What is not to come in any more."""

    def __init__(self, settings: Settings) -> None:
        self._profiles = settings.profiles
        self._people = ErasedPeople(settings.erasures_path, time.monotonic)
        self._tables: dict[tuple[str, str], ProfileTableSettings | None] = {}

    def record(self, record: str, owner: str | None = None) -> bool:
        """Tell whether a record, or the one that it belongs to, has been erased."""
        erased = self._people.fingerprints()
        return bool(erased) and (erased.has_record(record) or (owner is not None and erased.has_record(owner)))

    def change(self, change: Change) -> bool:
        """Tell whether a change is of an erased record, an activity of one, or carries an erased identifier."""
        erased = self._people.fingerprints()
        if not erased:
            return False
        if erased.has_record(change.record):
            return True
        table = self._table(change)
        if table is None or change.after is None:
            return False
        if table.references:
            return self.record(change.record, self._profiler.owner(table.name, change.source, change.after))
        return self.links(self._extractor.links(change, table.name))

    def links(self, links: Links) -> bool:
        """Tell the same of a change whose identifiers have been found."""
        erased = self._people.fingerprints()
        if not erased:
            return False
        change = links.change
        return erased.has_record(change.record) or any(
            erased.has_identifier(links.realm, identifier, change.event_time)
            for found in links.identifiers
            for identifier in found or ()
        )

    def conversation(self, id_: str) -> bool:
        """Tell whether a conversation was an erased person's."""
        erased = self._people.fingerprints()
        return bool(erased) and erased.has_conversation(id_)

    def said(self, event: FeedbackEvent) -> bool:
        """Tell whether an event is of an erased person's conversation, or names an erased person."""
        erased = self._people.fingerprints()
        if not erased or isinstance(event, Point):
            return False
        if erased.has_conversation(event.conversation):
            return True
        return bool(event.person) and self._is_person(erased, event)

    def feedback(self, events: Iterable[FeedbackEvent]) -> list[FeedbackEvent]:
        """Return what is to come in of the events of one record: if one names an erased person, its conversation goes.

        Answers do not say whom they are for; but what came in one record with a question is of the same person.
        """
        events = list(events)
        if not self._people.fingerprints():
            return events
        gone = {event.conversation for event in events if not isinstance(event, Point) and self.said(event)}
        return [event for event in events if isinstance(event, Point) or event.conversation not in gone]

    def _is_person(self, erased: Fingerprints, event: Said) -> bool:
        name = event.person
        return (
            erased.has_person(name)
            or erased.has_record(name)
            or any(erased.has_identifier(realm, one, event.time) for realm, one in self._meanings.of(name))
        )

    @cached_property
    def _meanings(self) -> Meanings:
        rules = identity_rules(self._profiles)
        return Meanings(self._extractor, rules, record_rules(self._profiles), self._profiles.region)

    @cached_property
    def _extractor(self) -> Extractor:
        return Extractor(identity_rules(self._profiles), record_rules(self._profiles))

    @cached_property
    def _profiler(self) -> Profiler:
        return Profiler(profile_rules(self._profiles))

    def _table(self, change: Change) -> ProfileTableSettings | None:
        place = change.source, change.table
        if place not in self._tables:
            self._tables[place] = table_of(self._profiles.tables, *place)
        return self._tables[place]
