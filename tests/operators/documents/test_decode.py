"""Document events: the documented fields are read, and what is wrong says what and where."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from events.documents import DocumentChange
from events.errors import RejectedError
from events.log import LogRecord
from operators.documents.decode import decode_document


def media_type_of(uri: str) -> str | None:
    return "text/markdown" if uri.endswith(".md") else None


def decode(
    value: bytes | None, *, key: bytes | None = b"a.md", headers: dict[str, str] | None = None
) -> DocumentChange:
    record = LogRecord("documents", 0, 70, 1_000, key, value, headers or {})
    return decode_document(record, media_type_of, max_bytes=100)


def event(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_all_fields_are_read() -> None:
    change = decode(
        event(
            uri="fares/light.md",
            content="# Light",
            title="Light",
            audience=["staff"],
            metadata={"owner": "fares"},
            moved="fares/old.md",
        ),
        key=b"fares/light.md",
    )
    assert change == DocumentChange(
        "documents",
        "fares/light.md",
        "upsert",
        70,
        1_000,
        b"# Light",
        "text/markdown",
        "Light",
        ("staff",),
        {"owner": "fares"},
        "",
        "fares/old.md",
    )


def test_the_position_of_the_event_goes_before_the_offset() -> None:
    assert decode(event(uri="a.md", content="", position=5)).position == 5
    assert decode(event(uri="a.md", content="", position=5), key=b"another key").position == 5
    assert decode(event(uri="a.md", content="")).position == 70


def test_binary_content_travels_as_base64() -> None:
    content = base64.b64encode(b"%PDF\x00").decode()
    change = decode(event(uri="a.pdf", content_b64=content, media_type="application/pdf"), key=b"a.pdf")
    assert (change.content, change.media_type) == (b"%PDF\x00", "application/pdf")


def test_a_tombstone_deletes_what_its_key_names() -> None:
    change = decode(None, key=b"a.md")
    assert (change.op, change.uri, change.content) == ("delete", "a.md", None)


def test_unknown_fields_are_left_to_their_sender() -> None:
    assert decode(event(uri="a.md", content="x", colour="blue")).content == b"x"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b'{"uri": "a.md", "content": "x', "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"content": "x"}', "missing required field `uri`"),
        (b'{"uri": 7, "content": "x"}', "`$.uri`"),
        (b'{"uri": "a.md", "op": "upset", "content": "x"}', "`$.op`"),
        (b'{"uri": "a.md"}', "either content or content_b64"),
        (b'{"uri": "a.md", "content": "x", "content_b64": "eA=="}', "either content or content_b64"),
        (b'{"uri": "a.md", "content_b64": "%%%"}', "not base64"),
        (b'{"uri": "../a.md", "content": "x"}', "leads out"),
        (b'{"uri": "/etc/passwd", "content": "x"}', "leads out"),
        (b'{"uri": "a\\u0000.md", "content": "x"}', "not printable"),
        (b'{"uri": "", "content": "x"}', "names no document"),
        (b'{"uri": "a.xyz", "content": "x", "position": 1}', "no media type"),
        (b'{"uri": "b.md", "content": "x"}', "key is not the uri"),
        (b'{"uri": "a.md", "content": "x", "position": 9223372036854775808}', "`$.position`"),
        (event(uri="a.md", content="x" * 101), "over the limit of 100"),
        (event(uri="a" * 2000, content="x"), "2000 characters"),
        (b'{"uri": "a.md", "content": "' + b"\xff" + b'"}', "UTF-8"),
        (b'{"uri":' + b"[" * 5000, "not a document event"),
    ],
)
def test_what_is_wrong_is_named(value: bytes, reason: str) -> None:
    with pytest.raises(RejectedError) as caught:
        decode(value)
    assert reason in str(caught.value)


def test_a_broken_line_of_the_log_keeps_its_reason() -> None:
    with pytest.raises(RejectedError, match="torn line"):
        decode(b"{", headers={"headrace-broken": "torn line"})


def test_a_tombstone_without_a_key_is_refused() -> None:
    with pytest.raises(RejectedError, match="names no document"):
        decode(None, key=None)
