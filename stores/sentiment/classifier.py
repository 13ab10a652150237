"""A small classifier over the embedding model that is already there: logistic regression, fitted at its first use.

What it says of a text depends on that text and the examples alone. The embedding of each example comes from the cache
like any other. As the packaged model knows English only, so does it: lines in other languages teach it little.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from events.feedback import Verdict
from stores.embedders.base import Embedder, Vectors
from stores.sentiment.base import Classifier
from stores.sentiment.examples import Example

STRENGTH = 2.0
"""Inverse of the regularisation. Chosen once, by cross-validation over the lines that come with Headrace: between 1
and 4 it makes no difference, and neither words nor n-grams of characters beside the embedding made it better."""

_VERSION = 1
_DECIMALS = 4
_STEPS = 2000

Numbers = npt.NDArray[np.float64]


class Weights(msgspec.Struct, frozen=True):
    """What has been learnt: one row and one bias for each category, then for each topic."""

    categories: Numbers
    categories_bias: Numbers
    topics: Numbers
    topics_bias: Numbers


class LogisticClassifier(Classifier):
    """One category by multinomial regression, topics one against the rest.

    :arg examples: At least two of each category, and one of each topic.
    :arg categories: All there are, in the order in which they are said.
    :arg topics: Those to be told.
    :arg least_confidence: A topic that is less sure is none. Topics are balanced: 0.5 is as likely as not, however
        rare the topic is among the examples.
    """

    def __init__(
        self,
        embedder: Embedder,
        examples: Sequence[Example],
        *,
        categories: Sequence[str],
        topics: Sequence[str] = (),
        least_confidence: float = 0.5,
    ) -> None:
        self._embedder = embedder
        self._examples = tuple(examples)
        self._categories = tuple(categories)
        self._topics = tuple(topics)
        self._least = least_confidence
        self._lock = threading.Lock()
        self._weights: Weights | None = None
        self._model = f"logistic@{self._digest()}"

    @property
    def model(self) -> str:
        """`logistic` with a digest of embedding model, examples and settings."""
        return self._model

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories, in their order."""
        return self._categories

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics, in their order."""
        return self._topics

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """Return one verdict for each text, in order."""
        return self.judge_vectors(self._embedder.embed(texts)) if texts else []

    def judge_vectors(self, vectors: Vectors) -> list[Verdict]:
        """Return the verdict on the text of each vector, shape (texts, dimension)."""
        learnt = self._learnt()
        scores = _scores(vectors, learnt.categories, learnt.categories_bias)
        sure = _softmax(scores)
        about = 1.0 / (1.0 + np.exp(-_scores(vectors, learnt.topics, learnt.topics_bias)))
        return [self._verdict(one, many) for one, many in zip(sure, about, strict=True)]

    def _verdict(self, sure: Numbers, about: Numbers) -> Verdict:
        best = int(np.argmax(sure))
        ranked = sorted(zip(-about, self._topics, strict=True))
        topics = tuple(topic for surety, topic in ranked if -surety >= self._least)
        return Verdict(self._categories[best], topics, round(float(sure[best]), _DECIMALS), self._model)

    def _learnt(self) -> Weights:
        with self._lock:
            if self._weights is None:
                vectors = self._embedder.embed([example.text for example in self._examples])
                self._weights = fit(vectors, self._examples, self._categories, self._topics)
            return self._weights

    def _digest(self) -> str:
        lines = sorted((one.text, one.category, sorted(one.topics)) for one in self._examples)
        told = (_VERSION, STRENGTH, self._embedder.model.id, self._categories, self._topics, self._least, lines)
        return hashlib.blake2b(msgspec.json.encode(told), digest_size=6).hexdigest()


def fit(vectors: Vectors, examples: Sequence[Example], categories: Sequence[str], topics: Sequence[str]) -> Weights:
    """Learn from `vectors`, one of each example. The same input, the same weights: nothing is drawn."""
    from sklearn.linear_model import LogisticRegression

    threads: Any = import_module("threadpoolctl")  # without types; it comes with scikit-learn

    def regression(labels: npt.NDArray[np.int64]) -> tuple[Numbers, Numbers]:
        # So little work is done twenty times as fast by one thread as by several, which wait for each other.
        with threads.threadpool_limits(1):
            learnt = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=_STEPS).fit(points, labels)
        return learnt.coef_, learnt.intercept_

    # In an order of their own: sums of floats must not depend on which file was named first.
    order = sorted(range(len(examples)), key=lambda place: examples[place].text)
    points = vectors.astype(np.float64)[order]
    sorted_examples = [examples[place] for place in order]
    named = list(categories)
    rows, biases = regression(np.array([named.index(one.category) for one in sorted_examples]))
    if len(named) == 2:  # noqa: PLR2004  # of two classes the library keeps the second one's row only
        rows, biases = np.vstack((np.zeros_like(rows), rows)), np.append(0.0, biases)
    topic_rows, topic_biases = np.zeros((len(topics), points.shape[1])), np.zeros(len(topics))
    for place, topic in enumerate(topics):
        labels = np.array([int(topic in one.topics) for one in sorted_examples])
        if labels.all() or not labels.any():  # what is always so, or never, cannot be learnt
            topic_biases[place] = np.inf if labels.all() else -np.inf
            continue
        (topic_rows[place],), (topic_biases[place],) = regression(labels)
    return Weights(rows, biases, topic_rows, topic_biases)


def _scores(vectors: Vectors, rows: Numbers, biases: Numbers) -> Numbers:
    # Not a matrix product: its last digits depend on how many texts there are at once.
    scores: Numbers = np.einsum("ij,kj->ik", vectors.astype(np.float64), rows) + biases
    return scores


def _softmax(scores: Numbers) -> Numbers:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Numbers = raised / raised.sum(axis=1, keepdims=True)
    return shares
