from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import RejectedError
from operators.changes.keys import MAX_DIGITS, canonical_key

_PARTS = st.one_of(st.integers(), st.booleans(), st.text(), st.floats(allow_nan=False, allow_infinity=False))


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"id": 101}, '{"id":101}'),
        ({"b": "x", "a": 1}, '{"a":1,"b":"x"}'),
        ({"id": "101"}, '{"id":"101"}'),
        ({"id": True}, '{"id":true}'),
        ({"id": 1.0}, '{"id":1}'),
        ({"id": -0.0}, '{"id":0}'),
        ({"id": Decimal("1.50")}, '{"id":1.5}'),
        ({"id": Decimal("1E+3")}, '{"id":1000}'),
        ({"id": Decimal("0.10")}, '{"id":0.1}'),
        ({"id": 0.1}, '{"id":0.1}'),
        ({"id": 1e22}, '{"id":10000000000000000000000}'),
        ({"id": 2**70}, '{"id":1180591620717411303424}'),
        ({"name": "Zoë\n"}, '{"name":"Zoë\\n"}'),
    ],
)
def test_a_key_is_compact_json_with_its_columns_in_order(columns: dict[str, Any], text: str) -> None:
    assert canonical_key(columns) == text


@given(st.dictionaries(st.text(min_size=1), _PARTS, min_size=1))
def test_any_key_reads_back_as_its_columns(columns: dict[str, Any]) -> None:
    text = canonical_key(columns)
    # A whole number is written without a point, be it a float.
    assert {name: type(columns[name])(value) for name, value in json.loads(text).items()} == columns
    assert list(json.loads(text)) == sorted(columns, key=str.encode)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6))
def test_equal_numbers_make_equal_keys_whatever_their_digits(number: Decimal) -> None:
    with_zeros = Decimal(f"{number:f}000")
    assert canonical_key({"id": number}) == canonical_key({"id": with_zeros})
    assert json.loads(canonical_key({"id": number}), parse_float=Decimal, parse_int=Decimal) == {"id": number}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "no primary key"),
        ({"id": None}, "'id' has no value"),
        ({"id": float("nan")}, "not a number"),
        ({"id": float("inf")}, "not a number"),
        ({"id": Decimal("sNaN")}, "not a number"),
        ({"id": Decimal(f"1E{MAX_DIGITS}")}, "not a number"),
        ({"id": Decimal("1E-999999")}, "not a number"),
        ({"id": 10 ** (MAX_DIGITS + 1)}, "more than"),
        ({"id": [1]}, "list"),
        ({"id": {"a": 1}}, "dict"),
        ({"id": b"x"}, "bytes"),
        ({"id": "\ud800"}, "surrogate"),
    ],
)
def test_what_cannot_be_told_from_other_keys_is_rejected(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        canonical_key(columns)
    assert caught.value.hint
