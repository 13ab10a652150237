"""Sessions follow from the moments that count, whatever comes or goes in between, and however long ago."""

from __future__ import annotations

import pickle
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.feedback.lanes import Kpi, Tally
from operators.feedback.rules import KpiRule, WindowRule
from operators.feedback.sessions import Sessions

GAP = 3
SESSIONS = WindowRule("session", 0, 0, GAP)
SUM = Kpi(KpiRule("tokens", "answers", "sum", (SESSIONS,), of="tokens"))
DISTINCT = Kpi(KpiRule("users", "answers", "distinct", (SESSIONS,), of="person"))

Told = dict[int, tuple[int, float | None, int, int]]
"""By begin: end, value, count, late."""


class Store:
    """Applies changes and keeps what was told, as a store does."""

    def __init__(self, kpi: Kpi = SUM) -> None:
        self.told: Told = {}
        self._kpi = kpi
        self._sessions = Sessions(kpi, GAP)

    def apply(self, changes: dict[int, Tally]) -> None:
        for start, end, (value, count, late, _) in self._sessions.apply(changes):
            if count:
                assert self.told.get(start) != (end, value, count, late), "a session was told that had not changed"
                self.told[start] = (end, value, count, late)
            else:
                del self.told[start]

    def forget(self, limit: int) -> bool:
        self._sessions.forget(limit)
        return self._sessions.is_empty()

    def restart(self) -> None:
        state = pickle.loads(pickle.dumps(self._sessions.state))  # noqa: S301  # written by the test itself
        self._sessions = Sessions(self._kpi, GAP, state)


def islands(counts: Counter[int], totals: Counter[int], lates: Counter[int]) -> Told:
    """Return the sessions of all moments at which anything counts."""
    found: list[list[int]] = []
    for moment in sorted(moment for moment, count in counts.items() if count > 0):
        if found and moment - found[-1][-1] <= GAP:
            found[-1].append(moment)
        else:
            found.append([moment])
    return {
        moments[0]: (
            moments[-1] + 1,
            float(sum(totals[moment] for moment in moments)),
            sum(counts[moment] for moment in moments),
            sum(late for moment, late in lates.items() if moments[0] <= moment <= moments[-1]),
        )
        for moments in found
    }


changes = st.lists(
    st.tuples(
        st.integers(0, 14),  # moment, from what can still change on
        st.sampled_from((1, 1, 1, -1, -1, 0)),  # facts that come, or go
        st.integers(-3, 3),  # by how much the sum changes
        st.sampled_from((0, 0, 0, 1)),  # late
    ),
    max_size=8,
)


@settings(max_examples=600)
@given(batches=st.lists(st.tuples(changes, st.integers(0, 3), st.booleans()), max_size=12))
def test_sessions_are_the_islands_of_all_moments(
    batches: list[tuple[list[tuple[int, int, int, int]], int, bool]],
) -> None:
    store, limit = Store(), 0
    counts: Counter[int] = Counter()
    totals: Counter[int] = Counter()
    lates: Counter[int] = Counter()
    for batch, advance, restart in batches:
        merged: dict[int, Tally] = {}
        for after, count, total, late in batch:
            moment = limit + after
            counts[moment] += count
            totals[moment] += total
            lates[moment] += late
            merged[moment] = SUM.merge(merged.get(moment), (count, late, total * 10**9))
        store.apply(merged)
        assert store.told == islands(counts, totals, lates)
        if restart:
            store.restart()
        limit += advance
        store.forget(limit)


def test_a_moment_between_two_sessions_joins_them() -> None:
    store = Store()
    store.apply({0: (1, 0, 0), 6: (1, 0, 0)})
    assert sorted(store.told) == [0, 6]
    store.apply({3: (1, 0, 0)})
    assert store.told == {0: (7, 0.0, 3, 0)}


def test_a_moment_that_goes_splits_its_session() -> None:
    store = Store()
    store.apply({0: (1, 0, 10**9), 3: (1, 0, 0), 6: (1, 0, 5 * 10**9)})
    store.apply({3: (-1, 0, 0)})
    assert store.told == {0: (1, 1.0, 1, 0), 6: (7, 5.0, 1, 0)}


def test_what_was_joined_and_is_parted_again_has_its_own_values_again() -> None:
    store = Store(DISTINCT)

    def person(name: int, count: int) -> Tally:
        return count, 0, (0, {name: count})

    store.apply({0: person(1, 1), 6: person(1, 1)})
    before = dict(store.told)
    store.apply({3: person(2, 1)})
    assert store.told == {0: (7, 2.0, 3, 0)}
    store.apply({3: person(2, -1)})
    assert store.told == before


def test_a_session_is_forgotten_when_nothing_can_join_it_any_more() -> None:
    store = Store()
    store.apply({0: (1, 0, 0), 1: (1, 0, 0)})
    assert not store.forget(1 + GAP)
    store.apply({1 + GAP: (1, 0, 0)})
    assert store.told == {0: (2 + GAP, 0.0, 3, 0)}
    assert store.forget(1 + GAP + GAP + 1)
