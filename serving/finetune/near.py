"""Texts that say the same in nearly the same words: of two that share enough of their pairs of words, one is enough.

Exact, without comparing each with each: two sets that have so much in common share one of their few rarest elements
(prefix filtering: Chaudhuri, Ganti, Kaushik, "A primitive operator for similarity joins in data cleaning", 2006;
Bayardo, Ma, Srikant, "Scaling up all pairs similarity search", 2007).
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise

_WORD = re.compile(r"\w+")
_NOTHING = 1e-9
"""What rounding may have changed."""


def normalised(text: str) -> str:
    """Return the words of a text in small letters: two texts with the same words are equal."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def rarity(texts: Iterable[str]) -> Mapping[int, int]:
    """Return how many of these texts have each pair of words: the better it is known, the faster is `Near`."""
    return Counter(pair for text in texts for pair in _word_pairs(normalised(text)))


class Near:
    """Texts that have been seen.

    :arg threshold: Share of pairs of words in common (Jaccard) from which on two texts are one; 1: only equal ones.
    :arg known: How often each pair of words is there.
    """

    def __init__(self, threshold: float, known: Mapping[int, int] | None = None) -> None:
        self._threshold = threshold
        self._known = known or {}
        self._equal: set[bytes] = set()
        self._pairs: list[frozenset[int]] = []
        self._by_rare: dict[int, list[int]] = defaultdict(list)

    def has(self, text: str) -> str:
        """Return `duplicate` or `near_duplicate` of what has been added; empty if it is neither."""
        words = normalised(text)
        if _digest(words) in self._equal:
            return "duplicate"
        if self._threshold >= 1:
            return ""
        pairs = _word_pairs(words)
        compared: set[int] = set()
        for pair in self._rarest(pairs):
            for number in self._by_rare.get(pair, ()):
                if number not in compared:
                    compared.add(number)
                    if self._alike(pairs, self._pairs[number]):
                        return "near_duplicate"
        return ""

    def add(self, text: str) -> None:
        """Add a text."""
        words = normalised(text)
        digest = _digest(words)
        if digest in self._equal:
            return
        self._equal.add(digest)
        if self._threshold < 1:
            pairs = _word_pairs(words)
            for pair in self._rarest(pairs):
                self._by_rare[pair].append(len(self._pairs))
            self._pairs.append(pairs)

    def _rarest(self, pairs: frozenset[int]) -> list[int]:
        """Return those of which a set that is near enough has at least one, among its own."""
        least = math.ceil(self._threshold * len(pairs) - _NOTHING)
        known = self._known
        return sorted(pairs, key=lambda pair: (known.get(pair, 0), pair))[: len(pairs) - least + 1]

    def _alike(self, one: frozenset[int], other: frozenset[int]) -> bool:
        if min(len(one), len(other)) < self._threshold * max(len(one), len(other)) - _NOTHING:
            return False
        common = len(one & other)
        return common >= self._threshold * (len(one) + len(other) - common) - _NOTHING


def _digest(words: str) -> bytes:
    return hashlib.blake2b(words.encode(errors="surrogatepass"), digest_size=16).digest()


def _word_pairs(words: str) -> frozenset[int]:
    """Return numbers that stand for each pair of neighbouring words, the first and the last one with nothing."""
    return frozenset(_number(f"{one} {other}") for one, other in pairwise(["", *words.split(" "), ""]))


@lru_cache(maxsize=200_000)
def _number(pair: str) -> int:
    return int.from_bytes(hashlib.blake2b(pair.encode(errors="surrogatepass"), digest_size=8).digest(), "big")
