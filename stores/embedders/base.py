"""The port of embedding: texts to unit vectors, and the tokenizer that belongs to the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Model(msgspec.Struct, frozen=True):
    """What a model is, so that vectors of two models are never mixed.

    :arg name: Such as `all-MiniLM-L6-v2`.
    :arg version: Hash or number of its weights.
    :arg dimension: Length of a vector.
    :arg max_tokens: Longest input, special tokens left out; the model drops silently what is beyond.
    :arg languages: ISO 639-1 codes of the languages it was trained for; empty means all.
    :arg folds_space: Whether any run of white space is the same to it: then texts that differ in nothing else, such
        as a paragraph wrapped anew, have one vector.
    """

    name: str
    version: str
    dimension: int
    max_tokens: int
    languages: tuple[str, ...] = ()
    folds_space: bool = False

    @property
    def id(self) -> str:
        """Name and version: the key under which vectors are kept."""
        return f"{self.name}@{self.version}"


class Embedder(ABC):
    """One embedding model. Loading is lazy: constructing it costs nothing."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The model's identity, known without loading its weights."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(texts), dimension), float32, in the order of `texts`.

        No text: shape (0, dimension). Sorts by length inside, so that callers hand over whole batches.
        """

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens by the model's own tokenizer, special tokens left out, untruncated."""

    @abstractmethod
    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end character of each token of `text`, to cut a text that has no better place."""
