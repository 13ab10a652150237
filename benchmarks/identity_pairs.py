"""How right a partition of records into persons is, counted in pairs of records: precision, recall and F1.

A pair is found if both records are of one person, and true if both are of one entity. Counting goes by cells of the
contingency table of persons and entities (Hubert and Arabie, Comparing Partitions, 1985), never by pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

import msgspec

Scored = tuple[str, str, float]
"""Two records, and how probable it is that they are of one person."""


class Score(msgspec.Struct, frozen=True):
    """Pairs that are right among those that were found and those that there are."""

    right: int
    found: int
    true: int

    @property
    def precision(self) -> float:
        """Share of the pairs found that are true; 1 if none was found."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true pairs that were found; 1 if there are none."""
        return self.right / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def score(persons: Mapping[str, Hashable], truth: Mapping[str, Hashable]) -> Score:
    """Compare a partition of records with the true one; both name the same records."""
    cells = Counter((persons[record], entity) for record, entity in truth.items())
    return Score(_pairs(cells), _pairs(Counter(persons[record] for record in truth)), _pairs(Counter(truth.values())))


def score_labels(persons: Mapping[str, Hashable], labels: Iterable[tuple[str, str, bool]]) -> Score:
    """Compare a partition with what people said of some pairs of records."""
    judged = [(persons[left] == persons[right], match) for left, right, match in labels]
    return Score(
        sum(found and match for found, match in judged),
        sum(found for found, _ in judged),
        sum(match for _, match in judged),
    )


def score_pairs(pairs: Iterable[Scored], truth: Mapping[str, Hashable], threshold: float) -> Score:
    """Compare the pairs from `threshold` on with a true partition."""
    found = [truth[left] == truth[right] for left, right, probability in pairs if probability >= threshold]
    return Score(sum(found), len(found), _pairs(Counter(truth.values())))


def best_threshold(pairs: Iterable[Scored], truth: Mapping[str, Hashable]) -> float:
    """Return the threshold of the highest F1, found with the truth at hand; of several the highest. 1 without pairs."""
    ordered = sorted(pairs, key=lambda pair: -pair[2])
    true = _pairs(Counter(truth.values()))
    best, threshold, right = -1.0, 1.0, 0
    for number, (left, other, probability) in enumerate(ordered, 1):
        right += truth[left] == truth[other]
        # Pairs of one probability are found together.
        if number < len(ordered) and ordered[number][2] == probability:
            continue
        if (f1 := Score(right, number, true).f1) > best:
            best, threshold = f1, probability
    return threshold


def joined(records: Iterable[str], pairs: Iterable[Scored], threshold: float) -> dict[str, str]:
    """Return for each record a record that stands for all that pairs from `threshold` on lead to."""
    leader = {record: record for record in records}

    def find(record: str) -> str:
        while leader[record] != record:
            leader[record] = record = leader[leader[record]]
        return record

    for left, right, probability in pairs:
        if probability >= threshold:
            leader[find(left)] = find(right)
    return {record: find(record) for record in leader}


def _pairs(counts: Counter[Hashable] | Counter[tuple[Hashable, Hashable]]) -> int:
    return sum(count * (count - 1) // 2 for count in counts.values())
