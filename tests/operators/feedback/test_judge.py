"""Verdicts at once and verdicts later: whatever fails, stalls or dies, each text is judged or given up."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bytewax.operators as op
import msgspec
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from events.erasure import Erasure
from events.errors import RejectedError
from events.feedback import Comment, FeedbackEvent, Judgement, Point, Rating, Timed, Turn, Verdict
from operators.feedback.judge import (
    MANY_WAITING,
    MOST_CHARACTERS,
    Asked,
    GivenUp,
    Lane,
    judge_later,
    judge_now,
    lanes_of,
    remembering,
    text_of,
)
from stores.sentiment.chat import Chat
from stores.sentiment.endpoint import Endpoint
from tests.servers.chat import ChatServer, Reply, Request, chat_server, honest, label

KNOWN = Verdict("neutral", (), 1.0, "somebody")
Told = "Judgement | GivenUp"


def comment(number: int, text: str) -> Timed:
    return Timed(Comment(f"c{number % 7}", f"m{number}", number, text), number + 1000)


def question(number: int, text: str, topic: str = "") -> Timed:
    return Timed(Turn(f"c{number % 7}", f"t{number}", number, "user", text, topic=topic), number + 1000)


class Words:
    """Judges by single words; remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> list[Verdict]:
        self.calls.append(list(texts))
        return [Verdict(category, tuple(topics), 0.75, "words") for category, topics in map(label, texts)]


def test_comments_get_a_verdict_and_questions_without_a_topic_their_surest_one() -> None:
    batch = [
        comment(1, "good"),
        question(2, "my refund and my baggage"),
        question(3, "my refund", topic="fares"),
        question(4, "hello"),
        Timed(Turn("c", "a", 5, "assistant", "your refund"), 5),
        Timed(Comment("c", "judged", 6, "bad", verdict=KNOWN), 6),
        Timed(Rating("c", "r", 7, "thumbs", 1), 7),
        Timed(Point("p", 8, "load", 0.5), 8),
        comment(9, " \n"),
    ]
    words = Words()
    judged = judge_now(batch, words)
    expected: list[FeedbackEvent] = [timed.event for timed in batch]
    expected[0] = msgspec.structs.replace(batch[0].event, verdict=Verdict("satisfied", (), 0.75, "words"))
    expected[1] = msgspec.structs.replace(batch[1].event, topic="refund")
    assert [timed.event for timed in judged] == expected
    assert [timed.watermark for timed in judged] == [timed.watermark for timed in batch]
    assert words.calls == [["good", "my refund and my baggage", "hello"]]


def test_a_batch_with_nothing_to_judge_asks_nobody() -> None:
    words = Words()
    batch = [Timed(Rating("c", "r", 7, "thumbs", 1), 7)]
    assert judge_now(batch, words) == batch
    assert judge_now([], words) == []
    assert words.calls == []


def test_a_text_that_comes_again_is_not_judged_again() -> None:
    words = Words()
    classify = remembering(words, most=2)
    judge_now([comment(1, "good"), comment(2, "good"), comment(3, "bad")], classify)
    judge_now([comment(4, "bad"), comment(5, "good"), comment(6, "so so")], classify)
    assert words.calls == [["good", "bad"], ["so so"]]
    # `bad` has been out of use for longest.
    assert [verdict.category for verdict in classify(["good", "bad", "good"])] == [
        "satisfied",
        "dissatisfied",
        "satisfied",
    ]
    assert words.calls[2:] == [["bad"]]


def test_of_a_very_long_text_the_beginning_is_judged_and_all_is_kept() -> None:
    text = "good " + "x" * 1_000_000
    words = Words()
    (judged,) = judge_now([comment(1, text)], words)
    assert isinstance(judged.event, Comment)
    assert judged.event.text == text
    assert words.calls == [[text[:MOST_CHARACTERS]]]
    assert text_of(comment(1, text)) == text[:MOST_CHARACTERS]


def test_what_is_in_flight_of_one_text_is_in_one_lane_whoever_asks() -> None:
    batch = [comment(number, "good") for number in range(500)]
    lanes = dict(lanes_of(batch))
    assert sum(len(asks) for asks in lanes.values()) == 500
    assert set(lanes) == {f"{number:02d}" for number in range(16)}
    again = dict(lanes_of(batch[::-1]))
    assert {lane: sorted(asks) for lane, asks in lanes.items()} == {lane: sorted(asks) for lane, asks in again.items()}


class ByHand:
    """Somebody whose answers a test gives by hand."""

    def __init__(self) -> None:
        self.open: dict[str, Future[Verdict]] = {}

    def submit(self, text: str) -> Future[Verdict]:
        return self.open.setdefault(text, Future())


def asks(*numbers: int) -> list[tuple[Any, ...]]:
    return [("comment", "c", f"m{number}", number, number + 1000, f"text {number}") for number in numbers]


def test_a_lane_tells_what_is_answered_and_keeps_the_rest_as_its_state() -> None:
    somebody, now = ByHand(), [1_000_000]
    lane = Lane(somebody, lambda: now[0])
    assert lane.notify_at() is None
    assert lane.on_batch([asks(1, 2), asks(3)]) == ([], lane.RETAIN)
    before = lane.snapshot()
    assert before == (1, asks(1, 2, 3))
    assert lane.notify_at() == datetime.fromtimestamp(1000.05, timezone.utc)
    now[0] += 4_000
    assert lane.notify_at() == datetime.fromtimestamp(1004.5, timezone.utc)
    somebody.open["text 2"].set_result(KNOWN)
    somebody.open["text 3"].set_exception(RejectedError("no\nuse", "never mind"))
    assert lane.on_notify() == (
        [Judgement("comment", "c", "m2", 2, KNOWN, 1002), GivenUp("comment", "c", "m3", 3, "no use (never mind)")],
        lane.RETAIN,
    )
    assert lane.snapshot() == (1, asks(1))
    assert before == (1, asks(1, 2, 3))
    somebody.open["text 1"].set_exception(OSError("gone"))
    assert lane.on_eof()[0] == [GivenUp("comment", "c", "m1", 1, "unexpected OSError: gone")]
    assert lane.notify_at() is None


def test_a_lane_that_goes_on_asks_again_for_what_was_in_flight() -> None:
    somebody = ByHand()
    lane = Lane(somebody, lambda: 0, state=(1, asks(1, 2)))
    assert list(somebody.open) == ["text 1", "text 2"]
    # The same event from the log once more is the same question.
    lane.on_batch([asks(2)])
    assert lane.snapshot() == (1, asks(1, 2))
    with pytest.raises(ValueError, match="layout 2"):
        Lane(somebody, lambda: 0, state=(2, []))


def test_with_too_much_in_flight_the_rest_waits_in_the_lane_and_not_the_flow() -> None:
    somebody = ByHand()
    lane = Lane(somebody, lambda: 0, most=2)
    assert lane.on_batch([asks(1, 2, 3), asks(4, 3)]) == ([], lane.RETAIN)
    assert list(somebody.open) == ["text 1", "text 2"]
    assert lane.snapshot() == (1, asks(1, 2, 3, 4))
    somebody.open["text 2"].set_result(KNOWN)
    assert lane.on_notify()[0] == [Judgement("comment", "c", "m2", 2, KNOWN, 1002)]
    assert list(somebody.open) == ["text 1", "text 2", "text 3"]
    assert lane.snapshot() == (1, asks(1, 3, 4))


def test_what_waited_waits_again_after_a_restart() -> None:
    somebody = ByHand()
    lane = Lane(somebody, lambda: 0, most=2, state=(1, asks(1, 2, 3)))
    assert list(somebody.open) == ["text 1", "text 2"]
    assert lane.snapshot() == (1, asks(1, 2, 3))


def test_at_the_end_a_lane_asks_for_all_that_waits_and_awaits_it() -> None:
    somebody = ByHand()
    lane = Lane(somebody, lambda: 0, most=2)
    lane.on_batch([asks(*range(7))])
    told: list[Judgement | GivenUp] = []
    ending = threading.Thread(target=lambda: told.extend(lane.on_eof()[0]))
    ending.start()
    for number in range(7):
        deadline = time.monotonic() + 20
        while f"text {number}" not in somebody.open:
            assert time.monotonic() < deadline
            threading.Event().wait(0.002)
        somebody.open[f"text {number}"].set_result(KNOWN)
    ending.join(20)
    assert not ending.is_alive()
    assert told == [Judgement("comment", "c", f"m{number}", number, KNOWN, number + 1000) for number in range(7)]
    assert lane.snapshot() == (1, [])
    assert lane.notify_at() is None


def test_what_waits_of_a_person_who_is_forgotten_is_never_asked() -> None:
    somebody = ByHand()
    lane = Lane(somebody, lambda: 0, most=1)
    lane.on_batch([asks(1, 2)])
    lane.on_batch([Erasure("e", "shop", "p", (), (), 1, ("c",))])
    assert lane.snapshot() == (1, [])
    assert lane.notify_at() is None


def test_that_very_many_wait_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    lane = Lane(ByHand(), lambda: 0, most=1)
    for start in range(0, MANY_WAITING + 3000, 1000):
        lane.on_batch([asks(*range(start, start + 1000))])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "10999 texts wait" in record.getMessage()


def test_who_cannot_even_be_asked_costs_the_verdict_only() -> None:
    class Closed:
        def submit(self, text: str) -> Future[Verdict]:
            raise RejectedError(text)

    lane = Lane(Closed(), lambda: 0)
    assert lane.on_batch([asks(1)])[0] == [GivenUp("comment", "c", "m1", 1, "text 1")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with chat_server() as running:
        yield running


class Hurried:
    """Time in which pauses are over at once."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def now(self) -> float:
        return time.monotonic() + self._skipped

    async def pause(self, seconds: float) -> None:
        self._skipped += seconds
        await asyncio.sleep(0)


class Opened:
    """Opens endpoints of a server, and closes them at the end."""

    def __init__(self, server: ChatServer) -> None:
        self._server = server
        self.endpoints: list[Endpoint] = []

    def __call__(self) -> Asked:
        chat = Chat("tiny", ("satisfied", "dissatisfied", "neutral"), ("refund", "baggage"))
        given: dict[str, Any] = {"attempts": 3, "timeout": 10, "clock": lambda: 0, "chance": lambda: 0.0}
        time_ = Hurried()
        made = Endpoint(self._server.url, chat, **given, now=time_.now, pause=time_.pause)
        self.endpoints.append(made)
        return made

    def close(self) -> None:
        for one in self.endpoints:
            one.close()


@pytest.fixture
def opened(server: ChatServer) -> Iterator[Opened]:
    opened = Opened(server)
    yield opened
    opened.close()


def flow_over(source: Any, opened: Opened, told: list[Judgement | GivenUp], most_pending: int = 256) -> Dataflow:
    flow = Dataflow("judging")
    judged = judge_later("judge", op.input("in", flow, source), opened, most_pending=most_pending)
    merged: Any = op.merge("told", judged.judgements, judged.given_up)
    op.output("out", merged, TestingSink(told))
    return flow


def texts(count: int) -> list[Timed]:
    words = ["good", "bad", "plain"]
    make = [comment, question]
    return [make[number % 2](number, f"{words[number % 3]} refund {number}") for number in range(count)]


def expected(batch: list[Timed], model: str) -> set[Judgement]:
    found = set()
    for timed in batch:
        event = timed.event
        assert isinstance(event, Comment | Turn)
        kind: Any = "comment" if isinstance(event, Comment) else "turn"
        category, topics = label(event.text)
        verdict = Verdict(category, tuple(topics), 0.75, model)
        found.add(Judgement(kind, event.conversation, event.id, event.time, verdict, timed.watermark))
    return found


def failing(request: Request) -> Reply:
    """Fail each text once, in one way or another."""
    if request.nth > 1:
        return honest(request)
    ways = [Reply(500), Reply(429, headers={"Retry-After": "0"}), Reply(body=b"?")]
    return ways[request.number % 3]


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_in_flight_is_told_before_the_flow_ends(server: ChatServer, opened: Opened, workers: int) -> None:
    server.behave = failing
    batch = texts(90)
    told: list[Judgement | GivenUp] = []
    flow = flow_over(TestingSource(batch, 10), opened, told)
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    (endpoint,) = opened.endpoints
    assert len(told) == 90
    assert set(told) == expected(batch, endpoint.model)
    assert len(server.requests) == 180


def test_a_flow_with_little_room_loses_nothing(server: ChatServer, opened: Opened) -> None:
    batch = texts(48)
    told: list[Judgement | GivenUp] = []
    run_main(flow_over(TestingSource(batch, 48), opened, told, most_pending=1))
    assert set(told) == expected(batch, opened.endpoints[0].model)
    assert len(told) == 48


def test_what_the_endpoint_never_answers_is_given_up_and_the_rest_goes_on(server: ChatServer, opened: Opened) -> None:
    server.behave = lambda request: Reply(500) if "bad" in request.text else honest(request)
    batch = texts(30)
    told: list[Judgement | GivenUp] = []
    run_main(flow_over(TestingSource(batch, 10), opened, told))
    good = [timed for timed in batch if "bad" not in getattr(timed.event, "text", "")]
    model = opened.endpoints[0].model
    assert {item for item in told if isinstance(item, Judgement)} == expected(good, model)
    given_up = [item for item in told if isinstance(item, GivenUp)]
    assert len(given_up) == 10
    assert all("it answered 500" in item.reason for item in given_up)


def test_after_a_crash_what_was_in_flight_is_asked_again_and_nothing_is_lost(
    server: ChatServer, opened: Opened, tmp_path: Path
) -> None:
    init_db_dir(tmp_path, 1)
    recovery = RecoveryConfig(str(tmp_path))
    first, second = texts(60)[:40], texts(60)[40:]
    source = TestingSource([*first, TestingSource.ABORT(), *second], 5)
    told: list[Judgement | GivenUp] = []

    def stalling(request: Request) -> Reply:
        return honest(request) if request.number <= 2 else Reply(stall=True)

    server.behave = stalling
    run_main(flow_over(source, opened, told), epoch_interval=timedelta(0), recovery_config=recovery)
    assert len(told) <= 2
    opened.close()
    server.behave = honest
    run_main(flow_over(source, opened, told), epoch_interval=timedelta(0), recovery_config=recovery)
    assert set(told) == expected(first + second, opened.endpoints[-1].model)
    assert len(told) <= len(first + second) + 2


def test_nobody_looks_for_answers_while_there_are_none(server: ChatServer, opened: Opened) -> None:
    looks = [0]

    def counting() -> int:
        looks[0] += 1
        return 1_700_000_000_000

    lane = Lane(opened(), counting)
    lane.on_batch([])
    before = looks[0]
    assert all(lane.notify_at() is None for _ in range(100))
    assert looks[0] == before
