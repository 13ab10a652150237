"""How often the classifier is right on lines that it has not learnt from.

Five parts, each judged by what was learnt from the other four. Lines that say nearly the same are in one part, so that
none of them is judged by its own double.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from events.feedback import Verdict
from stores.embedders.base import Embedder, Vectors
from stores.sentiment.classifier import LogisticClassifier
from stores.sentiment.examples import Example

PARTS = 5
ALIKE = 0.8
"""Cosine from which on two lines say nearly the same."""

_ROWS_AT_ONCE = 512


class Tally(msgspec.Struct, frozen=True):
    """Of one category or topic: how often it was said and right, how often it was so, how often it was said."""

    right: int
    true: int
    said: int

    @property
    def precision(self) -> float | None:
        """Share of what was said that was right; None if it was never said."""
        return self.right / self.said if self.said else None

    @property
    def recall(self) -> float | None:
        """Share of what was so that was said; None if it was never so."""
        return self.right / self.true if self.true else None

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / (self.true + self.said) if self.true + self.said else 0.0


class Judged(msgspec.Struct, frozen=True):
    """A line and what was said of it."""

    example: Example
    verdict: Verdict

    @property
    def right(self) -> bool:
        """Whether the category was."""
        return self.verdict.category == self.example.category


class Report(msgspec.Struct, frozen=True):
    """What came of all lines."""

    categories: tuple[str, ...]
    topics: tuple[str, ...]
    judged: tuple[Judged, ...]

    @property
    def accuracy(self) -> float:
        """Share of the lines whose category was right."""
        return sum(one.right for one in self.judged) / len(self.judged)

    def category(self, name: str) -> Tally:
        """Return how well one category was told."""
        pairs = [(one.example.category == name, one.verdict.category == name) for one in self.judged]
        return _tally(pairs)

    def topic(self, name: str) -> Tally:
        """Return how well one topic was told."""
        return _tally([(name in one.example.topics, name in one.verdict.topics) for one in self.judged])

    @property
    def macro_f1(self) -> float:
        """Mean of the categories' F1."""
        return sum(self.category(name).f1 for name in self.categories) / len(self.categories)

    def confusion(self, true: str, said: str) -> int:
        """Return how many lines of the category `true` were said to be `said`."""
        return sum(one.example.category == true and one.verdict.category == said for one in self.judged)


def _tally(pairs: Sequence[tuple[bool, bool]]) -> Tally:
    return Tally(
        sum(true and said for true, said in pairs), sum(true for true, _ in pairs), sum(said for _, said in pairs)
    )


def held_out(
    embedder: Embedder,
    examples: Sequence[Example],
    *,
    categories: Sequence[str],
    topics: Sequence[str],
    least_confidence: float,
) -> Report:
    """Judge each line by a classifier that has learnt from the other parts.

    :arg examples: At least two of each category.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    vectors = embedder.embed([example.text for example in examples])
    labels = np.array([categories.index(example.category) for example in examples])
    parts = min(PARTS, int(np.bincount(labels, minlength=len(categories)).min()))
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=0)
    verdicts: dict[int, Verdict] = {}
    for learnt, asked in folds.split(vectors, labels, groups_of(vectors)):
        # A group that holds a whole category leaves nothing of it to learn from.
        known = {int(label) for label in labels[learnt]}
        if len(known) < len(categories):
            verdicts.update((int(place), Verdict()) for place in asked)
            continue
        classifier = LogisticClassifier(
            embedder,
            [examples[place] for place in learnt],
            categories=categories,
            topics=topics,
            least_confidence=least_confidence,
        )
        verdicts.update(zip(map(int, asked), classifier.judge_vectors(vectors[asked]), strict=True))
    judged = tuple(Judged(example, verdicts[place]) for place, example in enumerate(examples))
    return Report(tuple(categories), tuple(topics), judged)


def groups_of(vectors: Vectors) -> npt.NDArray[np.int64]:
    """Return the group of each unit vector: those that are alike, directly or by way of others, are in one."""
    import networkx as nx

    alike: nx.Graph[int] = nx.Graph()
    alike.add_nodes_from(range(len(vectors)))
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        near, other = np.nonzero(vectors[start : start + _ROWS_AT_ONCE] @ vectors.T > ALIKE)
        alike.add_edges_from(zip((near + start).tolist(), other.tolist(), strict=True))
    groups = np.zeros(len(vectors), dtype=np.int64)
    for number, places in enumerate(nx.connected_components(alike)):
        groups[list(places)] = number
    return groups
