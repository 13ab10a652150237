"""Finds names in a question: whole words, case and accents ignored, of several that begin together the longest.

The work grows with the question alone, however many names there are. Two names that read the same are both found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

MOST_VALUES = 100_000
"""Names that one gazetteer knows at most."""

LONGEST_NAME = 12
"""Words. What has more is a text, not a name that anybody types."""

MOST_ALIKE = 20
"""Names that read the same; of more the first are found."""

# Each letter of a script without blanks is a word; marks that stand for themselves belong to the letter before.
_BLANKLESS = "\u2e80-\u2fff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_BLANKLESS}]|(?:(?![{_BLANKLESS}])[^\W_]|(?<=\w)[\u0300-\u036f])+")


class Word(NamedTuple):
    """A word of a text.

    :arg plain: Small Latin letters and digits.
    :arg begin: Where it begins in the text.
    :arg end: Where it ends there, exclusive.
    """

    plain: str
    begin: int
    end: int


class Named(NamedTuple):
    """A name in a text.

    :arg value: The name as its column has it.
    :arg first: Number of its first word.
    :arg after: Number of the word behind it.
    """

    value: str
    first: int
    after: int


def words(text: str) -> list[Word]:
    """Return the words of a text in their order."""
    return [
        Word(plain, found.start(), found.end())
        for found in _WORD.finditer(text)
        if (plain := _plain(found[0]))  # what has no Latin writing at all is no word
    ]


class Gazetteer:
    """Knows names. Never changes, so that threads may share it.

    :arg values: The names; those without a word, or with more than `LONGEST_NAME`, are left out.
    """

    def __init__(self, values: Iterable[str]) -> None:
        values_of: dict[str, tuple[str, ...]] = {}
        lengths: dict[str, set[int]] = {}
        for value in values:
            plain = [word.plain for word in words(value)]
            if 0 < len(plain) <= LONGEST_NAME:
                name = " ".join(plain)
                alike = values_of.get(name, ())
                if len(alike) < MOST_ALIKE:
                    values_of[name] = (*alike, value)
                lengths.setdefault(plain[0], set()).add(len(plain))
        self._values_of = values_of
        # Most first words begin names of one length only: they share these.
        kinds: dict[frozenset[int], tuple[int, ...]] = {}
        self._lengths = {
            first: kinds.setdefault(frozenset(found), tuple(sorted(found, reverse=True)))
            for first, found in lengths.items()
        }

    def find(self, text: list[Word]) -> list[Named]:
        """Return the names in a text in their order; none shares a word with another that reads differently."""
        found: list[Named] = []
        at = 0
        while at < len(text):
            length = self._longest_at(text, at)
            if length:
                name = " ".join(word.plain for word in text[at : at + length])
                found += [Named(value, at, at + length) for value in self._values_of[name]]
            at += length or 1
        return found

    def _longest_at(self, text: list[Word], at: int) -> int:
        for length in self._lengths.get(text[at].plain, ()):
            end = at + length
            if end <= len(text) and " ".join(word.plain for word in text[at:end]) in self._values_of:
                return length
        return 0


def _plain(word: str) -> str:
    return word.lower() if word.isascii() else "".join(map(_latin, word))


@lru_cache(maxsize=4096)
def _latin(letter: str) -> str:
    from anyascii import anyascii

    return "".join(sign for sign in anyascii(letter).lower() if sign.isalnum())
