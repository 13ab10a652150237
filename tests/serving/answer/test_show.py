"""Answers on a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from serving.answer.parts import EXTRACTIVE, Answer, AnswerPart, Citation, Token
from serving.answer.show import footnotes, show

SOURCE = Citation(2, "chunk", "id-2", "documents", "baggage.md", "Bags\x1b[2J")


def answer(**given: object) -> Answer:
    plain: dict[str, object] = {
        "text": "",
        "citations": (),
        "model": EXTRACTIVE,
        "latency": 1234.0,
        "first_token": 56.0,
    }
    return Answer(**{**plain, **given})  # type: ignore[arg-type]  # of the test


def test_the_text_is_written_as_it_comes_and_below_what_it_took() -> None:
    whole = answer(text="EUR\x1b 60.\nBoxed. [2]", citations=(SOURCE,), model="tiny", tokens_out=1200)
    written: list[str] = []

    async def parts() -> AsyncIterator[AnswerPart]:
        for part in (Token("EUR\x1b 60."), Token("\nBoxed. [2]"), whole):
            yield part

    assert asyncio.run(show(parts(), written.append)) == whole
    assert written == ["EUR\ufffd 60.", "\nBoxed. [2]"]
    assert footnotes(whole) == ["(tiny: 1.2 s, the first word after 0.1 s, 1,200 tokens)"]


def test_what_is_not_as_it_should_be_is_told() -> None:
    assert footnotes(answer(unknown=(7, 9), degraded="the model's endpoint has failed (500)")) == [
        "Not in the context, though cited: [7], [9]",
        "Not as asked for: the model's endpoint has failed (500)",
        "(1.2 s, the first word after 0.1 s)",
    ]
