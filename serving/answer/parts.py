"""What an answer comes in: pieces of text as they are written, and at the end, once and always, the whole answer.

Invariant: the texts of the tokens, one after the other, are the text of the answer.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from events.context import ItemKind

EXTRACTIVE = "extractive"
"""In place of a model's name, where the answer is put together from the context without one."""


class Citation(msgspec.Struct, frozen=True):
    """An item of the context that the answer names. Fields as of `events.context.ContextItem`."""

    number: int
    kind: ItemKind
    id: str
    source: str
    place: str
    title: str


class Token(msgspec.Struct, frozen=True):
    """The next piece of the text, never empty."""

    text: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer.

    :arg text: Plain text, to be shown as such; what it says is never executed.
    :arg citations: Items that it names, in the order in which it names them first, each once.
    :arg unknown: Numbers that it names and the context does not have.
    :arg model: As in the settings; `EXTRACTIVE` where no model wrote it.
    :arg degraded: Why it is less than was asked for: cut, or put together from the sources as no model answered. Empty
        if nothing is wrong, also where no model is configured.
    :arg latency: Milliseconds from the request for the answer to its end.
    :arg first_token: Milliseconds from there to its first text, failed tries and pauses among them.
    :arg tokens_in: Tokens that the model read, as the endpoint says; None where it does not.
    :arg tokens_out: Tokens that the model wrote, likewise.
    """

    text: str
    citations: tuple[Citation, ...]
    model: str
    latency: float
    first_token: float
    degraded: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    unknown: tuple[int, ...] = ()


AnswerPart: TypeAlias = Token | Answer
