"""The text of what was said, out of the many shapes in which model calls are recorded.

Known are texts, the messages of chat APIs (`role` and `content`), those of the OpenTelemetry conventions (`role` and
`parts`) and objects around either. Pictures, calls of tools and what else is no text is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

_LISTS = ("messages", "contents", "choices", "input", "output", "data")
_TEXTS = (
    "content",
    "text",
    "question",
    "query",
    "prompt",
    "answer",
    "response",
    "completion",
    "message",
    "value",
    "body",
)
_ROLES = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "developer": "system",
    "function": "tool",
    "bot": "assistant",
}
_KNOWN = {"user", "assistant", "system", "tool"}
_DEPTH = 8


class Message(NamedTuple):
    """One message: who wrote it, and its text; empty where it has none, as a call of a tool."""

    role: str
    text: str


def messages_of(value: Any, role: str, depth: int = _DEPTH) -> list[Message]:
    """Return the messages in `value`.

    :arg role: Of what names none.
    """
    if isinstance(value, str):
        return [Message(role, value)]
    if value is None or depth == 0:
        return []
    if isinstance(value, list):
        return [message for one in value for message in messages_of(one, role, depth - 1)]
    if isinstance(value, dict):
        if isinstance(value.get("role"), str):
            body = value.get("parts", value.get("content"))
            return [Message(role_of(value["role"]), text_of(body))]
        inner = _inner(value)
        if inner is not None:
            return messages_of(inner, role, depth - 1)
    return [Message(role, msgspec.json.encode(value).decode())] if value != {} else []


def _inner(value: dict[str, Any]) -> Any:
    """Return what an object without a role is the wrapping of; None if that cannot be told."""
    if isinstance(value.get("message"), dict):
        return value["message"]
    for name in _LISTS:
        if isinstance(value.get(name), (list, dict)):
            return value[name]
    return next((value[name] for name in (*_TEXTS, *_LISTS) if isinstance(value.get(name), str)), None)


def role_of(said: str) -> str:
    """Return our word for a role."""
    role = _ROLES.get(said.lower(), said.lower())
    return role if role in _KNOWN else "system"


def text_of(body: Any) -> str:
    """Return the text of a message's content or parts."""
    if isinstance(body, str):
        return body
    if isinstance(body, dict):
        body = [body]
    if not isinstance(body, list):
        return ""
    return "\n".join(text for part in body if (text := _part(part)))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") not in {"text", "input_text", "output_text"}:
        return ""
    text = part.get("text", part.get("content"))
    return text if isinstance(text, str) else ""


def questions(messages: Iterable[Message]) -> list[str]:
    """Return what people have written after the last answer: earlier ones have been events of their own."""
    found: list[str] = []
    for message in messages:
        if message.role == "assistant":
            found.clear()
        elif message.role == "user" and message.text:
            found.append(message.text)
    return found


def answer(messages: Iterable[Message]) -> str:
    """Return what was answered: the last text of the model."""
    return next((text for role, text in reversed(list(messages)) if role == "assistant" and text), "")
