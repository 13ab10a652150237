"""Regular expressions of users: those that could run away are refused, with what to write instead."""

from __future__ import annotations

import itertools
import time

import pytest

from stores.bounded_patterns import bounded


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b[A-Z]{2}\d{6}\b", r"(?:AB|CD)-\d{1,9}", r"x?y", r"[^\]a-z{]{3,5}?z", r"(?<=no )\d{5}", r"a{,3}b", r"\{3,}a",
        "[]*]x", "a{}",
    ],
)  # fmt: skip
def test_bounded_patterns_are_compiled(pattern: str) -> None:
    assert bounded(pattern).pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a+)+b", "write such as"), ("a*b", "write such as"), ("a{2,}", "without a bound"),
        ("a{,}b", "without a bound"),
        ("(a{1,20}){1,20}b", "could take too long"), ("(a|a){30}", "could take too long"), ("(?i)a", "flags"),
        (r"(a)\1", "refers to a group"), ("a{1,3}+b", "possessive|no regular"),
        ("(", "no regular expression"), ("", "1 to 500"),
        ("a?", "where nothing is"), ("x{1,5000}", "repeats very often"), ("(?>a)b", "flags|no regular"),
        ("a" * 501, "1 to 500"),
    ],
)  # fmt: skip
def test_patterns_that_could_run_away_are_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bounded(pattern)


def test_no_pattern_that_is_taken_takes_long() -> None:
    parts = ["a", "a?", "a{1,5}", "(a|ab)", "(a{1,3}|b){1,2}", r"\w{1,9}", "[ab]{2,4}"]
    text = "a" * 3_000
    for pattern in map("".join, itertools.product(parts, repeat=3)):
        try:
            compiled = bounded(f"{pattern}c")
        except ValueError:
            continue
        begin = time.process_time()
        assert compiled.search(text) is None
        assert time.process_time() - begin < 2
