"""The arithmetic of the identity benchmark: what it counts is what there is."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import identity_data, identity_quality
from benchmarks.identity import parse
from benchmarks.identity_data import Records
from benchmarks.identity_flow import longest_gaps
from benchmarks.identity_log import LIMITS, STREAM, Customers, components, settings
from benchmarks.identity_pairs import (
    Score,
    Scored,
    best_threshold,
    joined,
    score,
    score_labels,
    score_pairs,
)
from events.changes import Change
from operators.changes.decode import decoder
from operators.changes.rules import StreamRules
from operators.identity.configure import identity_rules, record_rules
from operators.identity.extract import Extractor
from operators.identity.graph import IdentityGraph
from stores.sections import table_of
from stores.settings import load

RECORDS = [f"r{number}" for number in range(7)]
PARTITION = st.fixed_dictionaries({record: st.integers(0, 3) for record in RECORDS})
PAIRS = st.lists(
    st.tuples(st.sampled_from(list(combinations(RECORDS, 2))), st.sampled_from([0.1, 0.5, 0.9])),
    unique_by=lambda pair: pair[0],
).map(lambda pairs: [(left, right, probability) for (left, right), probability in pairs])


def brute(found: set[tuple[str, str]], truth: dict[str, int]) -> Score:
    true = {pair for pair in combinations(RECORDS, 2) if truth[pair[0]] == truth[pair[1]]}
    return Score(len(found & true), len(found), len(true))


@given(PARTITION, PARTITION)
def test_a_partition_is_scored_as_all_its_pairs_are(persons: dict[str, int], truth: dict[str, int]) -> None:
    found = {pair for pair in combinations(RECORDS, 2) if persons[pair[0]] == persons[pair[1]]}
    assert score(persons, truth) == brute(found, truth)


@given(PAIRS, PARTITION)
def test_the_best_threshold_is_better_than_any_other(pairs: list[Scored], truth: dict[str, int]) -> None:
    best = score_pairs(pairs, truth, best_threshold(pairs, truth))
    for threshold in (0.1, 0.5, 0.9):
        found = {(left, right) for left, right, probability in pairs if probability >= threshold}
        assert score_pairs(pairs, truth, threshold) == brute(found, truth)
        assert not found or best.f1 >= brute(found, truth).f1


@given(PAIRS)
def test_records_are_joined_where_pairs_lead_from_one_to_the_other(pairs: list[Scored]) -> None:
    reached = {record: {record} for record in RECORDS}
    for _ in RECORDS:
        for left, right, probability in pairs:
            if probability >= 0.5:
                both = reached[left] | reached[right]
                for record in both:
                    reached[record] = both
    persons = joined(RECORDS, pairs, 0.5)
    for left, right in combinations(RECORDS, 2):
        assert (persons[left] == persons[right]) == (right in reached[left])


def test_precision_recall_and_f1_are_those_of_the_textbook() -> None:
    found = Score(right=6, found=8, true=12)
    assert (found.precision, found.recall) == (0.75, 0.5)
    assert found.f1 == pytest.approx(0.6)
    assert (Score(0, 0, 5).precision, Score(0, 0, 5).f1, Score(0, 0, 0).recall) == (1.0, 0.0, 1.0)


def test_labels_count_only_the_pairs_that_were_looked_at() -> None:
    persons = {"a": 1, "b": 1, "c": 2, "d": 2}
    labels = [("a", "b", True), ("a", "c", True), ("c", "d", False), ("b", "d", False)]
    assert score_labels(persons, labels) == Score(right=1, found=2, true=2)


def test_the_fixtures_customers_are_linked_as_their_own_test_says() -> None:
    records = identity_data.fixtures()
    persons = identity_quality.link(records)
    assert persons.keys() == records.truth.keys() == records.flat.keys()
    found = score(persons, records.truth)
    assert found.precision == 1.0
    assert found.recall >= 0.9


def test_the_rules_are_told_in_words() -> None:
    lines = identity_data.described(identity_data.fixtures())
    assert lines[0] == "loyalty (code; up to 4 records): MEMBER_NO; loyalty_number"


@pytest.mark.realdata("splink_datasets")
def test_the_thousand_persons_have_the_pairs_that_their_origin_names(real_data: Path) -> None:
    assert real_data == identity_data.PUBLIC / "splink_datasets"
    records = identity_data.fake_1000()
    assert isinstance(records, Records)
    assert score(records.truth, records.truth) == Score(2031, 2031, 2031)
    assert sum(match for _, _, match in records.labels) == 2031


def test_data_sets_that_are_not_there_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(identity_data, "PUBLIC", tmp_path)
    assert identity_data.fake_1000() is None
    assert identity_data.dedupe_csv() is None


@given(st.lists(st.tuples(*(st.sampled_from(["", "x", "y"]) for _ in LIMITS)), max_size=8))
def test_components_leave_out_what_is_over_its_limit(rows: list[tuple[str, ...]]) -> None:
    limits = dict.fromkeys(LIMITS, 2)
    carried = [(number, tuple(row)) for number, row in enumerate(rows)]
    persons = [{number} for number, _ in carried]
    for place in range(len(limits)):
        for value in ("x", "y"):
            sharing = {number for number, row in carried if row[place] == value}
            if len(sharing) == 2:
                near = [person for person in persons if person & sharing]
                persons = [person for person in persons if not person & sharing] + [set[int]().union(*near)]
    assert components(carried, limits) == len(persons)


def test_the_log_says_who_is_who_to_the_real_decoder_extractor_and_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings().items():
        monkeypatch.setenv(name, value)
    profiles = load().profiles
    customers = Customers(7, 500)
    events = [*customers.begin(-1), *customers.snapshot(), *customers.changes(300)]
    decode = decoder(StreamRules(STREAM, "debezium"))
    extractor = Extractor(identity_rules(profiles), record_rules(profiles))
    graph = IdentityGraph("default", identity_rules(profiles))
    changes = [change for event in events for change in decode(event)]
    for change in changes:
        assert isinstance(change, Change)
        table = table_of(profiles.tables, change.source, change.table)
        assert table is not None
        links = extractor.links(change, table.name)
        graph.change(change.record, sorted(one for said in links.identifiers for one in said or ()), 0)
    assert len(changes) == 804
    assert len(
        {graph.place(record) for record in (change.record for change in changes if isinstance(change, Change))}
    ) == (customers.persons())


def test_the_log_is_a_function_of_its_seed() -> None:
    first, second = (list(Customers(3, 200).snapshot()) for _ in range(2))
    assert first == second
    assert first != list(Customers(4, 200).snapshot())


def test_the_longest_gap_of_each_second_is_told() -> None:
    moments = [10.0, 10.25, 10.5, 11.25, 11.5, 13.75, 14.0]
    assert longest_gaps(moments) == [250.0, 750.0, 2250.0, 250.0]
    assert longest_gaps([10.0]) == []


def test_the_command_line_has_three_sizes() -> None:
    assert parse([]).records == [10_000, 100_000]
    assert parse(["--full"]).records == [10_000, 100_000, 1_000_000]
    assert parse(["--quick"]).changes < parse([]).changes
    assert parse(["--records", "5", "9"]).records == [5, 9]
