"""Everything that an application may ask, for all interfaces: who may see what is decided here, and nowhere else.

Each verb takes the caller first. Whatever is of one person needs a caller that asks for that very person; documents and
tables are for audiences. Results are plain data for other programs, or the bytes themselves.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import anyio.to_thread
import msgspec

from events.clock import Clock, system_clock, to_iso
from events.context import Context
from events.errors import RejectedError
from events.feedback import Turn
from serving.access.caller import Caller
from serving.access.rows import RowGate
from serving.access.tokens import Tokens
from serving.answer.answerer import Answerer
from serving.answer.parts import EXTRACTIVE, Answer, Token
from serving.context.assemble import Assembler
from serving.context.document import context_json
from serving.context.request import ContextRequest
from serving.context.rows import RowFinder
from serving.context.turns import check_said, persons_named
from serving.errors import ForbiddenError, NotFoundError, UnknownCallerError
from serving.freshness import Demand
from serving.knowledge import Knowledge
from serving.lookups import anything
from serving.overview import Overview, Watch
from serving.profile_document import document
from serving.profiles import NobodyError, Profiles
from serving.render import as_json as chunk_json
from serving.shown_kpis import ShownKpis
from serving.speaking import Speaking
from serving.tables import LiveRow, LiveTables, condition
from serving.tables import as_json as row_json
from stores.contexts.base import ContextStore, Holder, KeptContext
from stores.contexts.sqlite import SqliteContexts
from stores.dead_letters import DeadLetters
from stores.erasures import ErasedPeople
from stores.lake.turns import read_turns
from stores.log.choose import open_log
from stores.rows.base import Condition
from stores.settings import FLOWS, Settings

T = TypeVar("T")

_MOST_ROWS = 1000
_MOST_CHUNKS = 100
_LONGEST_ID = 512
_SHOWN = 100
_DAY = 86_400_000


class Served(NamedTuple):
    """A context, and the very bytes that are served and kept."""

    context: Context
    body: bytes


class Given(NamedTuple):
    """The end of an answer: its turn, by which it can be rated."""

    turn: str
    conversation: str
    context: str
    answer: Answer


AnswerEvent: TypeAlias = "Served | Token | Given"


class Runner(Protocol):
    """A thread for a call. It comes to its end there, even if nobody waits for it any more."""

    async def __call__(self, call: Callable[..., T], /, *args: Any) -> T:
        """Run the call, and return what it returns."""


async def in_thread(call: Callable[..., T], /, *args: Any) -> T:
    """Run a call in any thread: where there is only one who asks."""
    return await anyio.to_thread.run_sync(call, *args)


def new_id() -> str:
    """Return an id that nobody can guess: `c` and 26 letters or digits."""
    return "c" + base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


class Service:
    """The facade. Threads may share it.

    :arg settings: What there is to ask.
    :arg tokens: Signs and reads persons' tokens.
    :arg new_id: Makes ids of contexts, conversations and turns.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tokens: Tokens,
        knowledge: Knowledge,
        contexts: ContextStore,
        clock: Clock,
        make_id: Callable[[], str] = new_id,
    ) -> None:
        self.settings = settings
        self.knowledge = knowledge
        self.contexts = contexts
        self.clock = clock
        self.watch = Watch(settings, clock)
        self._tokens = tokens
        self._new_id = make_id
        self._log = open_log(settings)
        self._tables = LiveTables.of(settings, clock)
        self._profiles = Profiles.of(settings, clock) if settings.profiles.tables else None
        self._gate = RowGate(settings)
        self._kpis = ShownKpis(settings)
        self._erased = ErasedPeople(settings.erasures_path)
        self._letters = DeadLetters(settings.dead_letters_path, clock)
        self._speaking = Speaking(settings, self._log, clock)
        finder = RowFinder(settings, self._gate)
        self._assembler = Assembler(
            settings, knowledge, self._tables, self._profiles, contexts, finder, clock, make_id
        )  # fmt: skip
        self._answerer = Answerer(settings.serving.answer, clock, embedder=knowledge.embedder)

    @classmethod
    def of(cls, settings: Settings, tokens: Tokens | None = None, clock: Clock = system_clock) -> Service:
        """Open what `settings` name; nothing is loaded before it is asked."""
        return cls(
            settings,
            tokens=tokens or Tokens(settings, clock),
            knowledge=Knowledge.of(settings),
            contexts=SqliteContexts(settings.contexts_path),
            clock=clock,
        )

    def close(self) -> None:
        """Let go of the stores."""
        self._tables.reader.close()
        if self._profiles is not None:
            self._profiles.reader.close()
        self.contexts.close()
        self.knowledge.reader.close()
        self.watch.close()

    async def aclose(self) -> None:
        """Let go of the stores and of the endpoint."""
        await self._answerer.aclose()
        self.close()

    def context(self, caller: Caller, request: ContextRequest) -> Served:
        """Assemble the context of a question; keep it, and tell it to the log if it is of a conversation.

        :raises ForbiddenError: When the caller may not ask so, or the conversation is somebody else's.
        :raises RejectedError: When the request is not one.
        :raises StaleError: When a store does not become as fresh as demanded.
        """
        caller.check("context")
        return self._context(self._current(caller), request)

    def kept(self, caller: Caller, id_: str) -> bytes:
        """Return a context as it was served, byte for byte.

        :raises NotFoundError: When there is none, or it was let go.
        :raises ForbiddenError: When the caller may not see it.
        """
        caller.check("context")
        kept = self.contexts.get(id_) if len(id_) <= _LONGEST_ID else None
        if kept is None:
            detail = "there is no context of this id"
            days = f"{self.settings.serving.context.keep_days:g}"
            raise NotFoundError(detail, f"contexts are kept for {days} days")
        holder = Holder(kept.realm, kept.person, kept.key)
        if not self._is(holder, self._current(caller)) or not set(kept.audiences) <= {*caller.audiences, "public"}:
            detail = "this context is not for this caller"
            raise ForbiddenError(detail, "ask with the key and for the person that it was assembled for")
        return kept.body

    async def answer(
        self, caller: Caller, request: ContextRequest, *, run: Runner = in_thread, wait: Runner = in_thread
    ) -> AsyncIterator[AnswerEvent]:
        """Answer a question from its context: first that, then the answer as it comes, last the whole of it.

        Question, context and answer go to the log as turns of the conversation; one is begun if none is named.

        :arg run: Runs what reads and writes.
        :arg wait: Runs what may wait for a store to become fresh.
        """
        caller.check("answer")
        caller = await run(self._current, caller)
        conversation = request.conversation or self._new_id()
        request = msgspec.structs.replace(request, conversation=conversation, peek=False)
        asked = self.clock()
        served = await wait(self._context, caller, request)
        await run(self._asked, caller, served.context)
        yield served
        async with contextlib.aclosing(self._answerer.stream(served.context, ())) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    latency = self.clock() - asked
                    turn = await run(self._answered, caller, served.context, part, latency)
                    yield Given(turn, conversation, served.context.id, part)
                else:
                    yield part

    def search(
        self,
        caller: Caller,
        question: str,
        *,
        k: int = 8,
        source: str = "",
        prefix: str = "",
        audiences: tuple[str, ...] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the best pieces of documents for a question, best first."""
        caller.check("search")
        self._check_question(question)
        if not 1 <= k <= _MOST_CHUNKS:
            detail = f"k is {k}"
            raise RejectedError(detail, f"ask for 1 to {_MOST_CHUNKS} pieces")
        found = self.knowledge.search(question, k, caller.narrowed(audiences), source, prefix)
        now = self.clock()
        return [chunk_json(chunk, now) for chunk in found]

    def profile(self, caller: Caller, person: str = "") -> dict[str, Any]:
        """Return the profile of the person that is asked for.

        :arg person: Any id of that person; of anybody else it is refused, be it there or not.
        :raises ForbiddenError: Without a token of the person.
        :raises NobodyError: When the person is not known any more.
        """
        profiles, caller = self._of_person(caller)
        if person and self._person_of(person) != caller.person:
            raise self._foreign()
        found = profiles.find(anything(caller.person, self.settings.profiles, caller.realm))
        return document(found, profiles.name_of)

    def graph(self, caller: Caller) -> str:
        """Return the picture of the identity graph of the person that is asked for, as SVG."""
        from serving.draw_person.save import picture
        from serving.draw_person.svg import svg

        profiles, caller = self._of_person(caller)
        found = profiles.find(anything(caller.person, self.settings.profiles, caller.realm))
        return svg(picture(profiles, [found.profile.person], found.profile.person))

    def tables(self, caller: Caller) -> list[dict[str, Any]]:
        """Return the live tables that the caller may read, with their columns."""
        caller.check("tables")
        shown = []
        for name in self._gate.visible(caller):
            served = self.settings.serving.table(name)
            columns = [
                {"column": known.column, "kind": known.kind}
                for known in self._tables.schema(name)
                if known.column not in served.hidden
            ]
            shown.append({"name": name, "columns": columns, "owned": served.owner is not None})
        return shown

    def rows(
        self,
        caller: Caller,
        name: str,
        *,
        where: Sequence[str] = (),
        order: str = "",
        descending: bool = False,
        limit: int = 100,
        demand: Demand | None = None,
    ) -> dict[str, Any]:
        """Return rows of a live table that fulfil all conditions; of a table of persons' rows only the person's own.

        :arg where: Conditions as `headrace table --where` takes them.
        """
        caller.check("tables")
        caller = self._current(caller)
        # In the same words for tables that are not there: nobody is told which there are that they may not read.
        self._gate.check(name, caller)
        if not 1 <= limit <= _MOST_ROWS:
            detail = f"the limit is {limit}"
            raise RejectedError(detail, f"ask for 1 to {_MOST_ROWS} rows")
        hidden = self.settings.serving.table(name).hidden
        wanted = [self._condition(name, text, hidden) for text in where]
        if order:
            self._check_column(name, order, hidden)
        age = self._tables.await_fresh(demand or Demand(seconds=0))
        rows = self._own_rows(caller, name, wanted, order, descending=descending, limit=limit)
        now = self.clock()
        shown = [row_json(self._stripped(name, row), now) for row in rows]
        return {"table": name, "rows": shown, "age_ms": age}

    def kpis(self, caller: Caller, window: str = "", last: int | None = None) -> list[dict[str, Any]]:
        """Return all KPIs over their last windows; those of single persons without values."""
        caller.check("kpis")
        return self._kpis.overview(window, last)

    def kpi(
        self,
        caller: Caller,
        name: str,
        *,
        window: str = "",
        by: Sequence[str] = (),
        where: Mapping[str, str] | None = None,
        last: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the series of one KPI, group by group."""
        caller.check("kpis")
        return self._kpis.series(name, window, by, where or {}, last)

    def alerts(self, caller: Caller, limit: int | None = None) -> list[dict[str, Any]]:
        """Return alerts, those that happened last first, without those on single persons."""
        caller.check("alerts")
        return self._kpis.alerts(limit)

    def feedback(
        self,
        caller: Caller,
        conversation: str,
        turn: str = "",
        rating: tuple[str, float] | None = None,
        comment: str = "",
    ) -> dict[str, Any]:
        """Take in what somebody says of an answer, or of a whole conversation. Said again, it counts once.

        :arg rating: Scale (`thumbs`, `stars`, `csat`) and value.
        :raises ForbiddenError: When the conversation is somebody else's.
        """
        caller.check("feedback")
        caller = self._current(caller)
        if not conversation or (rating is None and not comment.strip()):
            detail = "there is no conversation" if not conversation else "there is neither a rating nor a comment"
            raise RejectedError(detail, "name the conversation, and give a rating or a comment")
        self._check_mine(caller, conversation)
        about = {"turn": turn, "person": caller.person}
        about = {name: value for name, value in about.items() if value}
        events: list[dict[str, Any]] = []
        if rating is not None:
            events.append({"type": "rating", "scale": rating[0], "value": rating[1], **about})
        if comment.strip():
            events.append({"type": "comment", "text": comment, **about})
        ready = self._speaking.prepare(conversation, events)
        # Only now: what is refused makes a conversation nobody's.
        self._claim(caller, conversation)
        self._check_not_erased(caller, conversation)
        self._speaking.say(ready)
        return {"accepted": len(ready.events), "ids": [event.id for event in ready.events]}

    def freshness(self, caller: Caller) -> dict[str, Any]:
        """Return how fresh everything is, source by source; of live tables those that the caller may read."""
        return self.overview(caller).as_json()

    def overview(self, caller: Caller) -> Overview:
        """Return how everything stands, as far as the caller may see it."""
        caller.check("freshness")
        return self.watch.look().with_tables(self._gate.visible(caller))

    def letters(self, caller: Caller, flow: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Return what could not be processed and why, newest first; not what it holds.

        :raises RejectedError: When there is no such flow.
        """
        caller.check("letters")
        kept = self._letters.list(flow, limit=1000)
        if flow and flow not in FLOWS and not kept:
            detail = f"there is no flow {flow[:_SHOWN]!r}"
            raise RejectedError(detail, f"the flows are: {', '.join(FLOWS)}")
        return [
            {
                "id": one.id,
                "flow": one.letter.flow,
                "step": one.letter.step,
                "reason": one.letter.reason,
                "stream": one.letter.record.stream,
                "partition": one.letter.record.partition,
                "offset": one.letter.record.offset,
                "failed_at": to_iso(one.failed_at),
            }
            for one in kept[::-1][: max(0, limit)]
        ]

    def token(
        self,
        caller: Caller,
        person: str,
        realm: str = "",
        audiences: tuple[str, ...] | None = None,
        minutes: float | None = None,
    ) -> dict[str, Any]:
        """Sign a token for a person, whom whoever holds this key has made sure of.

        :arg person: Id, address, number, TYPE:VALUE or a record.
        :raises NobodyError: When it leads to nobody.
        :raises SeveralError: When it leads to several persons.
        """
        caller.check("tokens")
        found = self._known_profiles().find(anything(person, self.settings.profiles, realm)).profile
        labels = caller.narrowed(audiences)
        signed = self._tokens.sign(found.person, found.realm, labels, minutes)
        return {
            "token": signed.token,
            "person": found.person,
            "realm": found.realm,
            "audiences": list(labels),
            "expires_at": to_iso(signed.expires_at),
        }

    def prune(self) -> int:
        """Let go of contexts and turns that are older than they are kept, or too much; return how much went."""
        kept = self.settings.serving.context
        before = self.clock() - round(kept.keep_days * _DAY)
        gone = 0
        while part := self.contexts.prune(before, kept.keep_megabytes * 2**20):
            gone += part
        return gone

    def _context(self, caller: Caller, request: ContextRequest) -> Served:
        self._check_question(request.question)
        self._check_tables(caller, request.tables or ())
        if request.conversation:
            self._check_mine(caller, request.conversation)
        context = self._assembler.assemble(caller, request)
        if context.conversation and not request.peek:
            # Only now: whom it is refused to does not keep it from whose it is.
            self._claim(caller, context.conversation)
        body = context_json(context)
        if not request.peek:
            kept = KeptContext(
                context.id,
                context.conversation,
                caller.realm,
                context.person,
                context.audiences,
                caller.holding,
                context.at,
                body,
            )
            self._check_not_erased(caller, context.conversation)
            self.contexts.keep(kept)
            if context.conversation:
                self._check_not_erased(caller, context.conversation)
                self._speaking.tell(context.conversation, self._speaking.shown(context))
        return Served(context, body)

    def _asked(self, caller: Caller, context: Context) -> None:
        """Write down the question."""
        turn = Turn(
            context.conversation, self._new_id(), context.at, "user", context.question, person=caller.person
        )  # fmt: skip
        self._say(caller, turn)

    def _answered(self, caller: Caller, context: Context, answer: Answer, latency: int) -> str:
        """Write down the answer; return the id of its turn."""
        turn = Turn(
            context.conversation,
            self._new_id(),
            max(self.clock(), context.at + 1),
            "assistant",
            answer.text,
            model=answer.model,
            person=caller.person,
            latency=float(latency),
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            fallback=answer.model == EXTRACTIVE and bool(answer.degraded),
            context=context.id,
        )
        self._say(caller, turn)
        return turn.id

    def _say(self, caller: Caller, turn: Turn) -> None:
        self._check_not_erased(caller, turn.conversation)
        self.contexts.add_turns([turn])
        beside = {
            "id": turn.id,
            "time": to_iso(turn.time),
            "model": turn.model,
            "person": turn.person,
            "latency": turn.latency,
            "tokens_in": turn.tokens_in,
            "tokens_out": turn.tokens_out,
            "fallback": turn.fallback or None,
            "context": turn.context,
        }
        self._check_not_erased(caller, turn.conversation)
        self._speaking.tell(turn.conversation, self._speaking.turn(turn.role, turn.text, **beside))

    def _check_question(self, question: str) -> None:
        most = self.settings.serving.max_question_chars
        if not question.strip():
            detail = "the question is empty"
            raise RejectedError(detail, "ask something")
        if len(question) > most:
            detail = f"the question has {len(question):,} characters"
            raise RejectedError(detail, f"{most:,} are taken; see serving.max_question_chars")

    def _check_tables(self, caller: Caller, names: Sequence[str]) -> None:
        """Check that the caller may see the live tables that a question is to be answered from.

        :raises RejectedError: When it may not see one, or there is none such: nobody is told which of the two it is.
        """
        visible = self._gate.visible(caller)
        strange = sorted(set(names) - set(visible))
        if strange:
            detail = f"there is no live table {strange[0][:_SHOWN]!r} for this caller"
            raise RejectedError(detail, f"there are: {', '.join(visible) or 'none'}")

    def _current(self, caller: Caller) -> Caller:
        """Return the caller with the id that its person has now.

        :raises UnknownCallerError: When the person has been erased.
        """
        if not caller.person:
            return caller
        self._check_not_erased(caller)
        return msgspec.structs.replace(caller, person=self._person_of(caller.person))

    def _check_not_erased(self, caller: Caller, conversation: str = "") -> None:
        """Check that neither the person nor the conversation has been erased, before anything is kept of them.

        An answer takes its time, and stores may be waited for: so that is looked at again before each of its writes.
        Erasures wait for longer than the file of the erased is not looked at, and let go of what was on its way.

        :raises UnknownCallerError: When the person has been erased.
        :raises ForbiddenError: When the conversation has.
        """
        erased = self._erased.fingerprints()
        if caller.person and erased.has_person(caller.person):
            detail = "the token is of nobody that is known"
            raise UnknownCallerError(detail, "sign another one")
        if conversation and erased.has_conversation(conversation):
            detail = "this conversation has been erased"
            raise ForbiddenError(detail, "begin another one")

    def _person_of(self, person: str) -> str:
        """Return the id that a person has now: ids survive merges as aliases."""
        found = self._profiles.reader.person_of(person) if self._profiles is not None else None
        return found or person

    def _is(self, holder: Holder, caller: Caller) -> bool:
        """Tell whether something is the caller's: a person's is the person's, whatever asks; else the application's."""
        if not holder.person:
            return not caller.person and holder.key == caller.holding
        return holder.realm == caller.realm and self._person_of(holder.person) == caller.person

    def _check_mine(self, caller: Caller, conversation: str) -> None:
        """Check that a conversation is the caller's, or nobody's yet."""
        if len(conversation) > _LONGEST_ID:
            detail = "the conversation's id is too long"
            raise RejectedError(detail, f"use at most {_LONGEST_ID} characters")
        self._check_not_erased(caller, conversation)
        holder = self.contexts.holder(conversation)
        if holder is None:
            self._check_said(caller, conversation)
        elif not self._is(holder, caller):
            raise _foreign_conversation()

    def _check_said(self, caller: Caller, conversation: str) -> None:
        """Check that a conversation that is nobody's yet is not, by what came of it over the log, somebody else's."""
        said = read_turns(self.settings.conversations_path, conversation)
        check_said(said, caller, lambda text: persons_named(self._profiles, text, caller.realm))

    def _claim(self, caller: Caller, conversation: str) -> None:
        self._check_not_erased(caller, conversation)
        mine = Holder(caller.realm, caller.person, caller.holding)
        if not self._is(self.contexts.claim(conversation, mine, self.clock()), caller):
            raise _foreign_conversation()

    def _of_person(self, caller: Caller) -> tuple[Profiles, Caller]:
        caller.check("profiles")
        if not caller.person:
            raise self._foreign()
        return self._known_profiles(), self._current(caller)

    def _known_profiles(self) -> Profiles:
        if self._profiles is None:
            detail = "no tables of persons are configured"
            raise NobodyError(detail, "add [[profiles.tables]] to headrace.toml")
        return self._profiles

    def _foreign(self) -> ForbiddenError:
        detail = "a person's data are for who asks with that person's token"
        return ForbiddenError(detail, "POST /tokens or `headrace token` signs one")

    def _condition(self, name: str, text: str, hidden: Sequence[str]) -> Condition:
        self._check_column(name, condition(text).column, hidden)
        return self._tables.condition(name, text)

    def _check_column(self, name: str, column: str, hidden: Sequence[str]) -> None:
        known = [one.column for one in self._tables.schema(name)]
        shown = [one for one in known if one not in hidden]
        # In the same words for what is hidden and for what is not there, and no hint names what is hidden.
        if column in hidden or (known and column not in shown):
            detail = f"the live table {name!r} has no column {column[:_SHOWN]!r}"
            raise RejectedError(detail, f"there are: {', '.join(shown) or 'none'}")

    def _own_rows(
        self, caller: Caller, name: str, where: Sequence[Condition], order: str, *, descending: bool, limit: int
    ) -> list[LiveRow]:
        if caller.person and self._profiles is not None:
            with self._profiles.reader.cut() as cut:
                own = self._gate.own(name, cut.profile(caller.person), cut)
        else:
            own = self._gate.own(name, None, None)
        if own is None:
            return self._tables.rows(name, where, order=order, descending=descending, limit=limit)
        return (
            self._tables.rows(name, where, any_of=own, order=order, descending=descending, limit=limit) if own else []
        )

    def _stripped(self, name: str, row: LiveRow) -> LiveRow:
        hidden = self.settings.serving.table(name).hidden
        if not hidden:
            return row
        initiator = "" if self._tables.table(name).initiator in hidden else row.initiator
        return msgspec.structs.replace(
            row,
            row=None if row.row is None else self._gate.strip(name, row.row),
            key=self._gate.strip(name, row.key),
            unknown=tuple(column for column in row.unknown if column not in hidden),
            initiator=initiator,
        )


def _foreign_conversation() -> ForbiddenError:
    detail = "this conversation is somebody else's"
    return ForbiddenError(detail, "begin another one, or ask for the person whose it is")


def given_json(given: Given) -> dict[str, Any]:
    """Return an answer as plain data for other programs, with what it cites; times in milliseconds."""
    answer = given.answer
    return {
        "turn": given.turn,
        "conversation": given.conversation,
        "context": given.context,
        "text": answer.text,
        "citations": [msgspec.structs.asdict(cited) for cited in answer.citations],
        "model": answer.model,
        "degraded": answer.degraded,
        "latency_ms": answer.latency,
        "first_token_ms": answer.first_token,
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
    }
