"""A context of a travel company, and an answer taken to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from events.context import Context, ContextItem, Superseded
from serving.answer.answerer import Answerer
from serving.answer.parts import Answer, AnswerPart, Token
from serving.context.request import Said
from stores.serving_settings import AnswerSettings

NOW = 1_793_523_660_000  # 2026-11-01T09:01:00Z
KEY = "sk-very-secret-4711"


def item(number: int, text: str, **fields: Any) -> ContextItem:
    plain = {
        "kind": "chunk",
        "id": f"id-{number}",
        "source": "documents",
        "place": f"policies/{number}.md",
        "title": "",
        "position": "1",
        "as_of": NOW - 60_000,
        "since": NOW - 60_000,
        "applied_at": NOW - 59_000,
        "lag": 500,
        "stale": False,
        "score": 0.5,
        "tokens": 10,
    }
    return msgspec.convert({"number": number, "text": text, **plain, **fields}, ContextItem)


FARE = item(
    1,
    "Fare of flight CV 512 to Crete: EUR 149.",
    kind="row",
    id="fares/512",
    source="operations",
    place="fares/512",
    title="fares 512",
    superseded=(Superseded("price", "129.00", "149.00", NOW - 1_200_000),),
)
BICYCLE = item(2, "A bicycle costs EUR 60 per flight. It must be boxed.", title="Special baggage")
PETS = item(3, "Cats and dogs up to 8 kg travel in the cabin.", title="Pets")


def context(question: str, *items: ContextItem, block: str = "[1] a block") -> Context:
    return Context(
        id="x-1",
        conversation="c-1",
        person="",
        question=question,
        audiences=("public",),
        at=NOW,
        items=items,
        block=block,
        tokens=10,
        budget=100,
        tokenizer="t",
        left_out={},
        cuts=(),
    )


BIKES = context("What does a bicycle cost?", FARE, BICYCLE, PETS)


def settings(url: str = "", **given: Any) -> AnswerSettings:
    """Return settings with times that a test can wait for."""
    soon = {
        "model": "tiny" if url else "",
        "key": KEY if url else None,
        "seconds": 5.0,
        "first_token_seconds": 2.0,
        "stall_seconds": 0.3,
        "retries": 0,
    }
    return AnswerSettings(url=url, **{**soon, **given})


async def told(answerer: Answerer, asked: Context = BIKES, history: Sequence[Said] = ()) -> list[AnswerPart]:
    return [part async for part in answerer.stream(asked, history)]


def parts(given: AnswerSettings, asked: Context = BIKES, *, history: Sequence[Said] = ()) -> list[AnswerPart]:
    async def run() -> list[AnswerPart]:
        answerer = Answerer(given, lambda: NOW, random=lambda: 0.0)
        try:
            return await told(answerer, asked, history)
        finally:
            await answerer.aclose()

    return asyncio.run(run())


def whole(found: Sequence[AnswerPart]) -> Answer:
    """Return the answer of these parts, having checked that they are tokens and one answer that says the same."""
    *tokens, answer = found
    assert isinstance(answer, Answer)
    texts = [token.text for token in tokens if isinstance(token, Token)]
    assert len(texts) == len(tokens)
    assert all(texts)
    assert "".join(texts) == answer.text
    answer.text.encode()
    return answer
