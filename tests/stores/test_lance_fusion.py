"""Reciprocal rank fusion, with the sums written out by hand."""

from __future__ import annotations

import pytest

from stores.vectors.fusion import fuse


def test_a_score_is_the_sum_of_the_reciprocal_ranks() -> None:
    fused = fuse([["a", "b"], ["b", "c"]], constant=10)
    assert [name for name, _ in fused] == ["b", "a", "c"]
    assert [score for _, score in fused] == pytest.approx([1 / 12 + 1 / 11, 1 / 11, 1 / 12])


def test_one_ranking_stays_as_it_is() -> None:
    assert [name for name, _ in fuse([["c", "a", "b"]])] == ["c", "a", "b"]


def test_equal_scores_are_in_the_order_of_the_ids() -> None:
    assert [name for name, _ in fuse([["b", "d"], ["a", "c"]])] == ["a", "b", "c", "d"]


def test_nothing_fuses_to_nothing() -> None:
    assert fuse([]) == fuse([[], []]) == []
