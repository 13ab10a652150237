"""The harness itself: its kills are seeded, real, and would show a flow that loses something."""

from __future__ import annotations

from tests.faults.harness import seeded_moments


def test_the_same_seed_gives_the_same_moments() -> None:
    assert seeded_moments(7, 20, 3.0) == seeded_moments(7, 20, 3.0)
    assert seeded_moments(7, 20, 3.0) != seeded_moments(8, 20, 3.0)
    assert all(0 <= moment <= 3.0 for moment in seeded_moments(7, 20, 3.0))
