"""Regular expressions that cannot run away: each has a bound on how many ways it can match from one place on.

Python's `re` goes back and tries again, so that an expression such as `(a+)+b` takes longer than anybody waits for some
texts. Where all repeats are bounded, the number of ways to match from one place is a product that can be worked out
beforehand; it is here, and expressions with too many are refused.
"""

from __future__ import annotations

import re

MOST_WAYS = 2_000
"""Ways to match from one place on. Beyond 10^4 characters of text this is still well under a second."""

_LONGEST = 500
_MOST_TIMES = 1_000
_QUANTIFIER = re.compile(r"\{(?!\})(\d{0,9})(?:(,)(\d{0,9}))?\}", re.ASCII)
_GROUP = re.compile(r"\(\?(?::|=|!|<=|<!|P<[A-Za-z_]\w{0,30}>)")


def bounded(text: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a regular expression that matches in bounded time.

    Everything of `re` may be used but `*`, `+`, `{n,}`, references to groups, flags within, and possessive repeats.

    :raises ValueError: When it is none, may match nothing at all, or could take too long.
    """
    if not text or len(text) > _LONGEST:
        message = f"an expression has 1 to {_LONGEST} characters"
        raise ValueError(message)
    try:
        compiled = re.compile(text, re.IGNORECASE if ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        message = f"{text!r} is no regular expression: {error}"
        raise ValueError(message) from None
    ways = _Ways(text).count()
    if ways > MOST_WAYS:
        message = (
            f"{text!r} could take too long: {ways:,} ways to match at one place, {MOST_WAYS:,} are allowed; repeat less"
        )
        raise ValueError(message)
    if compiled.fullmatch(""):
        message = f"{text!r} matches where nothing is; let it need at least one character"
        raise ValueError(message)
    return compiled


class _Ways:
    """Counts the ways in which a valid expression can match from one place on: at most that many.

    :arg text: What `re` has compiled.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def count(self) -> int:
        """Return how many there are."""
        return self._alternatives()

    def _alternatives(self) -> int:
        total, branch = 0, 1
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                total += branch
                branch = 1
            else:
                branch *= self._repeated(self._one())
        return total + branch

    def _one(self) -> int:
        sign = self._text[self._at]
        if sign == "\\":
            if self._text[self._at + 1] in "123456789":
                self._refuse("refers to a group", "write out what is meant")
            self._at += 2
        elif sign == "[":
            self._skip_class()
        elif sign == "(":
            return self._group()
        else:
            self._at += 1
        return 1

    def _group(self) -> int:
        if self._text.startswith("(?", self._at):
            begin = _GROUP.match(self._text, self._at)
            if begin is None:
                self._refuse("has flags, conditions or other extensions within", "leave them out")
            else:
                self._at = begin.end()
        else:
            self._at += 1
        ways = self._alternatives()
        self._at += 1
        return ways

    def _skip_class(self) -> None:
        self._at += 1
        if self._text[self._at] == "^":
            self._at += 1
        first = True
        while first or self._text[self._at] != "]":
            first = False
            self._at += 2 if self._text[self._at] == "\\" else 1
        self._at += 1

    def _repeated(self, ways: int) -> int:
        sign = self._text[self._at : self._at + 1]
        if sign and sign in "*+":
            self._refuse(f"repeats without a bound ({sign})", "write such as {1,40}")
        if sign == "?":
            self._at += 1
            return self._closed(ways + 1)
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None:
            return ways
        least, comma, most = found.groups()
        if comma and not most:
            self._refuse("repeats without a bound", "write such as {1,40}")
        self._at = found.end()
        fewest = int(least or 0)
        times_at_most = int(most) if comma else fewest
        if times_at_most > _MOST_TIMES:
            self._refuse("repeats very often", f"repeat at most {_MOST_TIMES} times")
        total = 0
        for times in range(fewest, times_at_most + 1):
            # The exact number does not matter once it is too large.
            total = min(total + min(ways**times, MOST_WAYS + 1), 10**6)
        return self._closed(total)

    def _closed(self, ways: int) -> int:
        if self._text[self._at : self._at + 1] == "+":
            self._refuse("has a possessive repeat", "leave out the +")
        if self._text[self._at : self._at + 1] == "?":
            self._at += 1
        return ways

    def _refuse(self, what: str, remedy: str) -> None:
        message = f"{self._text!r} {what}; {remedy}"
        raise ValueError(message)
