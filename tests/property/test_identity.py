"""Who is who equals a batch computation over the final rows, whatever the events went through on their way.

Random histories of creates, updates, rows sent in part, deletes and truncations; in any order, repeated, cut into any
batches and epochs, with crashes after which the journal is ahead of the store, or of the engine, or on its own.
"""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.changes import Truncation
from events.persons import Links
from operators.identity.resolver import Resolver
from operators.identity.rules import IdentityRules
from tests.operators.identity.memory_journal import MemoryJournal
from tests.property.identity_oracle import FOR_EVER, final_rows, members_of, over_limits
from tests.property.identity_world import (
    DAY,
    REALM,
    Journey,
    Source,
    Step,
    Told,
    history,
    persons_of,
    rules,
    steps,
)

EXAMPLES = 50_000 if settings().max_examples > 1_000 else 2_000
"""Crashes that matter are rare."""
seeds = st.integers(0, 2**32)


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(steps, st.lists(rules, min_size=1, max_size=2), seeds)
def test_persons_are_the_components_of_the_final_rows(
    made: list[Step], possible: list[IdentityRules], seed: int
) -> None:
    events = history(made)
    journey = Journey(events, possible, Random(seed))
    journey.run()
    rows = final_rows(events)
    assert journey.told.members == members_of(REALM, journey.rules, rows)
    assert journey.told.shared == over_limits(journey.rules, rows)
    assert journey.told.persons == persons_of(journey.resolver)


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(steps, st.lists(rules, min_size=1, max_size=2), st.integers(0, 4), seeds)
def test_that_records_are_forgotten_long_after_they_went_changes_nothing(
    made: list[Step], possible: list[IdentityRules], days: int, seed: int
) -> None:
    # Few records, so that they come and go, and all with positions: what is sent in part has no order without them.
    few = ((kind, (0, 1, 3)[which % 3], content) for kind, which, content in made)
    events, horizon = history(few, pace=2 * DAY), days * DAY
    journey = Journey(events, possible, Random(seed), horizon)
    journey.run()
    rows = final_rows(events, horizon)
    assert journey.told.members == members_of(REALM, journey.rules, rows)
    assert journey.told.shared == over_limits(journey.rules, rows)


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(steps, rules)
def test_each_step_is_told_and_a_person_whose_earliest_record_stays_keeps_its_id(
    made: list[Step], limits: IdentityRules
) -> None:
    resolver, told = _resolver(limits), Told()
    events = history(made)
    for number, event in enumerate(events, 1):
        before, earliest, known = dict(told.persons), _earliest(told), len(told.events)
        told.take(resolver.take([event]))
        assert told.members == members_of(REALM, limits, final_rows(events[:number]))
        for record, person in told.persons.items():
            if _earliest(told)[person] == record == earliest.get(before.get(record, "")):
                assert person == before[record]
        assert {(e.kind, e.person, e.others) for e in told.events[known:]} == _events(before, told.persons)
        assert len({e.id for e in told.events}) == len(told.events)


@pytest.mark.timeout(3600)
@settings(max_examples=EXAMPLES)
@given(steps, rules, st.integers(0, 7), st.integers(0, 7))
def test_a_merge_and_its_undo_leave_everything_as_it_was(
    made: list[Step], limits: IdentityRules, one: int, other: int
) -> None:
    resolver, told, source = _resolver(limits), Told(), Source()
    newest: dict[str, Links] = {}
    for step in made:
        event = source.event((step[0].replace("part", "put"), *step[1:]))
        told.take(resolver.take([event]))
        if isinstance(event, Truncation):
            prefix = f"{event.source}/{event.table}/"
            newest = {record: links for record, links in newest.items() if not record.startswith(prefix)}
        elif event.change.after is None:
            newest.pop(event.change.record, None)
        else:
            newest[event.change.record] = event
    if not newest:
        return
    before = dict(told.members)
    links, giver = (newest[sorted(newest)[index % len(newest)]] for index in (one, other))
    more = tuple(
        tuple(sorted({*(own or ()), *told.members[giver.change.record].identifiers})) for own in links.identifiers
    )
    for number, identifiers in ((1, more), (2, links.identifiers)):
        change = links.change
        position = (*change.position[:1], 10_000 + number) if change.position else ()
        told.take(
            resolver.take(
                [
                    msgspec.structs.replace(
                        links,
                        change=msgspec.structs.replace(change, position=position, offset=10_000 + number),
                        identifiers=identifiers,
                    )
                ]
            )
        )
    assert told.members == before


def _resolver(limits: IdentityRules) -> Resolver:
    resolver = Resolver(REALM, limits, MemoryJournal(), extraction={"rows": "rules 1"}, horizon=FOR_EVER)
    resolver.start(None)
    return resolver


def _earliest(told: Told) -> dict[str, str]:
    """Return the earliest record of each person."""
    ages = sorted((member.since, record, member.person) for record, member in told.members.items())
    return {person: record for _, record, person in reversed(ages)}


def _events(before: dict[str, str], after: dict[str, str]) -> set[tuple[str, str, tuple[str, ...]]]:
    """Return kind, person and others of the events that lead from one partition to the other."""
    events: set[tuple[str, str, tuple[str, ...]]] = set()
    whole: dict[str, set[str]] = {}
    for old in set(before.values()):
        became = {after[record] for record, person in before.items() if person == old and record in after}
        if len(became) > 1 or (old in after.values() and became - {old}):
            events.add(("split", old, tuple(sorted(became - {old}))))
        for new in became - {old} if len(became) == 1 else ():
            whole.setdefault(new, set()).add(old)
    for new, olds in whole.items():
        if len(olds) == 1 and new not in before.values():
            events.add(("renamed", min(olds), (new,)))
        else:
            events.add(("merged", new, tuple(sorted(olds))))
    return events
