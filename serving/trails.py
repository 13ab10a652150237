"""What a person has left: the records, the identifiers that nobody else holds, and the texts that rows had.

The store knows the newest rows. The log knows more: rows that are deleted, activities that are over, addresses of
before. A deleted record that carried an identifier which only this person holds was this person's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from events.changes import Change, Row
from events.errors import RejectedError
from events.log import LogRecord, original_of, replay_stream
from events.persons import type_of
from operators.changes.configure import stream_rules
from operators.changes.decode import decoder
from operators.changes.rules import Decode
from operators.identity.configure import identity_rules, profile_rules, record_rules
from operators.identity.extract import Extractor
from operators.profiles.logic import Profiler
from stores.log.base import Log
from stores.profile_settings import ProfileTableSettings
from stores.profiles.base import ProfileReader
from stores.rows.base import LIVE
from stores.sections import table_of
from stores.settings import Settings

PROFILES = "profiles"
TABLES = "tables"
_BATCH = 1_000
_ALL = 10_000_000
logger = logging.getLogger(__name__)


class Trail(msgspec.Struct):
    """What one person has left.

    :arg members: Keys of its records.
    :arg activities: Keys of the activities that belong to them.
    :arg identifiers: Those that only its records carry.
    :arg telling: Texts that name this person and nobody else.
    :arg values: Other texts of its rows.
    :arg conversations: Ids of the conversations that it had.
    """

    realm: str
    person: str
    members: set[str] = msgspec.field(default_factory=set)
    activities: set[str] = msgspec.field(default_factory=set)
    identifiers: set[str] = msgspec.field(default_factory=set)
    telling: set[str] = msgspec.field(default_factory=set)
    values: set[str] = msgspec.field(default_factory=set)
    conversations: set[str] = msgspec.field(default_factory=set)

    @property
    def records(self) -> set[str]:
        """Keys of records and activities."""
        return self.members | self.activities


class ChangeReading:
    """Reads records of the log as the flows do, each stream by its settings."""

    def __init__(self, settings: Settings) -> None:
        self._decoders: dict[str, list[Decode]] = {}
        self._replays: dict[str, str] = {}
        for flow, section, tables in (
            (PROFILES, settings.profiles, settings.profiles.tables),
            (TABLES, settings.tables, settings.tables.live),
        ):
            self._replays[replay_stream(flow)] = flow
            for stream in section.streams:
                rules = stream_rules(stream, tables, section.max_event_bytes)
                self._decoders.setdefault(stream.name, []).append(decoder(rules))

    def reads(self, stream: str) -> bool:
        """Tell whether the stream holds changes, or such that are handed back."""
        return stream in self._decoders or stream in self._replays

    def changes(self, record: LogRecord) -> list[Change] | None:
        """Return the changes that a record says; None if it cannot be read."""
        flow = self._replays.get(record.stream)
        if flow is not None:
            record = original_of(record, flow)
        found: list[Change] | None = None
        for decode in self._decoders.get(record.stream, ()):
            try:
                said = [change for change in decode(record) if isinstance(change, Change)]
            except RejectedError:
                continue
            except Exception:
                # What stops no flow stops no erasure: it is searched as text.
                logger.warning("an event of %r at offset %d cannot be read", record.stream, record.offset)
                continue
            found = (found or []) + said
        return found


class Belonging:
    """Tells of changes what they carry and to whom they belong, by the rules of the profiles flow."""

    def __init__(self, settings: Settings) -> None:
        profiles = settings.profiles
        self._tables = profiles.tables
        rules = record_rules(profiles)
        self._regions = {name: table.region for name, table in rules.items()}
        self._extractor = Extractor(identity_rules(profiles), rules)
        self._profiler = Profiler(profile_rules(profiles))

    def table(self, source: str, table: str) -> ProfileTableSettings | None:
        """Return the settings of a table, None if it is none of persons."""
        return table_of(self._tables, source, table)

    def owner(self, change: Change) -> str | None:
        """Return the key of the record to which an activity belongs; None if it is none or does not say."""
        table = self.table(change.source, change.table)
        row = change.before if change.after is None else change.after
        if table is None or not table.references or row is None:
            return None
        return self._profiler.owner(table.name, change.source, row)

    def owner_of(self, table: ProfileTableSettings, source: str, row: Row) -> str | None:
        """Return the key of the record to which a row of an activity table belongs."""
        return self._profiler.owner(table.name, source, row)

    def carries(self, table: ProfileTableSettings, change: Change) -> set[str]:
        """Return the identifiers that the row of a change carries, of a deleted one those that it had."""
        if change.after is None:
            change = msgspec.structs.replace(change, after=change.before)
        found = self._extractor.links(change, table.name).identifiers
        return {identifier for one in found for identifier in one or ()}

    def written(self, table: ProfileTableSettings, row: Row) -> dict[str, set[str]]:
        """Return the identifiers that a row carries, each with the texts by which it alone is meant there."""
        found: dict[str, set[str]] = {}
        for one in self._extractor.found(table.name, row).identifiers:
            written = found.setdefault(one.identifier, set())
            if len(one.columns) == 1:  # of several, none names the person by itself
                written.update(
                    text for text in texts_of(row.get(one.columns[0])) if self._means(table, text, one.identifier)
                )
        return found

    def _means(self, table: ProfileTableSettings, text: str, identifier: str) -> bool:
        try:
            return self._extractor.identifier(type_of(identifier), text, self._regions[table.name]) == identifier
        except RejectedError:
            return False


def texts_of(value: Any) -> Iterator[str]:
    """Yield all texts in a value: of lists and dicts those within."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts_of(one)


def every(log: Log, stream: str) -> Iterator[LogRecord]:
    """Yield all records of a stream that are there now, partition by partition."""
    for partition in log.partitions(stream):
        offset, end = log.bounds(stream, partition)
        while offset < end:
            records, after = log.read(stream, partition, offset, _BATCH)
            yield from records
            if after == offset:
                break
            offset = after


class Trailing:
    """Follows what a person has left, through the profile store and the log.

    :arg progress: Told now and then what is being read.
    """

    def __init__(
        self,
        settings: Settings,
        reader: ProfileReader,
        log: Log,
        *,
        reading: ChangeReading,
        belonging: Belonging,
        progress: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._log = log
        self._reading = reading
        self._belonging = belonging
        self._progress = progress

    def follow(self, trail: Trail) -> None:
        """Complete what is known of a person: of its members in the store, and of all that the log says of them."""
        self._from_store(trail)
        while self._from_log(trail):  # a deleted record that was found may have activities that were read before
            pass
        trail.telling |= trail.records | {one.partition(":")[2] for one in trail.identifiers}
        trail.values -= trail.telling

    def _from_store(self, trail: Trail) -> None:
        for member in self._reader.members_of(trail.person):
            trail.members.add(member.record)
            for table, (source, key) in self._reader.owned(member.record, _ALL):
                self._take_activity(trail, table, source, key)
        for member in self._reader.members_of(trail.person):
            self._take_identifiers(trail, member.identifiers)
            source, table, key = member.record.split("/", 2)
            settings = self._belonging.table(source, table)
            stored = None if settings is None else self._reader.row(settings.name, source, key)
            if settings is not None and stored is not None and stored.image is not None:
                self._take_row(trail, settings, stored.image)

    def _take_activity(self, trail: Trail, name: str, source: str, key: str) -> None:
        for table in self._settings.profiles.tables:
            if table.name == name:
                trail.activities.add(f"{source}/{table.table}/{key}")
        stored = self._reader.row(name, source, key)
        if stored is not None and stored.image is not None:
            trail.values.update(texts_of(stored.image))

    def _take_row(self, trail: Trail, table: ProfileTableSettings, row: Row) -> None:
        trail.values.update(texts_of(row))
        if table.references:
            return
        carried = self._belonging.written(table, row)
        self._take_identifiers(trail, carried)
        for identifier, written in carried.items():
            if identifier in trail.identifiers:
                trail.telling |= written

    def _take_identifiers(self, trail: Trail, identifiers: Iterable[str]) -> None:
        for identifier in identifiers:
            if identifier not in trail.identifiers:
                holders = self._reader.holders(trail.realm, identifier, len(trail.members) + 1)
                if all(holder.record in trail.members for holder in holders):
                    trail.identifiers.add(identifier)

    def _from_log(self, trail: Trail) -> bool:
        """Take in what the log says of the person; True if there may be more by what was found."""
        known = len(trail.members)
        streams = [stream.name for stream in self._settings.profiles.streams]
        for stream in (*streams, replay_stream(PROFILES)):
            self._progress(f"reading {stream}")
            for record in every(self._log, stream):
                for change in self._reading.changes(record) or ():
                    self._take_change(trail, change)
        return len(trail.members) > known

    def _take_change(self, trail: Trail, change: Change) -> None:
        table = self._belonging.table(change.source, change.table)
        if table is None or table.realm != trail.realm:
            return
        images = [row for row in (change.after, change.before) if row is not None]
        if table.references:
            if self._belonging.owner(change) in trail.members and self._is_still(trail, table, change):
                trail.activities.add(change.record)
                trail.values.update(text for row in images for text in texts_of(row))
            return
        if change.record not in trail.members:
            was_of = not trail.identifiers.isdisjoint(self._belonging.carries(table, change))
            if not was_of or self._reader.member(change.record) is not None:
                return
            trail.members.add(change.record)
        for row in images:
            self._take_row(trail, table, row)

    def _is_still(self, trail: Trail, table: ProfileTableSettings, change: Change) -> bool:
        """Tell whether an activity that belonged to the person has not gone to another one since."""
        stored = self._reader.row(table.name, change.source, change.key)
        if stored is None or stored.state != LIVE or stored.image is None:
            return True
        return self._belonging.owner_of(table, change.source, stored.image) in trail.members
