"""Assembles a context: everything that a model should know about a question and whoever asks it, and how old that is.

Whatever is read of one store is read in one cut of it. What cannot be asked is noted, and the rest served; but what was
demanded fresh is fresh or refused, all but the conversation so far: of that it is noted what may be missing. Nothing is
kept here: that is for whoever serves the context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import msgspec

from events.clock import Clock
from events.context import Context, ContextItem
from events.errors import RejectedError
from operators.feedback.configure import objectives
from serving.access.caller import Caller
from serving.context.block import LATEST, shown
from serving.context.budget import pack
from serving.context.candidate import Candidate
from serving.context.chunks import Questions
from serving.context.cuts import KNOWLEDGE, Readers, Streams, open_cuts
from serving.context.document import plain
from serving.context.gather import Gathering, Sources
from serving.context.lags import Lags
from serving.context.request import ContextRequest
from serving.context.rows import RowFinder
from serving.context.tokens import tokenizer_of
from serving.knowledge import Knowledge
from serving.profiles import Profiles
from serving.tables import LiveTables
from stores.contexts.base import ContextStore
from stores.log.choose import open_log
from stores.settings import Settings
from stores.vectors.choose import may_have_vectors

LEAST_BUDGET, MOST_BUDGET = 50, 1_000_000
MOST_CHUNKS = 200
_LONGEST_ID = 512
_SEARCHES = 8


class Assembler:
    """Assembles contexts. Threads may share it.

    :arg profiles: None where no tables of persons are configured.
    :arg contexts: Has the conversations that were answered here.
    :arg new_id: Makes the ids of contexts.
    :raises SettingsError: When the tokenizer of the settings is not there.
    """

    def __init__(  # noqa: PLR0917  # all that there is to be read, each of its own type
        self,
        settings: Settings,
        knowledge: Knowledge,
        tables: LiveTables,
        profiles: Profiles | None,
        contexts: ContextStore,
        finder: RowFinder,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._wanted = settings.serving.context
        self._documents = knowledge.reader
        self._tables = tables.reader
        self._profiles = profiles
        self._clock = clock
        self._new_id = new_id
        log = open_log(settings)
        self._streams = Streams(settings, log)
        self._sources = Sources(settings, log, self._streams, profiles, contexts, finder)
        self._objectives = objectives(settings.feedback)
        self._tokenizer = tokenizer_of(self._wanted.tokenizer, knowledge.embedder)
        self._questions = Questions(knowledge.embedder)
        self._searching = ThreadPoolExecutor(_SEARCHES, thread_name_prefix="documents")

    def assemble(self, caller: Caller, request: ContextRequest) -> Context:
        """Return the context of a question.

        :arg request: Its waiting ends after `serving.wait_seconds` at the latest.
        :raises RejectedError: When the request asks for what there cannot be.
        :raises ForbiddenError: When the conversation is somebody else's, or an audience is not the caller's.
        :raises StaleError: When a store that is asked does not become as fresh as demanded.
        """
        self._check(request)
        caller = msgspec.structs.replace(caller, audiences=caller.narrowed(request.audiences))
        most = self._wanted.chunks if request.chunks is None else request.chunks
        readers = Readers(
            self._documents if most and self._has_documents() else None,
            self._tables if self._has_lookups(request.tables) else None,
            self._profiles.reader if self._profiles is not None and caller.person else None,
        )
        vector = None if readers.documents is None else self._questions.begin(request.question)
        demand = request.demand
        if demand is not None:
            demand = demand._replace(seconds=min(demand.seconds, self._settings.serving.wait_seconds))
        with open_cuts(readers, self._streams, demand, self._clock) as cuts:
            gathering = Gathering(self._sources, cuts, caller, request)
            with self._meanwhile(lambda: gathering.chunks(vector, most)) as pieces:
                said = gathering.turns()
                found = [*gathering.person(), *gathering.rows(said)]
            found += pieces.result()
        notes = [*self._unasked(caller, most), *gathering.notes]
        return self._context(gathering, request, [*found, *said], notes, cuts.now)

    @contextmanager
    def _meanwhile(self, search: Callable[[], list[Candidate]]) -> Iterator[Future[list[Candidate]]]:
        """Search documents on another thread; it has ended with the block, however that ends."""
        begun = self._searching.submit(search)
        try:
            yield begun
        finally:
            wait([begun])

    def _context(
        self,
        gathering: Gathering,
        request: ContextRequest,
        candidates: Sequence[Candidate],
        notes: Iterable[str],
        now: int,
    ) -> Context:
        lags = Lags(gathering.lags, self._objectives)
        ready = []
        for candidate in candidates:
            # A profile is made of all sources, and named after that of its newest value.
            lag, stale = lags.of(candidate.store, candidate.source, whole=candidate.kind == "profile")
            ready.append(shown(candidate, lag, stale=stale))
        budget = self._wanted.budget_tokens if request.budget_tokens is None else request.budget_tokens
        packed = pack(ready, budget, self._tokenizer, now)
        items = [
            _item(number, one.candidate, one.whole, one.lag, tokens, stale=one.stale)
            for number, (one, tokens) in enumerate(packed.items, 1)
        ]
        return Context(
            id=self._new_id(),
            conversation=request.conversation,
            person=gathering.caller.person,
            question=request.question,
            audiences=gathering.caller.audiences,
            at=now,
            items=tuple(items),
            block=packed.block,
            tokens=packed.tokens,
            budget=budget,
            tokenizer=self._tokenizer.name,
            left_out=packed.left_out,
            cuts=tuple(lag.cut() for lag in gathering.lags.values()),
            notes=tuple(sorted(set(notes))),
        )

    def _unasked(self, caller: Caller, most: int) -> list[str]:
        """Say what there is nothing of that might have been asked."""
        notes = []
        if most and not self._has_documents():
            notes.append("there are no documents: no folder is configured, and the log has no stream of them")
        if caller.person and self._profiles is None:
            notes.append("nothing is known of persons: no tables of them are configured")
        return notes

    def _has_documents(self) -> bool:
        return bool(self._streams.of(KNOWLEDGE)) or may_have_vectors(self._settings)

    def _has_lookups(self, only: tuple[str, ...] | None) -> bool:
        return any(only is None or lookup.table in only for lookup in self._settings.serving.lookups)

    def _check(self, request: ContextRequest) -> None:
        """Check that the request is within bounds.

        :raises RejectedError: When it is not.
        """
        question, longest = request.question, self._settings.serving.max_question_chars
        _bounded("budget_tokens", request.budget_tokens, LEAST_BUDGET, MOST_BUDGET)
        _bounded("chunks", request.chunks, 0, MOST_CHUNKS)
        if not question.strip():
            detail = "the question is empty"
            raise RejectedError(detail, "ask something")
        if len(question) > longest:
            detail = f"the question has {len(question):,} characters, over {longest:,}"
            raise RejectedError(detail, "ask in fewer words")
        if len(request.conversation) > _LONGEST_ID or not (request.conversation or "-").isprintable():
            detail = "the conversation's id is too long, or has characters that cannot be seen"
            raise RejectedError(detail, f"use at most {_LONGEST_ID} plain characters")
        if any(_is_torn(text) for text in (question, *(said.text for said in request.history or ()))):
            detail = "a text holds half a character"
            raise RejectedError(detail, "send whole characters: no lone surrogates")
        strange = sorted(set(request.tables or ()) - {live.name for live in self._settings.tables.live})
        if strange:
            detail = f"there is no live table {strange[0][:80]!r}"
            raise RejectedError(detail, "name one that is configured")


def _bounded(name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        detail = f"{name} is {value}"
        raise RejectedError(detail, f"use {least:,} to {most:,}")


def _is_torn(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _item(number: int, found: Candidate, text: str, lag: int | None, tokens: int, *, stale: bool) -> ContextItem:
    return ContextItem(
        number=number,
        kind=found.kind,
        id=found.id,
        source=found.source,
        place=found.place,
        title=found.title,
        text=text,
        position=found.position,
        as_of=_dated(found.as_of),
        since=_dated(found.since),
        applied_at=_dated(found.applied_at),
        lag=lag,
        stale=stale,
        warning=found.warning,
        score=min(max(found.score, 0.0), 1.0),
        tokens=tokens,
        data=plain(found.data),
        superseded=tuple(
            msgspec.structs.replace(one, was=plain(one.was), now=plain(one.now), until=_dated(one.until))
            for one in found.superseded
        ),
    )


def _dated(millis: int) -> int:
    """Return a moment that has a date: a source may claim any."""
    return min(max(millis, 0), LATEST)
