"""Records as messages of Kafka: what others write must not hurt, what we write must come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import RejectedError, StoreError
from events.log import LogRecord
from stores.log.kafka.records import EVENT_TIME, stream_of, to_message, to_record, topic_of

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.one_of(st.none(), st.binary(max_size=20)),
    st.one_of(st.none(), st.binary(max_size=20)),
    st.dictionaries(texts, texts, max_size=3),
)
def test_a_record_comes_back_as_it_was(
    event_time: int, key: bytes | None, value: bytes | None, headers: dict[str, str]
) -> None:
    record = LogRecord("orders", 2, 9, event_time, key, value, headers)

    message = to_message(record, 2)

    assert message.timestamp >= 0
    assert to_record("orders", 2, 9, message.timestamp, message.key, message.value, message.headers) == record


def test_headers_of_others_do_no_harm() -> None:
    headers: list[tuple[str | bytes, bytes | None]] = [
        (b"twice", b"1"),
        ("none", None),
        (b"twice", b"2"),
        (b"b\xffd", b"\xff\xfe"),
        (b"", b""),
    ]
    record = to_record("orders", 0, 0, 5, None, b"x", headers)
    assert record.headers == {"twice": "2", "none": "", "b\\xffd": "\\xff\\xfe", "": ""}


@pytest.mark.parametrize("text", ["", "5", "-", "--5", "-5x", "-\u0665", "-" + "9" * 5000, str(-(2**63))])
def test_a_header_that_says_no_time_of_ours_is_only_a_header(text: str) -> None:
    record = to_record("orders", 0, 0, 5, None, b"x", [(EVENT_TIME, text.encode())])
    assert (record.event_time, record.headers) == (5, {EVENT_TIME: text})


def test_a_message_without_a_time_is_from_the_beginning_of_time() -> None:
    assert to_record("orders", 0, 0, -1, None, b"x", ()).event_time == 0


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(RejectedError, match="64 bits"):
        to_message(LogRecord("orders", 0, 0, 2**63), 0)
    with pytest.raises(RejectedError, match="UTF-8"):
        to_message(LogRecord("orders", 0, 0, 0, headers={"a": "\ud800"}), 0)
    with pytest.raises(RejectedError, match="UTF-8"):
        to_message(LogRecord("orders", 0, 0, 0, headers={"\ud800": "a"}), 0)


def test_topics_are_streams_if_they_begin_with_the_prefix_and_end_with_a_name() -> None:
    assert topic_of("eu.", "orders") == "eu.orders"
    assert stream_of("eu.", "eu.orders") == "orders"
    assert [stream_of("eu.", topic) for topic in ("us.orders", "eu.", "eu.Orders", "eu._x")] == [None] * 4
    assert stream_of("", "__consumer_offsets") is None
    with pytest.raises(StoreError, match="name"):
        topic_of("eu.", "../x")
