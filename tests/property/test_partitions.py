"""What counts does not depend on which partition is read first: facts through lateness, join and windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from events.feedback import FeedbackEvent, Judgement, Rating, Timed, Turn
from events.kpis import KpiValue
from events.log import LogRecord, Mark
from operators.feedback.batches import FeedbackBatch
from operators.feedback.combine import Combiner
from operators.feedback.configure import Objectives
from operators.feedback.join import JoinBucket, joined_id
from operators.feedback.lateness import Lateness
from operators.feedback.rules import KpiRule, Limits, WindowRule
from operators.feedback.windows import WindowBucket, to_buckets
from tests.property.facts_world import HORIZON, World

LIMITS = Limits(lateness=2, horizon=HORIZON)
OBJECTIVES = Objectives(5.0)
WINDOW = WindowRule("3ms", 3, 3)
RULES = [KpiRule(kind, kind, "count", (WINDOW,)) for kind in ("answers", "ratings")]
seeds = st.integers(0, 2**32)


@given(seed=seeds, ratings=st.integers(0, 20))
def test_each_fact_counts_once_in_its_window_whichever_partition_is_read_first(seed: int, ratings: int) -> None:
    random = Random(seed)
    answers = [Turn(f"c{number % 3}", str(number), random.randrange(60), "assistant") for number in range(20)]
    rated = [random.choice(answers) for _ in range(ratings)]
    partitions = [
        _judged(random, answers),
        _judged(
            random,
            [
                Rating(
                    answer.conversation,
                    str(number),
                    answer.time + random.randrange(2 * HORIZON),
                    "thumbs",
                    0,
                    answer.id,
                )
                for number, answer in enumerate(rated)
            ],
        ),
    ]
    accepted = [timed.event for partition in partitions for timed in partition]
    expected = Counter(
        ("answers" if isinstance(event, Turn) else "ratings", event.time - event.time % 3) for event in accepted
    )
    for _ in range(3):
        assert _counted(_interleaved(random, partitions)) == expected


@given(seed=seeds, count=st.integers(0, 60))
def test_a_new_fact_has_the_watermark_of_its_event_and_no_fact_goes_back(seed: int, count: int) -> None:
    random = Random(seed)
    buckets: dict[str, JoinBucket] = {}
    told: dict[tuple[str, str], int] = {}
    for event in World(random, span=30).events(count):
        value = event if isinstance(event, Judgement) else Timed(event, event.time + random.randint(0, 40))
        name = joined_id(value)
        for change in buckets.setdefault(name, JoinBucket(LIMITS, OBJECTIVES)).take([(name, value)]):
            fact = change.after or change.before
            assert fact is not None
            known = told.get((fact.kind, fact.id))
            if change.before is None:
                assert change.watermark == value.watermark
            elif fact.kind in {"ratings", "comments", "points"}:
                assert known is not None
                assert change.watermark == max(known, value.watermark)
            else:
                # What was another kind of fact, or has pieces, is told with one watermark for all that it was.
                assert known is not None
                assert change.watermark >= max(known, value.watermark)
            told[fact.kind, fact.id] = change.watermark


def _judged(random: Random, events: Sequence[FeedbackEvent]) -> list[Timed]:
    """Return what one partition, about in order, brings in time."""
    coming = sorted(events, key=lambda event: event.time + random.choice((0, 0, random.randrange(2 * HORIZON))))
    records = [(event, LogRecord("said", 0, offset, event.time)) for offset, event in enumerate(coming)]
    mark = Mark("said", "0", len(records), None, 0, caught_up=False)
    return Lateness("feedback", LIMITS, frozenset()).judge(FeedbackBatch(records, mark, [])).timed


def _interleaved(random: Random, partitions: list[list[Timed]]) -> list[Timed]:
    waiting = [list(partition) for partition in partitions]
    found: list[Timed] = []
    while left := [partition for partition in waiting if partition]:
        partition = random.choice(left)
        size = random.randint(1, 20)
        found += partition[:size]
        del partition[:size]
    return found


def _counted(coming: list[Timed]) -> dict[tuple[str, int], float | None]:
    dropped: list[int] = []
    combiner = Combiner(RULES, LIMITS, dropped.append)
    joins: dict[str, JoinBucket] = {}
    windows: dict[str, WindowBucket] = {}
    values: dict[tuple[str, int], KpiValue] = {}
    for timed in coming:
        name = joined_id(timed)
        changes = joins.setdefault(name, JoinBucket(LIMITS, OBJECTIVES)).take([(name, timed)])
        for key, items in to_buckets(combiner, changes):
            bucket = windows.setdefault(key, WindowBucket(combiner.plan, LIMITS, dropped.append))
            values |= {(value.kpi, value.start): value for value in bucket.take(items)}
    return {name: value.value for name, value in values.items() if value.count}
