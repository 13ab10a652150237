"""Answers by a model, against a server that streams, stalls, errs, rate-limits and lies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from events.errors import SettingsError
from serving.answer.answerer import Answerer
from serving.answer.endpoint import completions_url
from serving.answer.extractive import DEGRADED
from serving.answer.parts import EXTRACTIVE, Answer, Token
from serving.context.request import Said
from tests.servers.model import (
    DONE,
    Asked,
    Forever,
    ModelServer,
    Reply,
    Wait,
    delta,
    event,
    model_server,
    refused,
    spoken,
    usage,
)
from tests.serving.answer.samples import BICYCLE, BIKES, KEY, NOW, parts, settings, told, whole

SLACK = 3.0
"""Seconds that this machine may be busy with something else."""


def answer_to(behave: Reply | Callable[[Asked], Reply], **given: object) -> Answer:
    with model_server(behave) as server:
        return whole(parts(settings(server.url, **given)))


def test_a_model_answers_with_citations_of_what_it_was_shown() -> None:
    with model_server(spoken("It costs ", "EUR 60 [2], [7].", tokens=(90, 12))) as server:
        found = parts(settings(server.url, temperature=0.2))
    assert found[:2] == [Token("It costs "), Token("EUR 60 [2], [7].")]
    answer = whole(found)
    assert [one.id for one in answer.citations] == [BICYCLE.id]
    assert answer.unknown == (7,)
    assert (answer.model, answer.degraded) == ("tiny", "")
    assert (answer.tokens_in, answer.tokens_out) == (90, 12)
    assert 0 < answer.first_token <= answer.latency
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert {name: asked.body[name] for name in asked.body if name != "messages"} == {
        "model": "tiny",
        "stream": True,
        "max_tokens": 700,
        "temperature": 0.2,
        "stream_options": {"include_usage": True},
    }
    assert asked.body["messages"][0]["role"] == "system"
    assert BIKES.question in asked.body["messages"][-1]["content"]


def test_what_was_said_before_is_told_to_the_model() -> None:
    with model_server(spoken("Yes.")) as server:
        parts(settings(server.url), history=[Said("user", "I have a dog."), Said("assistant", "Noted.")])
    roles = [message["role"] for message in server.asked[0].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        pytest.param(spoken("one"), "one", id="plain"),
        pytest.param(
            Reply([b": hello\r\n\r\n", delta("one").replace(b"\n", b"\r\n"), DONE]), "one", id="comments, CRLF"
        ),
        pytest.param(Reply([b"\xef\xbb\xbf" + delta("one"), DONE]), "one", id="byte order mark"),
        pytest.param(Reply([delta("one"), b"data: [DONE]"]), "one", id="no last line end"),
        pytest.param(Reply([delta("one"), delta(finish="stop")]), "one", id="no [DONE]"),
        pytest.param(Reply([delta("one"), DONE]), "one", id="no reason of the end"),
        pytest.param(Reply([delta("one"), DONE, Wait()]), "one", id="open after the end"),
        pytest.param(Reply([delta("one"), delta(finish="stop"), Wait()]), "one", id="silent after the end"),
        pytest.param(Reply([delta("one"), delta(finish="stop"), b"data: ?\n\n"]), "one", id="garbage after the end"),
        pytest.param(Reply([*(bytes([byte]) for byte in delta("öne")), DONE]), "öne", id="byte by byte"),
        pytest.param(
            Reply([b'data: {"choices": [{"delta":\ndata: {"content": "one"}}]}\n\n', DONE]), "one", id="lines of data"
        ),
        pytest.param(
            Reply([b'{"choices": [{"message": {"content": "one"},\n "finish_reason": "stop"}]}']), "one", id="at once"
        ),
        pytest.param(
            Reply([delta("<think>two, or"), delta(" one?</think>\n"), delta("one"), DONE]), "one", id="thoughts"
        ),
        pytest.param(Reply([delta(reasoning_content="hm"), delta("one"), DONE]), "one", id="thoughts beside it"),
        pytest.param(Reply([delta("\n\n  one"), DONE]), "one", id="white space first"),
        pytest.param(Reply([delta("o\x1b[31mn\x00e\ud83d"), DONE]), "o[31mne", id="control characters"),
        pytest.param(Reply([delta("<thin"), DONE]), "<thin", id="like a thought"),
        pytest.param(
            Reply([event({"choices": [{"delta": {"content": [{"type": "text", "text": "one"}]}}]}), DONE]),
            "one",
            id="typed parts",
        ),
    ],
)
def test_any_usual_way_to_say_it_is_understood(reply: Reply, text: str) -> None:
    answer = answer_to(reply)
    assert (answer.text, answer.degraded, answer.model) == (text, "", "tiny")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param(refused(500), "has failed (500)", id="500"),
        pytest.param(refused(503), "has failed (503)", id="503"),
        pytest.param(refused(429, Retry_After="60"), "is busy (429) and asks to be left alone for 60 s", id="429"),
        pytest.param(
            refused(401, {"error": KEY}), "refuses the key (401): set HEADRACE_SERVING__ANSWER__KEY", id="401"
        ),
        pytest.param(refused(403), "refuses the key (403): set HEADRACE_SERVING__ANSWER__KEY", id="403"),
        pytest.param(refused(404), "correct serving.answer.model or serving.answer.url", id="404"),
        pytest.param(
            refused(400, {"error": {"code": "context_length_exceeded"}}),
            "refuses the request (400, context_length_exceeded)",
            id="400",
        ),
        pytest.param(refused(400, {"error": {"code": KEY}}), "refuses the request (400): see", id="400 with the key"),
        pytest.param(refused(400, "[" * 9_000), "refuses the request (400): see", id="400 with garbage"),
        pytest.param(refused(307, Location="http://127.0.0.1:9/v1"), "redirects are not followed", id="307"),
        pytest.param(Reply(), "said nothing", id="nothing"),
        pytest.param(Reply([DONE]), "said nothing", id="an end only"),
        pytest.param(Reply([b"<html>busy</html>"]), "said nothing", id="a page"),
        pytest.param(Reply([b"data: ?\n\n"]), "sends what is no answer", id="no JSON"),
        pytest.param(Reply([b"data: [1]\n\n"]), "sends what is no answer", id="a list"),
        pytest.param(Reply([b"{" * 300_000]), "sends what is no answer", id="deep JSON"),
        pytest.param(Reply([b"x" * 600_000]), "sends what is no answer", id="an endless line"),
        pytest.param(Reply([event({"error": {"message": KEY}})]), "tells of an error", id="an error in the stream"),
        pytest.param(Reply([delta(finish="content_filter"), DONE]), "let no answer through its filter", id="filter"),
        pytest.param(
            Reply([delta("<think>"), delta(finish="length")]), "said nothing within the 700 tokens", id="thoughts only"
        ),
        pytest.param(Reply([b"\x1f\x8b"], headers={"Content-Encoding": "gzip"}), "compressed", id="compressed"),
        pytest.param(Reply([b"Nonsense\r\n\r\n"], is_raw=True), "broke off", id="no HTTP"),
        pytest.param(Reply([], is_raw=True, end="close"), "broke off", id="closed at once"),
        pytest.param(Reply([], is_raw=True, end="reset"), "broke off", id="reset at once"),
        pytest.param(Reply([b": hm\n\n"], end="reset"), "broke off", id="reset before the first token"),
        pytest.param(Reply([Wait()], is_raw=True), "did not begin to answer within 0.5 s", id="silent"),
        pytest.param(Reply([Wait()]), "did not begin to answer within 0.5 s", id="silent after the status"),
        pytest.param(
            Reply([Forever(b": ping\n\n", 0.01)]), "did not begin to answer within 0.5 s", id="signs of life only"
        ),
        pytest.param(
            Reply([Forever(b"HTTP/1.1 1", 0.01)], is_raw=True), "did not begin|broke off", id="an endless status"
        ),
        pytest.param(
            Reply([Forever(delta(reasoning_content="hm "), 0.001)]),
            "did not begin|far more than",
            id="endless thoughts",
        ),
    ],
)
def test_before_the_first_token_a_failure_is_answered_from_the_context_and_says_why(reply: Reply, said: str) -> None:
    # What fails by itself does so long before a limit that a busy machine does not reach.
    limit = 0.5 if "did not begin" in said else 30.0
    begun = time.monotonic()
    answer = answer_to(reply, first_token_seconds=limit)
    assert time.monotonic() - begun < limit + SLACK
    assert answer.model == EXTRACTIVE
    assert "A bicycle costs EUR 60 per flight." in answer.text
    assert answer.text.endswith(DEGRADED)
    assert answer.degraded.startswith("the model's endpoint ")
    assert any(one in answer.degraded for one in said.split("|"))
    assert KEY not in answer.degraded


@pytest.mark.parametrize(
    ("pieces", "end", "said"),
    [
        ([Wait()], "whole", "fell silent for 0.3 s"),
        ([Forever(b": ping\n\n", 0.01)], "whole", "fell silent for 0.3 s"),
        ([], "whole", "broke off"),
        ([], "close", "broke off"),
        ([], "reset", "broke off"),
        ([b"data: ?\n\n"], "whole", "sends what is no answer"),
        ([event({"error": {"message": KEY}})], "whole", "tells of an error"),
        ([b"data: " + b"x" * 600_000], "whole", "sends what is no answer"),
        ([delta(finish="length")], "whole", "more than the 700 tokens"),
        ([delta(finish="content_filter")], "whole", "filter let no more"),
        ([Forever(delta("la "))], "whole", "took longer than 2 s|far more than"),
        ([Forever(delta("la "), 0.05)], "whole", "took longer than 2 s"),
    ],
)
def test_an_answer_that_breaks_off_is_kept_as_far_as_it_came(pieces: list[bytes], end: str, said: str) -> None:
    begun = time.monotonic()
    answer = answer_to(Reply([delta("It costs EUR 60 [2]"), *pieces], end=end), seconds=2.0, retries=3)  # type: ignore[arg-type]  # of the table
    assert time.monotonic() - begun < 2.0 + SLACK
    assert answer.text.startswith("It costs EUR 60 [2]")
    assert answer.text.replace("la ", "") == "It costs EUR 60 [2]"
    assert [one.number for one in answer.citations] == [2]
    assert answer.model == "tiny"
    assert answer.degraded.startswith("the answer is cut: ")
    assert any(one in answer.degraded for one in said.split("|"))
    assert KEY not in answer.degraded


@pytest.mark.parametrize(
    "failure",
    [
        refused(500),
        refused(429),
        refused(429, Retry_After="0.1"),
        Reply([], is_raw=True, end="reset"),
        Reply([b"data: ?\n\n"]),
        Reply(),
    ],
)
def test_before_the_first_token_it_is_tried_again(failure: Reply) -> None:
    with model_server(lambda asked: failure if asked.number < 3 else spoken("Yes.")) as server:
        answer = whole(parts(settings(server.url, retries=2)))
        assert (answer.text, answer.degraded) == ("Yes.", "")
        assert len(server.asked) == 3
    assert answer.first_token >= 250 + 500


def test_it_is_not_tried_more_often_than_allowed() -> None:
    with model_server(refused(500)) as server:
        answer = whole(parts(settings(server.url, retries=1)))
    assert len(server.asked) == 2
    assert answer.degraded == "the model's endpoint has failed (500), asked 2 times"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 307])
def test_what_another_try_cannot_mend_is_not_tried_again(status: int) -> None:
    with model_server(refused(status)) as server:
        parts(settings(server.url, retries=3))
    bodies = [asked.body for asked in server.asked]
    # A refused request is sent once more without what some endpoints do not know.
    assert len(bodies) == (2 if status == 400 else 1)


def test_what_an_endpoint_wants_in_vain_is_not_waited_for() -> None:
    begun = time.monotonic()
    answer = answer_to(refused(503, Retry_After="30"), retries=3, first_token_seconds=20.0, seconds=30.0)
    assert time.monotonic() - begun < SLACK
    assert "left alone for 30 s" in answer.degraded


def test_an_endpoint_that_refuses_options_is_asked_without_them_from_then_on() -> None:
    def picky(asked: Asked) -> Reply:
        if "max_tokens" in asked.body:
            return refused(400, {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}})
        if "temperature" in asked.body:
            return refused(400, {"error": {"message": "'temperature' is not supported."}})
        return refused(422) if "stream_options" in asked.body else spoken("Yes.")

    async def twice(server: ModelServer) -> list[Answer]:
        answerer = Answerer(settings(server.url, temperature=0.0), lambda: NOW)
        answers = [whole(await told(answerer)) for _ in range(2)]
        await answerer.aclose()
        return answers

    with model_server(picky) as server:
        assert [answer.text for answer in asyncio.run(twice(server))] == ["Yes.", "Yes."]
    assert len(server.asked) == 5
    assert server.asked[-1].body["max_completion_tokens"] == 700


def test_an_endpoint_that_fails_in_a_row_is_left_alone_and_then_asked_once_more() -> None:
    time_of = [1000.0]

    async def run(server: ModelServer) -> list[Answer]:
        given = settings(server.url, breaker_failures=2, breaker_seconds=30.0, seconds=50.0, first_token_seconds=50.0)
        answerer = Answerer(given, lambda: NOW, now=lambda: time_of[0])
        answers = [whole(await told(answerer)) for _ in range(4)]
        time_of[0] += 30.0
        server.behave = lambda _: spoken("Back.")
        answers.append(whole(await told(answerer)))
        await answerer.aclose()
        return answers

    with model_server(refused(401)) as server:
        first, second, third, fourth, last = asyncio.run(run(server))
        assert len(server.asked) == 3
    assert first.degraded == second.degraded
    assert third.degraded == fourth.degraded
    assert "is left alone for another 30 s" in third.degraded
    assert "refuses the key (401): set HEADRACE_SERVING__ANSWER__KEY" in third.degraded
    assert (last.text, last.degraded) == ("Back.", "")


@pytest.mark.parametrize("pieces", [[Wait()], [delta("a"), Wait()]])
def test_whoever_goes_away_closes_the_connection(pieces: list[bytes | Wait]) -> None:
    async def leave(server: ModelServer) -> None:
        answerer = Answerer(settings(server.url, stall_seconds=20.0, first_token_seconds=20.0), lambda: NOW)
        task = asyncio.ensure_future(told(answerer))
        await asyncio.to_thread(server.wait_until, lambda: bool(server.asked))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait_until, lambda: server.left == 1)
        await answerer.aclose()

    with model_server(Reply(pieces)) as server:
        asyncio.run(leave(server))


def test_closing_the_generator_closes_the_connection() -> None:
    async def leave(server: ModelServer) -> None:
        answerer = Answerer(settings(server.url, stall_seconds=20.0), lambda: NOW)
        stream = answerer.stream(BIKES)
        assert await anext(stream) == Token("a")
        await stream.aclose()
        await asyncio.to_thread(server.wait_until, lambda: server.left == 1)
        await answerer.aclose()

    with model_server(Reply([delta("a"), Wait()])) as server:
        asyncio.run(leave(server))


def test_a_slow_reader_is_no_stall_of_the_endpoint() -> None:
    async def slowly(server: ModelServer) -> Answer:
        answerer = Answerer(settings(server.url, stall_seconds=0.3), lambda: NOW)
        found = []
        async for part in answerer.stream(BIKES):
            found.append(part)
            await asyncio.to_thread(server.closing.wait, 0.4)
        await answerer.aclose()
        return whole(found)

    with model_server(spoken("a", "b", "c")) as server:
        answer = asyncio.run(slowly(server))
    assert (answer.text, answer.degraded) == ("abc", "")


def test_many_are_answered_at_once() -> None:
    async def all_of_them(server: ModelServer) -> list[Answer]:
        answerer = Answerer(settings(server.url, seconds=20.0, first_token_seconds=20.0), lambda: NOW)
        found = await asyncio.gather(*(told(answerer) for _ in range(40)))
        await answerer.aclose()
        return [whole(one) for one in found]

    with model_server(Reply([Wait(0.2), *spoken("Yes.").pieces])) as server:
        answers = asyncio.run(all_of_them(server))
    assert {answer.text for answer in answers} == {"Yes."}


def test_one_answerer_can_be_used_from_one_loop_after_another() -> None:
    with model_server(spoken("Yes.")) as server:
        answerer = Answerer(settings(server.url), lambda: NOW)
        assert [whole(asyncio.run(told(answerer))).text for _ in range(2)] == ["Yes.", "Yes."]


def test_an_endpoint_that_is_not_there_is_said_to_be_unreachable() -> None:
    with model_server(Reply()) as server:
        url = server.url
    assert "could not be reached: is serving.answer.url right" in whole(parts(settings(url))).degraded


def test_without_a_key_the_endpoint_is_said_to_want_one() -> None:
    answer = answer_to(refused(401), key=None)
    assert "wants a key (401): set HEADRACE_SERVING__ANSWER__KEY" in answer.degraded


def test_nothing_that_is_logged_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer_to(refused(401, {"error": {"message": KEY}}))
    assert "chat/completions" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/chat/completions"),
        ("https://api.example/v1/", "https://api.example/v1/chat/completions"),
        ("https://api.example/v1/chat/completions", "https://api.example/v1/chat/completions"),
        ("https://a.example/openai?api-version=1", "https://a.example/openai/chat/completions?api-version=1"),
    ],
)
def test_the_address_of_completions_is_below_that_of_the_endpoint(url: str, found: str) -> None:
    assert completions_url(url) == found


@pytest.mark.parametrize("url", ["http://", "http://a:0/v1", "https://a:x/v1", "http://[::1", "https://u:p@a/v1"])
def test_an_address_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Answerer(settings(url), lambda: NOW)
    assert "serving.answer.url" in refusal.value.detail
    assert "u:p" not in str(refusal.value)


def test_a_key_that_no_header_can_carry_is_refused_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        Answerer(settings("http://127.0.0.1/v1", key="sk-ü\n"), lambda: NOW)
    assert "sk-" not in str(refusal.value)


FRAGMENTS = (
    b"data: ",
    b"\n\n",
    b"\r\n",
    b'{"choices": [{"delta": {"content": "a"}}]}',
    b"[DONE]",
    b"event: x\n",
    b"{",
    b"\xff",
)
CHUNKS = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(FRAGMENTS)), max_size=12)


@examples(max_examples=60)
@given(pieces=CHUNKS, is_raw=st.booleans(), end=st.sampled_from(("whole", "close", "reset")))
@example(pieces=[b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", delta("a")], is_raw=True, end="close")
@example(pieces=[b"HTTP/1.1 999 \xff\r\n\r\n"], is_raw=True, end="whole")
@example(pieces=[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"], is_raw=True, end="close")
@example(pieces=[b"HTTP/1.1 200 OK\r\nRetry-After: \xff\r\nContent-Encoding: \xff\r\n\r\n"], is_raw=True, end="close")
@example(pieces=[b"HTTP/1.1 100 Continue\r\n\r\n" * 50], is_raw=True, end="close")
def test_whatever_the_endpoint_sends_tokens_and_one_answer_come_out(
    pieces: list[bytes], is_raw: bool, end: str
) -> None:
    reply = Reply(pieces, is_raw=is_raw, end=end)  # type: ignore[arg-type]  # of the strategy
    with model_server(reply) as server:
        whole(parts(settings(server.url, stall_seconds=0.2, first_token_seconds=0.5, seconds=1.0)))


def test_the_usage_is_taken_wherever_it_is_told() -> None:
    reply = Reply([usage(5, 0), delta("a"), usage(5, 1), delta("b", "stop"), usage(5, 2), DONE])
    answer = answer_to(reply)
    assert (answer.tokens_in, answer.tokens_out) == (5, 2)
