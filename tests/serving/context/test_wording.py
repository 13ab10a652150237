"""Values as a model reads them: exact, plain, never without end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.context.wording import LONGEST, cut, kept, minute, one_line, plain, same


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (0, "0"),
        (-12345678901234567890, "-12345678901234567890"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (149.0, "149.0"),
        (1e300, "1E+300"),
        (Decimal("129.50"), "129.50"),
        (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        ("as it is", "as it is"),
        ("2026-11-03", "2026-11-03"),
        ("2026-11-03T09:41:00.000000Z", "2026-11-03 09:41 UTC"),
        ("2026-11-03T09:41:07.250Z", "2026-11-03 09:41:07.25 UTC"),
        ("2026-11-03T09:41:07", "2026-11-03 09:41:07"),
        ("2026-11-03T09:41:00+02:00", "2026-11-03 09:41 +02:00"),
        (["a", {"b": Decimal("1.10")}], '["a",{"b":1.10}]'),
        ("bell\x07\x1b[31m\ttab\r\nline", "bell[31m tab\nline"),
        ("half \ud800", "half \ufffd"),
    ],
)
def test_a_value_is_written_plainly_and_exactly(value: Any, text: str) -> None:
    assert plain(value) == text


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_number_is_lost(number: Decimal | float) -> None:
    assert Decimal(plain(number)) == Decimal(repr(number) if isinstance(number, float) else number)


@given(st.text(st.characters(), max_size=60), st.integers(1, 20))
def test_a_text_is_cut_to_its_length_and_has_no_controls(text: str, longest: int) -> None:
    short = cut(text, longest)
    assert len(short) <= longest
    assert not any(letter < " " and letter != "\n" for letter in short)
    assert not any("\ud800" <= letter <= "\udfff" for letter in short)
    if text.isprintable() and len(text) <= longest and "\t" not in text:
        assert short == text


def test_a_long_value_ends_with_an_ellipsis() -> None:
    assert plain("x" * LONGEST) == "x" * LONGEST
    assert plain("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"
    assert kept("x" * 10**6) == "x" * (LONGEST - 1) + "…"
    assert len(kept(["x" * 10**6])) == LONGEST
    assert kept(["x"]) == ["x"]
    assert kept(Decimal("1.10")) == Decimal("1.10")


def test_a_title_is_one_line() -> None:
    assert one_line("a\n b\tc") == "a b c"


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (1, 1.0, True),
        (0.1, Decimal("0.10"), True),
        (149, "149", False),
        (None, None, True),
        (None, "", False),
        (1, True, False),
    ],
)
def test_a_number_is_the_same_however_it_is_kept(one: Any, other: Any, wanted: bool) -> None:
    assert same(one, other) is wanted


def test_a_moment_is_told_to_the_minute() -> None:
    assert minute(1_793_362_907_999) == "2026-10-30 12:21 UTC"
    assert minute(10**18) == str(10**18)
