"""How much each passage says about a question: by the words in common, the rare ones most, and by meaning.

Rarity as in Robertson and Sparck Jones, Relevance Weighting of Search Terms (1976), over the passages at hand.
Invariant: the same passages in another order get the same scores. No text outlives its question here: of what is
remembered there is a digest and the vector.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving.answer.passages import Passage
from serving.answer.words import stems
from stores.embedders.base import Embedder, Vectors

MOST_EMBEDDED = 48
"""Passages whose meaning is looked at: those with the most words in common, as it takes milliseconds each."""
REMEMBERED = 4096
"""Texts whose vector is kept, some 1.5 kB each: the same documents answer many questions."""
_OF_ABOUT = 0.7
"""A word that is only in the heading above a passage counts so much."""


class Weight(NamedTuple):
    """What a passage says about the question.

    :arg words: Share of the question's words that it has, each by its rarity, from 0 to 1.
    :arg own: The same without those that only its heading has.
    :arg shared: How many of the question's words it has, those of its heading among them.
    :arg meaning: Cosine with the question; None where that was not looked at.
    """

    words: float
    own: float
    shared: int
    meaning: float | None = None


class Ranking:
    """Weighs passages. Any thread may ask.

    :arg embedder: Tells meaning; None: words alone count.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder
        self._known: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def weigh(self, question: str, passages: Sequence[Passage]) -> list[Weight]:
        """Return what each passage says about the question."""
        weights = by_words(question, passages)
        if self._embedder is None or not passages:
            return weights
        looked = sorted(range(len(passages)), key=lambda at: (-weights[at].words, passages[at].number, passages[at].at))
        looked = looked[:MOST_EMBEDDED]
        texts = [f"{passages[at].about}. {passages[at].text}" for at in looked]
        vectors = self._vectors(self._embedder, [question, *texts])
        # What was not looked at has fewer words in common than what was: no more meaning is granted to it.
        weights = [weight._replace(meaning=0.0) for weight in weights]
        for at, meaning in zip(looked, (vectors[1:] @ vectors[0]).tolist(), strict=True):
            weights[at] = weights[at]._replace(meaning=float(meaning))
        return weights

    def _vectors(self, embedder: Embedder, texts: Sequence[str]) -> Vectors:
        digests = [_digest(text) for text in texts]
        with self._lock:
            known = {digest: self._known[digest] for digest in digests if digest in self._known}
        missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
        # Copies: a view would keep the vectors of all that were asked with it.
        vectors = map(np.copy, embedder.embed(list(missing.values())))
        known |= dict(zip(missing, vectors, strict=True))
        with self._lock:
            for digest in digests:
                self._known[digest] = known[digest]
                self._known.move_to_end(digest)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return np.stack([known[digest] for digest in digests])


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def by_words(question: str, passages: Sequence[Passage]) -> list[Weight]:
    """Return which share of the question's words each passage has."""
    asked = set(stems(question))
    said = [set(stems(passage.text)) for passage in passages]
    above = [set(stems(passage.about)) for passage in passages]
    counts = Counter(stem for own, about in zip(said, above, strict=True) for stem in (own | about) & asked)
    # What nobody has is as rare as what one has: else a single such word would outweigh all others.
    rarity = {stem: math.log(1 + (len(passages) + 1) / (max(counts[stem], 1) + 0.5)) for stem in asked}
    whole = math.fsum(rarity.values()) or 1.0
    weights = []
    for own, about in zip(said, above, strict=True):
        in_own = math.fsum(rarity[stem] for stem in own & asked) / whole
        in_about = math.fsum(rarity[stem] for stem in (about - own) & asked) / whole
        weights.append(Weight(in_own + _OF_ABOUT * in_about, in_own, len((own | about) & asked)))
    return weights
