"""Reads what belongs into one context from the cuts of its stores; what cannot be read is noted and left out.

Nothing of a person is read but of the one that the caller asks for. What is demanded fresh are the cuts. The
conversation so far is exempt, as it is not read for what is true: that it may lack its last turns is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

import msgspec

from events.changes import position_text
from events.errors import StoreError
from events.profiles import Profile
from serving.access.caller import Caller
from serving.context import chunks
from serving.context.candidate import Candidate
from serving.context.cuts import KNOWLEDGE, NAMES, PROFILES, TABLES, Cuts, Streams, source_of, unreadable
from serving.context.lags import StoreLag
from serving.context.persons import tell
from serving.context.request import ContextRequest
from serving.context.rows import RowFinder
from serving.context.turns import LAKE, Conversation, given, known, persons_named, told
from serving.freshness import StaleError, has_reached
from serving.profiles import Profiles
from serving.render import span
from stores.contexts.base import ContextStore
from stores.lake.turns import SaidTurns, read_turns
from stores.log.base import Log
from stores.settings import Settings

T = TypeVar("T")


class Sources(NamedTuple):
    """What contexts are read from, beside the cuts.

    :arg profiles: None where no tables of persons are configured.
    :arg contexts: Has the conversations that were answered here.
    """

    settings: Settings
    log: Log
    streams: Streams
    profiles: Profiles | None
    contexts: ContextStore
    finder: RowFinder


class Gathering:
    """The reads of one context.

    :arg caller: With the audiences that the request is for.
    """

    def __init__(self, sources: Sources, cuts: Cuts, caller: Caller, request: ContextRequest) -> None:
        self._from = sources
        self._settings = sources.settings
        self._cuts = cuts
        self._request = request
        self.caller = caller
        self.lags = dict(cuts.lags)
        self.notes = [f"the {NAMES[flow]} cannot be read at present" for flow in cuts.unread]
        # Rows may be there: data are seen before the first claim of how far they are.
        silent = [NAMES[flow] for flow, lag in cuts.lags.items() if not lag.applied]
        self.notes += [f"the {name} have not said yet how far they are" for name in silent]
        self._profile = self._tried(PROFILES, self._person, None)
        if self._profile is not None:
            self.caller = msgspec.structs.replace(caller, person=self._profile.person)

    def turns(self) -> list[Candidate]:
        """Return the conversation so far, as far as it is known: no demand holds it up.

        :raises ForbiddenError: When it is somebody else's.
        """
        request, most, now = self._request, self._settings.serving.context.turns, self._cuts.now
        if request.history is not None:
            return given(request.history, self.caller, request.conversation, most, now)
        if not request.conversation:
            return []
        path = self._settings.conversations_path
        lake = self._tried(LAKE, lambda: read_turns(path, request.conversation), None)
        if lake is not None:
            self.lags[LAKE] = StoreLag(LAKE, lake.applied, self._from.streams.of(LAKE), now)
            self.notes += self._missing(self.lags[LAKE])
        found = self._tried("conversation", lambda: self._conversation(lake, most), None)
        applied_at = max((mark.applied_at for mark in lake.applied), default=0) if lake is not None else 0
        return [] if found is None else told(found, applied_at)

    def person(self) -> list[Candidate]:
        """Return who asks, and what is open of them."""
        profile, profiles = self._profile, self._from.profiles
        if profile is None or profiles is None:
            return []
        return tell(profile, self._settings, profiles.name_of, self._cuts.now)

    def rows(self, said: Sequence[Candidate] = ()) -> list[Candidate]:
        """Return the rows of live tables that the question, or the profile, names.

        :arg said: The turns so far: a question may go on about what they name.
        """
        tables = self._cuts.readers.tables
        if tables is None:
            return []
        nothing: tuple[list[Candidate], list[str]] = ([], [])
        found, notes = self._tried(
            TABLES,
            lambda: self._from.finder.find(
                self._request.question,
                tables=tables,
                profile=self._profile,
                caller=self.caller,
                only=self._request.tables,
                now=self._cuts.now,
                profiles=self._cuts.readers.profiles,
                earlier=[turn.text for turn in reversed(said) if turn.data.get("role") == "user"],
            ),
            nothing,
        )
        self.notes += notes
        return found

    def chunks(self, embedded: Future[list[float] | None] | None, most: int) -> list[Candidate]:
        """Return the pieces of documents. May run beside the other reads.

        :arg embedded: Gives the question's vector, or None if it could not be made.
        :arg most: So many at most.
        """
        documents, audiences = self._cuts.readers.documents, self.caller.audiences
        if documents is None or embedded is None:
            return []
        vector, question = embedded.result(), self._request.question
        if vector is None:
            self.notes.append("documents were searched by words alone: the question could not be embedded")
        return self._tried(KNOWLEDGE, lambda: chunks.find(question, vector, documents, audiences, most), [])

    def _person(self) -> Profile | None:
        """Return the profile of the caller's person: aliases lead to it, other realms do not."""
        person, reader = self.caller.person, self._cuts.readers.profiles
        if not person or reader is None:
            return None
        now = reader.person_of(person)
        profile = None if now is None else reader.profile(now)
        if profile is None or self.caller.realm not in {"", profile.realm}:
            self.notes.append("the person is not known")
            return None
        return profile

    def _missing(self, lake: StoreLag) -> list[str]:
        """Return in words what a conversation may lack, as the lake is not as fresh as demanded of the stores."""
        demand, unbound = self._request.demand, "may be missing: what is demanded fresh does not bind them"
        if demand is None:
            return []
        lacking = []
        if demand.max_age is not None and (lake.age is None or lake.age > demand.max_age):
            since = "" if lake.age is None else f"of the last {span(lake.age)} "
            lacking.append(f"turns {since}that come over the log {unbound}")
        if demand.position:
            source, position = source_of(self._cuts.lags, self._from.streams, demand), demand.position
            brought = any(source in mark.positions for mark in lake.applied)
            if brought and not has_reached(lake.applied, lake.partitions, source, position):
                lacking.append(f"turns up to {position_text(position)} of {source!r} {unbound}")
        return lacking

    def _conversation(self, lake: SaidTurns | None, most: int) -> Conversation:
        request = self._request
        return known(
            self._from.contexts, lake, self.caller, request.conversation, most=most, persons_of=self._persons_of
        )

    def _persons_of(self, text: str) -> frozenset[str]:
        """Return the persons that a text leads to by which an application has named one.

        :raises StoreError: When that cannot be told at present.
        """
        reader = self._cuts.readers.profiles
        if PROFILES in self._cuts.unread:
            detail = "whose a conversation is cannot be told: the profiles cannot be read"
            raise StoreError(detail, "ask again")
        if reader is None:
            return frozenset()
        profiles = Profiles(self._settings, reader, self._from.log, lambda: self._cuts.now)
        return persons_named(profiles, text, self.caller.realm)

    def _tried(self, flow: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except StoreError as error:
            note = unreadable(flow, error)
            if self._request.demand is not None and flow in NAMES:
                raise StaleError(note, error.hint, None) from error
            self.notes.append(note)
            return otherwise
