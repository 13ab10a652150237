"""Real dialogues as the events of an application: who said what, how it was rated, when.

What the data sets do not have follows from what they do by plain arithmetic, so that a query over their files can do
the same: times from the number of the dialogue and of its line, latencies and tokens from the lengths of texts.

- MWOZ of "Simulating User Satisfaction" (Sun et al., SIGIR 2021): three to six annotators say of each line of the user
  how satisfied the user is with what the system said before it, and of the dialogue as a whole: 1 to 5.
- MultiWOZ 2.1 (Eric et al., LREC 2020), the validation part: dialogue acts, no ratings.
"""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from events.log import LogRecord

BEGIN = 1_711_929_600_000
"""Monday, 1 April 2024, 00:00 UTC."""
SPREAD = 3 * 24 * 3600
"""Seconds over which dialogues begin."""
STRIDE = 48_271
"""From the begin of one dialogue to that of the next, in seconds, modulo the spread."""
PACE = 20_000
"""Milliseconds from one line to the next."""
PERSONS, MODELS = 350, 3
USS, MULTIWOZ = "uss", "multiwoz"
_GIVEN_UP = ("NoOffer", "NoBook")


class Said(NamedTuple):
    """What one record of the log will hold.

    :arg time: Event time of the last that is said in it (ms since epoch).
    """

    time: int
    conversation: str
    value: dict[str, Any]


def begin_of(number: int) -> int:
    """Return when a dialogue begins (ms since epoch)."""
    return BEGIN + number * STRIDE % SPREAD * 1000


def uss(path: Path) -> Iterator[Said]:
    """Yield one event for each turn and each rating of the file."""
    dialogues = path.read_text(encoding="utf-8").strip().split("\n\n")
    for number, dialogue in enumerate(dialogues):
        conversation, answer, before = f"{USS}-{number}", "", ""
        for place, line in enumerate(dialogue.split("\n")):
            role, text, act, ratings = line.split("\t")
            time = begin_of(number) + place * PACE
            if text != "OVERALL":
                turn = _turn(number, place, text, answers=role == "SYSTEM", before=before, act=act)
                yield Said(time, conversation, {"type": "turn", "conversation": conversation, "time": time, **turn})
            whole = text == "OVERALL" or not answer
            for annotator, value in enumerate(filter(None, ratings.split(","))):
                at = time + 2_000 + annotator * 500
                rating = {
                    "type": "rating",
                    "conversation": conversation,
                    "id": f"{place}-{annotator}",
                    "time": at,
                    "turn": None if whole else answer,
                    "scale": "csat" if text == "OVERALL" else "stars",
                    "value": int(value),
                }
                yield Said(at, conversation, rating)
            answer, before = str(place) if role == "SYSTEM" else answer, text


def multiwoz(path: Path) -> Iterator[Said]:
    """Yield one event for each dialogue of the archive, in the order of their names."""
    with zipfile.ZipFile(path) as archive:
        dialogues = json.loads(archive.read("val.json"))
    for number, name in enumerate(sorted(dialogues)):
        turns: list[dict[str, Any]] = []
        before = ""
        for place, line in enumerate(dialogues[name]["log"]):
            text = line["text"]
            act = next((act for act in line["dialog_act"] if not act.startswith(("general-", "Booking-"))), "")
            given_up = any(act.endswith(_GIVEN_UP) for act in line["dialog_act"])
            turn = _turn(number, place, text, answers=place % 2 == 1, before=before, act=act)
            if place % 2:
                turn["fallback"] = given_up
            turns.append({**turn, "time": begin_of(number) + place * PACE})
            before = text
        yield Said(turns[-1]["time"], name, {"type": "conversation", "id": name, "turns": turns})


def _turn(number: int, place: int, text: str, *, answers: bool, before: str, act: str) -> dict[str, Any]:
    domain = act.partition("-")[0].lower()
    turn = {
        "id": str(place),
        "role": "assistant" if answers else "user",
        "text": text,
        "person": f"p{number % PERSONS}",
        "topic": None if domain == "general" else domain,
    }
    if not answers:
        return turn
    read, written = len(before.split(" ")), len(text.split(" "))
    return {
        **turn,
        "model": f"m{number % MODELS}",
        "latency": 300 + 7 * len(text),
        "tokens_in": read,
        "tokens_out": written,
        "cost": (read + 2 * written) * 1e-5,
        "fallback": act.endswith(_GIVEN_UP),
    }


def records(
    stream: str, said: Iterable[Said], seed: int, *, late: float = 0.03, twice: float = 0.03, reach: int = 400
) -> list[LogRecord]:
    """Return the records of a stream in the order in which they arrive.

    :arg late: Share of records that arrive after up to `reach` later ones.
    :arg twice: Share of records that arrive a second time, so much later.
    """
    chance = random.Random(seed)
    order: list[tuple[int, Said]] = []
    for place, one in enumerate(sorted(said, key=lambda one: one.time)):
        due = place + chance.randrange(reach) if chance.random() < late else place
        order.append((due, one))
        if chance.random() < twice:
            order.append((due + chance.randrange(1, reach), one))
    order.sort(key=lambda arrival: arrival[0])
    return [
        LogRecord(stream, 0, 0, one.time, one.conversation.encode(), json.dumps(one.value).encode()) for _, one in order
    ]
