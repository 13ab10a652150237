"""A nearly free embedder for tests, fault runs and benchmarks: the same text, the same vector, on every machine.

Texts that share words and pairs of words are near each other; it knows nothing else about meaning.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Sequence

import numpy as np

from stores.embedders.base import Model, Vectors
from stores.embedders.minilm import DIMENSION, MAX_TOKENS, MiniLmEmbedder

_WORD = re.compile(r"\w+")
# Odd 64-bit constants of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)
_TOP = np.uint64(63)


class HashingEmbedder(MiniLmEmbedder):
    """Hashed words and word pairs as unit vectors; tokens are counted as the real model counts them.

    `embedded` counts the texts that it has embedded, `calls` the calls that carried them.
    """

    def __init__(self) -> None:
        self.embedded = 0
        self.calls = 0
        self._lock = threading.Lock()

    @property
    def model(self) -> Model:
        """A model of its own, so that its vectors are never taken for real ones."""
        return Model("hashing", "1", DIMENSION, MAX_TOKENS, folds_space=True)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, of its first 254 words."""
        with self._lock:
            self.embedded += len(texts)
            self.calls += 1
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[:] = _hashed(text)
        return vectors


def _hashed(text: str) -> Vectors:
    words = _WORD.findall(text.lower())[:MAX_TOKENS] or [" ".join(text.split())]
    single = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], dtype=np.uint64)
    pairs = single[:-1] * _GAMMA + single[1:]
    features = np.concatenate((single, pairs)) * _GAMMA
    features = (features ^ (features >> _HALF)) * _MIX
    signs = np.where(features >> _TOP, 1.0, -1.0)
    places = ((features >> _HALF) % np.uint64(DIMENSION)).astype(np.intp)
    vector = np.bincount(places, weights=signs, minlength=DIMENSION).astype(np.float32)
    if not vector.any():  # all features have cancelled out
        vector[places[0]] = 1.0
    unit: Vectors = vector / np.float32(np.linalg.norm(vector))
    return unit
