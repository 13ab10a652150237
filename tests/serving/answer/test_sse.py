"""Server-sent events, cut anywhere, and what is no such thing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answer.sse import LARGEST_EVENT, Events, OversizedError


def read(*pieces: bytes) -> list[bytes]:
    events = Events()
    return [data for piece in pieces for data in events.feed(piece)] + events.end()


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata:  b\r\r", [b"a", b" b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b": ping\n\nevent: x\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", [b""]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"datum: a\n\n<html>\n\n\n\n", []),
        (b"", []),
    ],
)
def test_the_data_of_each_event_is_read(stream: bytes, data: list[bytes]) -> None:
    assert read(stream) == data


STREAMS = st.lists(
    st.sampled_from((b"data: a", b"data:b", b"\n", b"\r\n", b"\r", b": c", b"x", b"\xef\xbb\xbf", b"\xff"))
).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 60)))
def test_how_the_bytes_are_cut_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert read(*pieces) == read(stream) == read(*(bytes([byte]) for byte in stream))


@given(STREAMS)
def test_line_ends_are_the_same_to_it(stream: bytes) -> None:
    plain = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert read(plain) == read(stream) == read(plain.replace(b"\n", b"\r\n"))


def test_an_event_that_is_too_large_is_refused() -> None:
    with pytest.raises(OversizedError):
        read(*[b"x" * 1000] * (LARGEST_EVENT // 1000 + 1))
    with pytest.raises(OversizedError):
        read(*[b"data: " + b"x" * 1000 + b"\n"] * (LARGEST_EVENT // 1000 + 1))


def test_a_connection_may_be_kept_open_by_comments_for_as_long_as_it_likes() -> None:
    assert read(*[b": ping\n" * 1000] * 100, b"data: a\n\n") == [b"a"]
