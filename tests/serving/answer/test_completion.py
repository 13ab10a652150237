"""What endpoints say, whatever bytes it is in."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answer.completion import Completion
from serving.answer.failures import FailedError
from serving.answer.thoughts import Thoughts
from tests.servers.model import DONE, delta, event, usage


def text_of(*pieces: bytes, most_tokens: int = 100) -> str:
    completion = Completion(most_tokens)
    return "".join(heard.text for piece in pieces for heard in completion.feed(piece)) + "".join(
        heard.text for heard in completion.end()
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("choices", "delta", "message", "content", "usage", "error", "type", "text", "finish_reason")
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(st.one_of(st.binary(max_size=30), JSON.map(event), JSON.map(lambda one: json.dumps(one).encode()))))
def test_any_bytes_are_text_without_controls_or_a_failure(pieces: list[bytes]) -> None:
    text = ""
    with suppress(FailedError):
        text = text_of(*pieces)
    text.encode()
    assert all(letter in "\n\t" or letter >= " " for letter in text)


@given(st.lists(st.text(max_size=6)), st.integers(1, 9))
def test_how_the_bytes_are_cut_makes_no_difference(texts: list[str], length: int) -> None:
    stream = b"".join([*map(delta, texts), usage(1, 2), DONE])
    pieces = [stream[at : at + length] for at in range(0, len(stream), length)]
    assert text_of(*pieces) == text_of(stream) == text_of(b" \n", stream)


def test_characters_that_the_model_is_not_allowed_are_not_taken() -> None:
    with pytest.raises(FailedError, match="far more"):
        text_of(*[delta("x" * 50)] * 100, most_tokens=10)
    with pytest.raises(FailedError, match="far more"):
        text_of(*[b": ping\n"] * 100_000, most_tokens=10)


@given(st.lists(st.sampled_from(("<think>", "</think>", "<", "th", " ", "a", "\n", "ink>")), max_size=8))
def test_thoughts_are_taken_out_however_the_text_is_cut(texts: list[str]) -> None:
    def said(pieces: list[str]) -> str:
        thoughts = Thoughts()
        return "".join(map(thoughts.said, pieces)) + thoughts.rest()

    whole = "".join(texts)
    assert said(texts) == said([whole]) == said(list(whole))
    expected = whole.lstrip()
    while expected.startswith("<think>"):
        expected = expected.partition("</think>")[2].lstrip()
    assert said([whole]) == expected
