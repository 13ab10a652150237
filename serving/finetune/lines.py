"""The lines of the files: chat lines and preference pairs, and the schema that each of them keeps.

A chat line teaches one answer, its last message. Earlier answers have `"weight": 0` (as OpenAI's fine-tuning has it:
they are not learnt here), as they have a line of their own if they are good enough. People and the model take turns,
and what the application said first, if anything, is one system message at the beginning: all chat templates take that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from serving.finetune.answers import Answer
from serving.finetune.near import normalised
from serving.finetune.scrub import renumbered

Message: TypeAlias = "dict[str, Any]"
Line: TypeAlias = "dict[str, Any]"
Form: TypeAlias = Literal["chat", "preference"]

_SHOWN = "What is known:"


class Scrubbed(msgspec.Struct, frozen=True):
    """An answer with everything before it, without personal data.

    :arg answer: As it was, for what is not text.
    :arg system: Empty if there is nothing to be said first.
    :arg history: Questions and answers.
    """

    answer: Answer
    system: str
    history: tuple[tuple[str, str], ...]
    question: str
    text: str

    @property
    def key(self) -> tuple[int, str, int, str]:
        """What lines are sorted by: the same in each run."""
        return self.answer.begin, self.answer.conversation, self.answer.time, self.answer.turn

    @property
    def score(self) -> float:
        """How well it was received, from 0 to 1; below that if nobody said."""
        return -1.0 if self.answer.last.score is None else self.answer.last.score

    @property
    def said(self) -> str:
        """The exchange that is learnt, as it is compared with others."""
        return "\n".join(renumbered([self.question, self.text]))

    @property
    def prompt(self) -> tuple[str, ...]:
        """The words of everything before the answer: of two answers to the same, one may be better."""
        before = [self.system, *(text for exchange in self.history for text in exchange), self.question]
        return tuple(normalised(text) for text in renumbered(before))

    @property
    def exchanges(self) -> list[str]:
        """All exchanges, the last one included, as they are compared with others."""
        return [*("\n".join(renumbered(exchange)) for exchange in self.history), self.said]


def scrubbed(answer: Answer, scrub: Callable[[str], str], *, with_context: bool) -> Scrubbed:
    """Return an answer without personal data.

    :arg with_context: Whether what the model was shown becomes part of the system message.
    """
    system = [scrub(answer.system)] if answer.system else []
    if with_context and answer.shown:
        system.append("\n\n".join([_SHOWN, *(scrub(text) for text in dict.fromkeys(answer.shown))]))
    history = tuple((scrub(one.question), scrub(one.answer)) for one in answer.history)
    return Scrubbed(answer, "\n\n".join(system), history, scrub(answer.last.question), scrub(answer.last.answer))


def chat_line(one: Scrubbed) -> Line:
    """Return the line that teaches an answer."""
    before = [{**message, "weight": 0} if message["role"] == "assistant" else message for message in _before(one)]
    return {"messages": [*before, {"role": "assistant", "content": one.text, "weight": 1}]}


def preference_line(prompt: Scrubbed, chosen: Scrubbed, rejected: Scrubbed) -> Line:
    """Return the pair of two answers.

    :arg prompt: The one of the two before which only stands what stands before both.
    """
    return {
        "prompt": _before(prompt),
        "chosen": [{"role": "assistant", "content": chosen.text}],
        "rejected": [{"role": "assistant", "content": rejected.text}],
    }


def _before(one: Scrubbed) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": one.system}] if one.system else []
    for question, answer in one.history:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [*messages, {"role": "user", "content": one.question}]


def _message(*roles: str, weighed: bool = False) -> dict[str, Any]:
    properties: dict[str, Any] = {"role": {"enum": list(roles)}, "content": {"type": "string", "minLength": 1}}
    if weighed:
        properties["weight"] = {"enum": [0, 1]}
    return {
        "type": "object",
        "properties": properties,
        "required": ["role", "content"],
        "additionalProperties": False,
    }


def _lines(title: str, **properties: Any) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _messages(least: int, message: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "minItems": least, "items": message, **more}


SCHEMAS: dict[Form, dict[str, Any]] = {
    "chat": _lines("A chat line", messages=_messages(2, _message("system", "user", "assistant", weighed=True))),
    "preference": _lines(
        "A preference pair",
        prompt=_messages(1, _message("system", "user", "assistant")),
        chosen=_messages(1, _message("assistant"), maxItems=1),
        rejected=_messages(1, _message("assistant"), maxItems=1),
    ),
}
"""What each line of a form of file keeps, as JSON Schema has it."""
