"""Which conversations are a person's: those that name it as who asked, rated or commented, or whose data were shown.

What was served for it here names it as well, whether or not the log was told.

A conversation is theirs as a whole, in every stream: answers, shown contexts and what others said in it go with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing

import msgspec

from events.erasure import Erasure, ids_of
from events.errors import RejectedError
from events.feedback import FeedbackEvent, Point
from events.log import LogRecord, original_of, replay_stream
from operators.feedback.decode import Decoder
from operators.identity.configure import identity_rules, record_rules
from operators.identity.extract import Extractor
from operators.identity.meanings import Meanings
from serving.trails import every
from stores.contexts.sqlite import SqliteContexts
from stores.kpis.reader import KpiReader
from stores.lake.choose import open_lake_reader
from stores.log.base import Log
from stores.settings import Settings

FEEDBACK = "feedback"
LAKE = "lake"
_FOREVER = 2**62
logger = logging.getLogger(__name__)


class SpeechReading:
    """Reads records of the log as the flows do that read feedback, each stream by its settings."""

    def __init__(self, settings: Settings) -> None:
        feedback = settings.feedback
        # What was refused for being ahead of its time is somebody's all the same.
        self._decoders = {
            stream.name: Decoder(stream.format, stream.application, feedback.max_event_bytes, _FOREVER, _begin)
            for stream in feedback.streams
        }
        self._replays = {replay_stream(flow): flow for flow in (FEEDBACK, LAKE)}

    @property
    def streams(self) -> list[str]:
        """Names of the streams that hold feedback, or such that is handed back."""
        return [*self._decoders, *self._replays]

    def reads(self, stream: str) -> bool:
        """Tell whether the stream holds feedback, or such that is handed back."""
        return stream in self._decoders or stream in self._replays

    def events(self, record: LogRecord) -> tuple[FeedbackEvent, ...] | None:
        """Return the events that a record says; None if it cannot be read."""
        flow = self._replays.get(record.stream)
        if flow is not None:
            record = original_of(record, flow)
        decoder = self._decoders.get(record.stream)
        if decoder is None:
            return None
        try:
            return decoder.decode(record)
        except RejectedError:
            return None
        except Exception:
            # What stops no flow stops no erasure: it is searched as text.
            logger.warning("an event of %r at offset %d cannot be read", record.stream, record.offset)
            return None


class Speech(msgspec.Struct):
    """What a person has left in conversations.

    :arg ids: Of the conversations.
    :arg names: Texts by which they name the person, as they were written.
    """

    ids: set[str] = msgspec.field(default_factory=set)
    names: set[str] = msgspec.field(default_factory=set)


class Conversing:
    """Finds the conversations of persons: in the log, and in the stores, which may know what the log no longer has.

    :arg progress: Told now and then what is being read.
    """

    def __init__(self, settings: Settings, log: Log, reading: SpeechReading, progress: Callable[[str], object]) -> None:
        self._log = log
        self._reading = reading
        self._progress = progress
        self._kpis = KpiReader(settings.kpis_path)
        self._lake = open_lake_reader(settings)
        self._contexts_path = settings.contexts_path
        profiles = settings.profiles
        rules, tables = identity_rules(profiles), record_rules(profiles)
        self._meanings = Meanings(Extractor(rules, tables), rules, tables, profiles.region)

    def find(self, erasure: Erasure) -> Speech:
        """Return the conversations of the person, and those that an erasure named already."""
        mine = self._names(erasure)
        found = Speech(set(erasure.conversations))
        for conversation, person in self._all():
            if mine(person):
                found.ids.add(conversation)
                found.names.add(person)
        named = [person for person in self._kpis.persons() if mine(person)]
        found.names.update(named)
        found.ids.update(self._kpis.conversations_of(named) if named else ())
        with closing(SqliteContexts(self._contexts_path)) as contexts:
            found.ids.update(contexts.conversations(erasure.realm, ids_of(erasure)))
        return found

    def held(self, conversations: Collection[str]) -> dict[str, int]:
        """Return, by flow, how many facts or rows its store has of these conversations, where it has any.

        The files of these stores are compressed: a search for texts says little of them.
        """
        rows = 0
        for batch in self._lake.rows(columns=("id",)) if conversations else ():
            rows += sum(row["id"] in conversations for row in batch.to_pylist())
        found = {FEEDBACK: self._kpis.facts_of(sorted(conversations)), LAKE: rows}
        return {flow: count for flow, count in found.items() if count}

    def _names(self, erasure: Erasure) -> Callable[[str], bool]:
        exact = {*ids_of(erasure), *erasure.records, *erasure.identifiers}
        identifiers = {(erasure.realm, identifier) for identifier in erasure.identifiers}

        def mine(person: str) -> bool:
            return person in exact or not identifiers.isdisjoint(self._meanings.of(person))

        return mine

    def _all(self) -> Iterator[tuple[str, str]]:
        """Yield the log's conversations and the lake's, each with a person that is named in it; some of them twice."""
        for stream in self._reading.streams:
            self._progress(f"reading {stream}")
            for record in every(self._log, stream):
                yield from _persons(self._reading.events(record) or ())
        for batch in self._lake.rows(columns=("id", "persons")):
            for row in batch.to_pylist():
                yield from ((row["id"], person) for person in row["persons"])


def _persons(events: Iterable[FeedbackEvent]) -> Iterator[tuple[str, str]]:
    for event in events:
        if not isinstance(event, Point) and event.person:
            yield event.conversation, event.person


def _begin() -> int:
    return 0
