from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import RejectedError
from operators.changes.duplicate_keys import MAX_DEPTH, read_json, reject_depth, written_members

_KEYS = st.sampled_from(["a", "b", "a ", 'q"', 'q":', "back\\", "é", "a:", ""])
_LEAVES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.sampled_from(['":', '{"a":1}', '\\":', "\\", " :", "x", "é\n\t", "12:30"]),
)


class _Pairs(list[tuple[str, Any]]):
    """An object as it is written, with keys that may come twice."""


def _written(value: Any, draw: st.DataObject) -> str:
    blank = draw.draw(st.sampled_from(["", "", " ", "\n", "  \t"]))
    if isinstance(value, _Pairs):
        members = (
            f"{json.dumps(key, ensure_ascii=draw.draw(st.booleans()))}{blank}:{_written(member, draw)}"
            for key, member in value
        )
        return "{" + ",".join(members) + blank + "}"
    if isinstance(value, list):
        return "[" + ("," + blank).join(_written(member, draw) for member in value) + "]"
    return json.dumps(value)


def _twice(value: Any) -> bool:
    if isinstance(value, _Pairs):
        keys = [key for key, _ in value]
        return len(set(keys)) < len(keys) or any(_twice(member) for _, member in value)
    return isinstance(value, list) and any(_twice(member) for member in value)


_EVENTS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(_KEYS, inner), max_size=4).map(_Pairs)),
    max_leaves=12,
)


@given(_EVENTS, st.data())
def test_exactly_the_events_with_a_key_twice_are_rejected(value: Any, draw: st.DataObject) -> None:
    raw = _written(value, draw).encode()
    if _twice(value):
        with pytest.raises(RejectedError, match="occurs twice"):
            read_json(raw)
    else:
        assert read_json(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a" :1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":1,"a":1}}',
        b'[[{"a":1,"a":1}]]',
        b'{"back\\\\":1,"back\\\\":2}',
        b'{"back\\\\":1,"t":"\\":","back\\\\":1}',
        b'{"t":"{\\"a\\":1}","t":"x"}',
    ],
)
def test_a_key_that_comes_twice_is_found_however_it_is_written(raw: bytes) -> None:
    with pytest.raises(RejectedError, match="occurs twice"):
        read_json(raw)


def test_members_are_counted_without_reading_texts_as_members() -> None:
    assert written_members(b'{"a":"{\\"x\\":1}","b":{"c":1}}') == 3
    assert written_members(b'{"a" :1}') is None
    assert written_members(b'{"back\\\\":1}') is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b'{"a":', "not JSON"),
        (b'{"a":1}{"b":2}', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":1e999}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":"\\udc00\\ud800"}', "not JSON"),
        (b"[" * 100_000, "deep"),
        (b'{"a":' * 100_000, "deep"),
        (b"\x00\x00\x00\x00\x01\x02id", "schema registry"),
        (b"1" * 10_000, "not JSON"),
    ],
)
def test_what_is_not_strict_json_is_rejected_with_the_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        read_json(raw)
    assert caught.value.hint


def test_nul_and_large_numbers_and_other_planes_are_kept() -> None:
    assert read_json(b'{"a":"\\u0000","b":123456789012345678901234567890,"c":"\\ud83d\\ude00"}') == {
        "a": "\x00",
        "b": 123456789012345678901234567890,
        "c": "😀",
    }


@pytest.mark.parametrize(("levels", "fits"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (MAX_DEPTH * 3, False)])
def test_depth_has_a_bound(levels: int, fits: bool) -> None:
    value = msgspec.json.decode(b'{"a":' * (levels - 1) + b"[1]" + b"}" * (levels - 1))
    if fits:
        reject_depth(value)
    else:
        with pytest.raises(RejectedError, match="deep"):
            reject_depth(value)
