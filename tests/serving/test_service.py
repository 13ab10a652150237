"""What the service keeps and tells of what it serves: whose it is, and of nobody who is erased."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from events.erasure import Erasure
from events.errors import HeadraceError, RejectedError
from serving.access.caller import SCOPES, Caller
from serving.access.callers import caller_of
from serving.answer.parts import Answer, AnswerPart
from serving.context.request import ContextRequest, Said
from serving.errors import ForbiddenError, UnknownCallerError
from serving.forgetting import Forgetting
from serving.service import AnswerEvent, Given, Served, Service
from serving.trails import every
from stores.erasures import Erasures, Pending
from stores.log.choose import open_log
from tests.serving.http.world import World, fill, settings_of
from tests.serving.persons_sample import ANNA, NOW

QUESTION = "What about my booking?"
ALL = frozenset(SCOPES)
OF_ANNA = Caller("shop", ALL, ("public",), ANNA, "default", key_id="aaaaaaaa")
OF_NOBODY = Caller("shop", ALL, ("public",), key_id="aaaaaaaa")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    fill(settings_of(tmp_path))
    world = World(tmp_path)
    with closing(world.service):
        yield world


def told(world: World) -> list[dict[str, Any]]:
    """Return what the log was told."""
    return [json.loads(record.value or b"{}") for record in every(open_log(world.settings), "feedback")]


def forgetting(world: World) -> Forgetting:
    return Forgetting(world.settings, run_flow=lambda flow: None, clock=lambda: NOW)


def small(world: World, most_bytes: int) -> Service:
    """Return a service whose flows take events of so many bytes."""
    feedback = world.settings.feedback.model_copy(update={"max_event_bytes": most_bytes})
    return Service.of(world.settings.model_copy(update={"feedback": feedback}), world.tokens, world.clock)


def test_the_log_is_told_whose_data_were_shown_and_the_person_is_found_by_it(world: World) -> None:
    world.service.context(OF_ANNA, ContextRequest(question=QUESTION, conversation="annas"))
    world.service.context(OF_NOBODY, ContextRequest(question=QUESTION, conversation="nobodys"))
    assert {one["conversation"]: one.get("person") for one in told(world)} == {"annas": ANNA, "nobodys": None}
    # Where the log is all that there is.
    world.service.contexts.erase("default", [ANNA], [], [])
    assert forgetting(world).follow(ANNA, "default").conversations == {"annas"}


def test_a_conversation_that_was_claimed_here_is_the_persons_though_the_log_does_not_say_so(world: World) -> None:
    world.service.context(OF_ANNA, ContextRequest(question=QUESTION, conversation="annas"))
    for segment in world.settings.log_dir.glob("feedback/**/*.jsonl"):
        segment.unlink()
    assert told(world) == []
    assert forgetting(world).follow(ANNA, "default").conversations == {"annas"}


def erase(world: World, caller: Caller, *, person: str = "", conversation: str = "") -> None:
    """Erase a person or a conversation, and wait until the service knows."""
    conversations = (conversation,) if conversation else ()
    Erasures(world.settings.erasures_path).begin(
        Pending(Erasure("e1", "default", person, (), (), NOW, conversations)),
    )
    until = time.monotonic() + 10
    with suppress(UnknownCallerError, ForbiddenError):
        while time.monotonic() < until:
            world.service.feedback(caller, conversation or "another", comment="still here")
    world.service.contexts.erase("default", [person] if person else [], [conversation, "another"], [])


@pytest.mark.parametrize(
    ("caller", "person", "conversation", "error"),
    [(OF_ANNA, ANNA, "", UnknownCallerError), (OF_NOBODY, "", "going", ForbiddenError)],
    ids=["the person", "the conversation"],
)
def test_an_answer_under_way_brings_nothing_of_the_erased_back(
    world: World, caller: Caller, person: str, conversation: str, error: type[HeadraceError]
) -> None:
    parts: list[AnswerEvent] = []
    before: list[int] = []

    async def ask() -> None:
        async for part in world.service.answer(caller, ContextRequest(question=QUESTION, conversation="going")):
            parts.append(part)
            if isinstance(part, Served):
                before.append(len(world.service.contexts.turns("going", 9)))
                erase(world, caller, person=person, conversation=conversation)
                before.append(len(told(world)))

    with pytest.raises(error):
        asyncio.run(ask())
    assert before[0] == 1  # the question
    assert not any(isinstance(part, Given) for part in parts)
    assert world.service.contexts.turns("going", 9) == []
    assert world.service.contexts.holder("going") is None
    assert world.service.contexts.held("default", [ANNA], ["going"]) == 0
    assert len(told(world)) == before[1]


def test_a_context_that_was_assembled_while_its_person_was_erased_is_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assemble = world.service._assembler.assemble

    def meanwhile(caller: Caller, request: ContextRequest) -> Any:
        context = assemble(caller, request)
        erase(world, OF_ANNA, person=ANNA)
        return context

    monkeypatch.setattr(world.service._assembler, "assemble", meanwhile)
    for conversation in ("annas", ""):
        with pytest.raises(UnknownCallerError):
            world.service.context(OF_ANNA, ContextRequest(question=QUESTION, conversation=conversation))
    assert world.service.contexts.held("default", [ANNA], ["annas"]) == 0
    assert world.service.contexts.holder("annas") is None
    assert not any(one["type"] == "context" for one in told(world))


def test_what_is_too_long_for_the_log_is_told_shortened_and_served_whole(world: World) -> None:
    history = tuple(Said("assistant" if number % 2 else "user", "火" * 2000 + str(number)) for number in range(6))
    request = ContextRequest(question=QUESTION, conversation="long", history=history, budget_tokens=1_000_000)
    with closing(small(world, 8192)) as service:
        served = service.context(OF_NOBODY, request)
    assert world.service.kept(OF_NOBODY, served.context.id) == served.body
    [event] = told(world)
    assert len(json.dumps(event, ensure_ascii=False).encode()) <= 8192
    shown = [(item["source"], item["chunk"]) for item in event["items"]]
    assert shown == [(item.source, item.id) for item in served.context.items]
    cut = [item["text"] for item in event["items"] if item["text"].startswith("火")]
    assert len(cut) == 6
    assert all(text == "火" * (len(text) - 1) + "…" for text in cut)


def test_an_answer_that_is_too_long_for_the_log_is_given_and_told_shortened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "It is booked. " * 1000

    async def stream(context: object, history: object) -> AsyncIterator[AnswerPart]:
        yield Answer(text=text, citations=(), model="m", latency=5.0, first_token=1.0)

    async def ask(service: Service) -> list[AnswerEvent]:
        request = ContextRequest(question=QUESTION, conversation="long")
        return [part async for part in service.answer(OF_ANNA, request)]

    with closing(small(world, 4096)) as service:
        monkeypatch.setattr(service._answerer, "stream", stream)
        given = asyncio.run(ask(service))[-1]
    assert isinstance(given, Given)
    assert world.service.contexts.turns("long", 1)[0].text == text
    turn = told(world)[-1]
    assert turn["id"] == given.turn
    assert 1000 < len(turn["text"]) < 4096
    assert text.startswith(turn["text"].removesuffix("…"))


def test_what_the_log_does_not_take_at_all_is_served_and_warned_of_without_a_word_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(stream: str, records: object) -> None:
        raise RejectedError(repr(records), "")

    monkeypatch.setattr(world.service._log, "append", refuse)
    with caplog.at_level(logging.WARNING):
        served = world.service.context(OF_ANNA, ContextRequest(question=QUESTION, conversation="annas"))
    assert world.service.kept(OF_ANNA, served.context.id) == served.body
    assert caplog.messages == [f"the context {served.context.id} was not told to the log: RejectedError"]


def test_feedback_that_is_refused_leaves_the_conversation_to_whose_it_is(world: World) -> None:
    with pytest.raises(RejectedError):
        world.service.feedback(OF_NOBODY, "annas", rating=("thumbs", 7))
    assert world.service.contexts.holder("annas") is None
    assert world.service.feedback(OF_ANNA, "annas", rating=("thumbs", 1))["accepted"] == 1
    with pytest.raises(ForbiddenError):
        world.service.feedback(OF_NOBODY, "annas", rating=("thumbs", 1))
    assert [one["person"] for one in told(world)] == [ANNA]


def test_who_gets_a_keys_name_does_not_get_what_was_its_own(world: World) -> None:
    def asking() -> Caller:
        key = world.keys.create("desk", SCOPES)
        return caller_of(world.keys, world.tokens, f"Bearer {key}")

    first = asking()
    served = world.service.context(first, ContextRequest(question=QUESTION, conversation="desks"))
    assert world.service.kept(first, served.context.id) == served.body
    world.keys.remove("desk")
    second = asking()
    with pytest.raises(ForbiddenError):
        world.service.kept(second, served.context.id)
    with pytest.raises(ForbiddenError):
        world.service.context(second, ContextRequest(question=QUESTION, conversation="desks"))
    with pytest.raises(ForbiddenError):
        world.service.feedback(second, "desks", comment="mine?")
