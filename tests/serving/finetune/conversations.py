"""Conversations as the lake has them, told in a few words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from events.feedback import Rating, Said, ShownContext, ShownItem, Turn
from serving.finetune.build import Built, Span, build
from serving.finetune.known import KnownPersons
from serving.finetune.lines import Form, Line
from stores.export_settings import ExportSettings
from stores.lake.rows import conversation_row
from stores.lake.schema import schema

BEGIN = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MINUTE = 60_000
DAY = 86_400_000
NOBODY = KnownPersons(None, (), (), ())


def said(
    conversation: str,
    *exchanges: tuple[str, str] | tuple[str, str, float | None],
    person: str = "",
    consent: bool | None = True,
    at: int = BEGIN,
    stale: bool | None = False,
    system: str = "",
    shown: str = "a piece",
    fallback: bool = False,
    **more: Any,
) -> list[Said]:
    """Return a conversation: questions, answers, and by how many stars each was rated (default: five; None: not).

    :arg stale: Of the context of each answer; None: it names none.
    """
    events: list[Said] = []
    if system:
        events.append(Turn(conversation, "s", at - 1, "system", system))
    for number, (question, answer, *stars) in enumerate(exchanges):
        time = at + number * MINUTE
        common = {"application": "travel", "language": "en", "person": person, "consent": consent, **more}
        events.append(Turn(conversation, f"q{number}", time, "user", question, **common))
        context = "" if stale is None else f"x{number}"
        events.append(
            Turn(
                conversation, f"a{number}", time + 10, "assistant", answer, context=context, fallback=fallback, **common
            )
        )
        if context:
            items = (ShownItem("docs", "d", "k", time, 5.0, bool(stale), shown),)
            events.append(ShownContext(conversation, context, time + 5, items))
        value = stars[0] if stars else 5
        if value is not None:
            events.append(Rating(conversation, f"r{number}", time + 20, "stars", float(value), f"a{number}", person))
    return events


def rows(events: Iterable[Said]) -> list[Mapping[str, Any]]:
    """Return what the lake has of these events."""
    by: dict[str, list[Said]] = {}
    for event in events:
        by.setdefault(event.conversation, []).append(event)
    made = [conversation_row(conversation, mine, lambda source: 60_000.0) for conversation, mine in sorted(by.items())]
    found: list[Mapping[str, Any]] = pa.Table.from_pylist([row for row in made if row], schema()).to_pylist()
    return found


def built(
    *conversations: Sequence[Said],
    forms: Sequence[Form] = ("chat", "preference"),
    span: Span | None = None,
    **rules: Any,
) -> Built:
    """Return the export of these conversations; everybody trains unless said otherwise."""
    settings = ExportSettings.model_validate({"validation": 0, **rules})
    events = [event for conversation in conversations for event in conversation]
    return build(rows(events), settings, forms, known=NOBODY, objective=lambda source: 60_000.0, span=span or Span())


def chat(made: Built, side: str = "train") -> list[list[tuple[str, str]]]:
    """Return the messages of chat lines as pairs of role and text."""
    lines = [line for (form, of), found in made.lines.items() if (form, of) == ("chat", side) for line in found]
    return [[(message["role"], message["content"]) for message in line["messages"]] for line in lines]


def taught(made: Built, side: str = "train") -> list[str]:
    """Return the answers that chat lines teach."""
    return [messages[-1][1] for messages in chat(made, side)]


def preferences(made: Built) -> list[tuple[str, str, str]]:
    """Return the last question, the better and the worse answer of each pair."""
    lines: list[Line] = made.lines["preference", "train"]
    return [
        (line["prompt"][-1]["content"], line["chosen"][0]["content"], line["rejected"][0]["content"]) for line in lines
    ]


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file."""
    return [json.loads(line) for line in path.read_text().split("\n") if line]
