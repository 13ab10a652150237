"""Patterns agree with a matcher that tries everything."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from stores.documents.patterns import Patterns


def matches(names: list[str], pattern: list[str]) -> bool:
    """Match name by name, trying every length for each `**`."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(names)
        return any(matches(names[start:], pattern[1:]) for start in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and matches(names[1:], pattern[1:])


names = st.text("ab.", min_size=1, max_size=4).filter(lambda name: name != ".")
globs = st.one_of(st.just("**"), st.text("ab.*?", min_size=1, max_size=5).filter(lambda name: name not in (".", "**")))


@given(st.lists(names, min_size=1, max_size=6), st.lists(globs, min_size=1, max_size=5))
def test_a_pattern_matches_what_trying_everything_matches(path: list[str], pattern: list[str]) -> None:
    plain = ["*" if name.strip("*") == "" and name != "**" else name for name in pattern]
    assert Patterns(["/".join(plain)], []).wants("/".join(path)) == matches(path, plain)
