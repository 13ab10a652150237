"""Reciprocal rank fusion: several rankings of the same things become one.

It looks at ranks only, so the scores of the rankings need no common scale. Cormack, Clarke and Büttcher,
"Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods" (SIGIR 2009).
"""

from __future__ import annotations

from collections.abc import Sequence

CONSTANT = 5
"""How slowly a rank's worth falls. The paper's 60 is for long result lists; for ten answers out of fifty
candidates `benchmarks/retrieval.py` finds small constants better: first places count more."""


def fuse(rankings: Sequence[Sequence[str]], *, constant: int = CONSTANT) -> list[tuple[str, float]]:
    """Return ids with their fused scores, best first; equal scores in the order of the ids.

    :arg rankings: Ids, best first, without repetition within one ranking. What is in several of them gains from each.
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + 1.0 / (constant + rank)
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
