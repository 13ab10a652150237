"""What the lake is to hold, told by another way than its own; and a lake flow run in this process."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

from bytewax.testing import cluster_main, run_main

from dataflows.lake import build
from events.feedback import Comment, FeedbackEvent, Point, Rating, Said, ShownContext, ShownItem, Turn, stands_over
from events.log import LogRecord
from operators.feedback.own import to_json
from stores.lake.reader import LakeReader
from stores.lake.working_size import read_working
from stores.log.files import FileLog
from stores.settings import Settings, load

BEGIN = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
OBJECTIVE = 60_000.0
SETTINGS = '[[feedback.streams]]\nname = "chat"\n[[feedback.streams]]\nname = "ratings"\n'


def moment(millis: int | None) -> datetime | None:
    """Return milliseconds as the lake has them."""
    return None if millis is None else datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=millis)


def expected(events: Iterable[FeedbackEvent]) -> dict[str, dict[str, Any]]:
    """Return the rows of the lake by conversation, without revisions."""
    standing: dict[tuple[str, str, str], Said] = {}
    for event in events:
        if not isinstance(event, Point):
            key = event.conversation, type(event).__name__, event.id
            if key not in standing or stands_over(event, standing[key]):
                standing[key] = event
    rows: dict[str, dict[str, Any]] = {}
    for conversation in sorted({event.conversation for event in standing.values()}):
        mine = sorted(
            (event for event in standing.values() if event.conversation == conversation),
            # A question goes before its answer.
            key=lambda event: (event.time, str(getattr(event, "role", "")) == "assistant", event.id),
        )
        turns = [event for event in mine if isinstance(event, Turn)]
        ratings = [event for event in mine if isinstance(event, Rating)]
        comments = [event for event in mine if isinstance(event, Comment)]
        contexts = [event for event in mine if isinstance(event, ShownContext)]
        if not turns:
            continue
        personal: list[Turn | Rating | Comment] = [*ratings, *comments, *turns]
        persons = [event.person for event in personal if event.person]
        languages = [turn.language for turn in turns if turn.language]
        consents = [turn.consent for turn in turns if turn.consent is not None]
        lags = [(item.stale, item.lag or 0) for context in contexts for item in context.items]
        missing = {turn.context for turn in turns if turn.context} - {context.id for context in contexts}
        begin = moment(turns[0].time)
        assert begin is not None
        rows[conversation] = {
            "id": conversation,
            "day": begin.date(),
            "begin": begin,
            "end": moment(turns[-1].time),
            "applications": sorted({turn.application for turn in turns} - {""}),
            "person": persons[-1] if persons else "",
            "persons": sorted(set(persons)),
            "language": languages[-1] if languages else "",
            "consent": consents[-1] if consents else None,
            "turns": [
                {
                    "id": turn.id, "time": moment(turn.time), "role": turn.role, "text": turn.text,
                    "application": turn.application, "model": turn.model, "language": turn.language,
                    "topic": turn.topic, "person": turn.person, "latency": turn.latency, "tokens_in": turn.tokens_in,
                    "tokens_out": turn.tokens_out, "cost": turn.cost, "fallback": turn.fallback,
                    "context": turn.context, "consent": turn.consent,
                }
                for turn in turns
            ],
            "ratings": [
                {"id": one.id, "time": moment(one.time), "scale": one.scale, "value": one.value, "turn": one.turn,
                 "person": one.person}
                for one in ratings
            ],
            "comments": [
                {"id": one.id, "time": moment(one.time), "text": one.text, "turn": one.turn, "person": one.person,
                 "language": one.language}
                for one in comments
            ],
            "contexts": [
                {
                    "id": one.id,
                    "time": moment(one.time),
                    "items": [
                        {"source": item.source, "document": item.document, "chunk": item.chunk,
                         "as_of": moment(item.as_of), "lag": item.lag, "stale": item.stale, "text": item.text}
                        for item in one.items
                    ],
                }
                for one in contexts
            ],
            "good": sum(one.value == 1 if one.scale == "thumbs" else one.value >= 4 for one in ratings),
            "bad": sum(one.value == 0 if one.scale == "thumbs" else one.value <= 2 for one in ratings),
            "fresh": False if any(stale or lag > OBJECTIVE for stale, lag in lags)
            else None if missing or not contexts else True,
        }  # fmt: skip
    return rows


def rows_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a lake by conversation, without revisions; none may be there twice."""
    rows: dict[str, dict[str, Any]] = {}
    for batch in LakeReader(folder).rows():
        for row in batch.to_pylist():
            assert row["id"] not in rows
            assert row.pop("revision")
            rows[row["id"]] = row
    return rows


def story(seed: int, conversations: int, days: int = 3) -> Iterator[FeedbackEvent]:
    """Make up conversations with feedback, much of it amended or late, in the order of their times."""
    chance = random.Random(seed)
    events: list[FeedbackEvent] = []
    for number in range(conversations):
        id_ = f"c{number}"
        at = BEGIN + chance.randrange(days * DAY)
        person = f"shop/customers/{chance.randrange(max(1, conversations // 4))}"
        for turn in range(chance.randint(1, 4)):
            at += chance.randrange(1, 90_000)
            events.append(Turn(id_, f"q{turn}", at, "user", f"Frage {turn} ✈", "travel", person=person, language="de"))
            at += chance.randrange(1, 20_000)
            context = f"x{turn}" if chance.random() < 0.7 else ""
            answer = Turn(
                id_, f"a{turn}", at, "assistant", "answer", "travel", "m1", "de", latency=chance.uniform(1, 9e3),
                tokens_in=chance.randrange(2000), tokens_out=chance.randrange(500), cost=chance.random() / 100,
                context=context, consent=chance.choice([None, True, False]),
            )  # fmt: skip
            events.append(answer)
            if context:
                items = tuple(
                    ShownItem(
                        "docs", f"d{chance.randrange(9)}", "k", at - HOUR, chance.choice([None, 5.0, 7e4]), text="…"
                    )
                    for _ in range(chance.randrange(3))
                )
                events.append(ShownContext(id_, context, at - 1, items))
            if chance.random() < 0.4:
                late = at + chance.randrange(chance.choice([MINUTE, DAY]))
                events.append(Rating(id_, f"r{turn}", late, "stars", float(chance.randint(1, 5)), f"a{turn}", person))
            if chance.random() < 0.2:
                events.append(Comment(id_, f"k{turn}", at + MINUTE, "war nicht hilfreich", f"a{turn}", person, "de"))
            if chance.random() < 0.1:
                events.append(Rating(id_, f"r{turn}", at + 2 * DAY, "thumbs", 0.0, f"a{turn}", person))
        if chance.random() < 0.1:
            events.append(Point(f"p{number}", at, "load", chance.random()))
    return iter(sorted(events, key=lambda event: (event.time, event.id)))


def record(events: Iterable[FeedbackEvent], folder: Path, *, partitions: int = 3) -> Path:
    """Write events to a log, feedback to another stream than what was said; some of them twice."""
    log = FileLog(folder, partitions=partitions)
    chance = random.Random(1)
    streams: dict[str, list[LogRecord]] = {"chat": [], "ratings": []}
    for event in events:
        stream = "ratings" if isinstance(event, (Rating, Comment)) else "chat"
        key = event.name if isinstance(event, Point) else event.conversation
        for _ in range(2 if chance.random() < 0.05 else 1):
            streams[stream].append(LogRecord(stream, 0, 0, event.time, key.encode(), to_json(event)))
    for stream, records in streams.items():
        log.append(stream, records)
    return folder


def content(data: Path) -> dict[str, Any]:
    """Return the rows of the lake in `data` in a form that can be written down, and the offsets taken in."""
    applied = {
        f"{mark.source}/{mark.partition}": mark.offset for mark in read_working(data / "conversations.sqlite3").applied
    }
    return {"rows": json.loads(json.dumps(rows_in(data / "lake"), default=str)), "applied": applied}


def settings_of(data: Path, config: Path, **overrides: Any) -> Settings:
    """Return the settings of `config` with another data folder."""
    with mock.patch.dict(os.environ, {"HEADRACE_CONFIG": str(config)}):
        return load(data_dir=data, **overrides)


def replay(log: Path, data: Path, *, workers: int = 1, batch: int = 1000) -> dict[str, Any]:
    """Run the lake flow over recorded streams to their end; return what the lake holds."""
    data.mkdir(parents=True, exist_ok=True)
    config = data / "headrace.toml"
    config.write_text(SETTINGS)
    flow = build(settings_of(data, config, mode="replay", log={"dir": log}, lake={"batch_size": batch}))
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    return content(data)
