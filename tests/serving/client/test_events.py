"""The stream of an answer is read the same however its bytes are cut; one that breaks off is an error."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client.documents import Answer, Token
from serving.client.errors import BrokenError, StaleError, UnavailableError
from serving.client.events import EventReader

ANSWER = {"turn": "t", "conversation": "c", "context": "x", "text": "ä [1]", "model": "m", "latency_ms": 2.0,
          "first_token_ms": 1.0, "a_newer_field": {"of": "a newer server"}}  # fmt: skip


def event(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


STREAM = (
    event("token", {"text": "ä "}) + b": still here\n\n" + event("news", {}) + event("token", {"text": "[1]\n\n"})
    + event("answer", ANSWER)
)  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_how_the_bytes_are_cut_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()
    found = [one for begin, end in pairwise(edges) for one in reader.feed(STREAM[begin:end])]
    reader.end()
    assert found[:2] == [Token(text="ä "), Token(text="[1]\n\n")]
    assert isinstance(found[2], Answer)
    assert found[2].text == "ä [1]"


def test_an_answer_that_breaks_off_is_an_error() -> None:
    reader = EventReader()
    reader.feed(STREAM[:-1])
    with pytest.raises(BrokenError) as raised:
        reader.end()
    assert raised.value.kind == "cut"


def test_an_error_in_the_stream_is_raised() -> None:
    with pytest.raises(UnavailableError, match="the server stops"):
        EventReader().feed(event("error", {"kind": "busy", "detail": "the server stops", "hint": "ask again"}))
    with pytest.raises(StaleError) as raised:
        EventReader().feed(event("error", {"kind": "stale", "detail": "old", "hint": "", "age_ms": 7}))
    assert raised.value.age_ms == 7


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"text": 1}', b"\xff"])
def test_an_event_that_cannot_be_read_is_an_error(data: bytes) -> None:
    with pytest.raises(BrokenError):
        EventReader().feed(b"event: token\ndata: " + data + b"\n\n")
