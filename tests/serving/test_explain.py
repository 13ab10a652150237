"""Why two things are one person, and what keeps them apart: paths against an enumeration of all of them."""

from __future__ import annotations

import itertools
import json
import random

import msgspec
import networkx as nx
import pytest

from events.errors import HeadraceError
from events.persons import Member, person_id, type_of
from serving.explain import Explanation
from serving.lookups import anything
from serving.person_graph import Node, graph_of, identifier, path, record, state_of
from serving.printable import json_text
from serving.profile_document import explained
from serving.profiles import NobodyError, Profiles
from serving.show_profile import explanation_view
from tests.serving import persons_sample as sample
from tests.serving.persons_sample import ANNA, NOW, configured, fill, opened
from tests.serving.test_profiles import drawn


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    settings = configured(tmp_path_factory.mktemp("persons"))
    fill(settings)
    return opened(settings)


def explain(profiles: Profiles, a: str, b: str, realm: str = "") -> Explanation:
    settings = profiles.settings.profiles
    return profiles.explain(anything(a, settings, realm), anything(b, settings, realm))


def test_the_path_says_which_columns_carry_each_identifier_and_as_of_when(profiles: Profiles) -> None:
    found = explain(profiles, "customers/1", "customers/2")
    assert found.together
    assert found.persons == (ANNA,)
    steps = [(step.record, step.identifier, step.columns, step.text, step.as_of) for step in found.path]
    assert steps == [
        (sample.ANNA_CRM, "loyalty:HR100200", ("loyalty",), "HR-100 200", NOW - 60_000),
        (sample.ANNA_SHOP, "loyalty:HR100200", ("card",), "HR100200", NOW - 120_000),
        (sample.ANNA_SHOP, "email:a.k@posteo.example", ("login",), "A.K@posteo.example", NOW - 120_000),
        (sample.ANNA_OLD, "email:a.k@posteo.example", ("email",), "a.k@posteo.example", NOW - 180_000),
    ]
    shown = drawn(explanation_view(found, profiles.name_of, NOW), 120).splitlines()
    assert [line for line in shown if not line.startswith("│")] == [
        f"One person: {ANNA}",
        "customers 1 (crm)",
        "loyalty:HR100200",
        "users 7 (shop)",
        "email:a.k@posteo.example",
        "customers 2 (crm)",
    ]


@pytest.mark.parametrize("width", [30, 44, 80])
def test_lines_that_are_wrapped_stay_in_the_tree_and_spans_stay_whole(profiles: Profiles, width: int) -> None:
    found = explain(profiles, "customers/1", "customers/2")
    long = msgspec.structs.replace(found.path[0], text="y" * 10_000, as_of=NOW - 111 * 86_400_000)
    view = explanation_view(msgspec.structs.replace(found, path=(long, *found.path[1:])), profiles.name_of, NOW)
    lines = drawn(view, width).splitlines()
    assert max(map(len, lines)) <= width
    named = ["customers 1 (crm)", "loyalty:HR100200", "users 7 (shop)", "email:a.k@posteo.example", "customers 2 (crm)"]
    assert [line.rstrip() for line in lines if not line.startswith("│  ")] == [f"One person: {ANNA}", *named]
    beside = [line.removeprefix("│  ") for line in lines if line.startswith("│  ")]
    assert any("(10,000" in line for line in beside)
    if width > 40:
        assert sum("111 d ago" in line for line in beside) == 1
        assert any(line.startswith("as of 2023-07-26") for line in beside)


def test_what_both_carry_is_drawn_beside_a_bar_at_any_width(profiles: Profiles) -> None:
    apart = explain(profiles, "customers/1", "customers/3")
    lines = drawn(explanation_view(apart, profiles.name_of, NOW), 60).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  │"))
    assert lines[at].rstrip() == "  │  customers 1 (crm)"
    assert all(line.startswith("  │  ") for line in lines[at:])
    assert sum("as of" in line and line.rstrip().endswith(" ago") for line in lines[at:]) == 2


def test_an_identifier_an_id_and_an_alias_stand_for_what_they_name(profiles: Profiles) -> None:
    by_identifier = explain(profiles, "loyalty:HR100200", "customers/2")
    assert [(step.record, step.identifier) for step in by_identifier.path] == [
        (sample.ANNA_SHOP, "loyalty:HR100200"),
        (sample.ANNA_SHOP, "email:a.k@posteo.example"),
        (sample.ANNA_OLD, "email:a.k@posteo.example"),
    ]
    by_ids = explain(profiles, ANNA, person_id("default", sample.ANNA_OLD))
    assert (by_ids.a, by_ids.b) == (record(sample.ANNA_CRM), record(sample.ANNA_OLD))
    assert len(by_ids.path) == 4
    same = explain(profiles, ANNA, "customers/1")
    assert (same.together, same.path) == (True, ())
    assert "customers 1" in drawn(explanation_view(same, profiles.name_of, NOW), 120)


def test_an_over_shared_number_keeps_apart_who_have_nothing_else_in_common(profiles: Profiles) -> None:
    found = explain(profiles, "customers/1", "customers/3")
    assert not found.together
    (reason,) = found.reasons
    assert (reason.kind, reason.identifier) == ("shared", sample.SWITCHBOARD)
    assert "3 records, more than its limit of 2" in reason.said
    assert [step.record for step in reason.carried] == [sample.ANNA_CRM, sample.BERT]
    assert sample.DORA not in json_text(explained(found, NOW, profiles.name_of))


def test_a_placeholder_that_both_have_is_named_as_what_it_is(profiles: Profiles) -> None:
    (reason,) = explain(profiles, "customers/2", "users/8").reasons
    assert reason.kind == "refused"
    assert "'000000' for phone" in reason.said
    assert [(step.record, step.columns) for step in reason.carried] == [
        (sample.ANNA_OLD, ("phone",)),
        (sample.CARA, ("mobile",)),
    ]


def test_links_that_are_held_back_are_named_with_the_limit(profiles: Profiles) -> None:
    (reason,) = explain(profiles, "users/11", "users/12").reasons
    assert (reason.kind, reason.identifier) == ("held", "phone:+493020003000")
    assert "larger than 3 records" in reason.said
    reasons = explain(profiles, "phone:+493020003000", "users/12").reasons
    assert [one.kind for one in reasons] == ["held"]


@pytest.mark.parametrize(
    ("a", "b", "kinds"),
    [
        ("customers/3", "users/8", ["nothing"]),
        ("customers/1", "customers/9", ["deleted"]),
        ("customers/1", "agents/1", ["realm"]),
        ("phone:+493020001000", "customers/1", ["shared"]),
        ("users/8", "users/11", ["nothing", "held"]),
    ],
)
def test_what_keeps_things_apart_is_said(profiles: Profiles, a: str, b: str, kinds: list[str]) -> None:
    found = explain(profiles, a, b)
    assert not found.together
    assert [reason.kind for reason in found.reasons] == kinds
    shown = drawn(explanation_view(found, profiles.name_of, NOW), 120)
    assert shown.startswith("Not one person")
    assert all(reason.said[:40] in shown for reason in found.reasons)


def test_what_is_unknown_or_several_things_is_an_error(profiles: Profiles) -> None:
    with pytest.raises(NobodyError, match="'customers/77' is not known"):
        explain(profiles, "customers/1", "customers/77")
    with pytest.raises(HeadraceError, match="can be 2 things"):
        explain(profiles, "anna@posteo.example", "customers/1")


def test_an_explanation_is_plain_data_for_other_programs(profiles: Profiles) -> None:
    found = json.loads(json_text(explained(explain(profiles, "customers/1", "users/7"), NOW, profiles.name_of)))
    assert found["together"] is True
    assert [step["columns"] for step in found["path"]] == [["loyalty"], ["card"]]
    assert found["path"][0]["age_ms"] == 60_000
    assert (found["path"][0]["table"], found["path"][0]["key"], found["path"][0]["position"]) == ("customers", "1", "1")


TYPES = ("loyalty", "email", "phone")


@pytest.mark.parametrize("seed", range(60))
def test_the_path_is_a_shortest_one_of_the_strongest_identifiers(seed: int) -> None:
    draw = random.Random(seed)
    names = [f"{type_}:{number}" for type_ in TYPES for number in range(3)]
    members = [
        Member(f"s/t/{number}", "r", "p", tuple(sorted(draw.sample(names, draw.randint(0, 3)))), number)
        for number in range(7)
    ]
    shared = {("r", draw.choice(names))}
    graph = graph_of(members, shared)
    for one, other in itertools.combinations(members, 2):
        a, b = record(one.record), record(other.record)
        found = path(graph, a, b, TYPES)
        linking = nx.Graph((x, y) for x, y, edge in graph.edges(data=True) if edge["state"] == "links")
        linking.add_nodes_from([a, b])
        if not nx.has_path(linking, a, b):
            assert found == []
            continue
        # Fewest steps, then the fewest of the weakest type, then of the next weaker: every path there is.
        every = [cost(one_path) for one_path in nx.all_simple_paths(linking, a, b)]
        assert cost(found) == min(every)
        assert (found[0], found[-1]) == (a, b)
        assert all(linking.has_edge(x, y) for x, y in itertools.pairwise(found))


def cost(nodes: list[Node]) -> tuple[int, ...]:
    types = [type_of(node.name) for node in nodes if node.kind == "identifier"]
    return (len(nodes), *(types.count(type_) for type_ in reversed(TYPES)))


def test_held_and_shared_identifiers_are_told_apart_in_the_graph() -> None:
    members = [
        Member("s/t/1", "r", "p", ("email:a", "phone:b", "phone:c"), 0, ("phone",)),
        Member("s/t/2", "r", "p", ("email:a", "phone:b"), 1, ("phone",)),
    ]
    graph = graph_of(members, {("r", "phone:c"), ("other", "email:a")})
    states = {
        name: state_of(graph, record("s/t/1"), identifier(name, "r")) for name in ("email:a", "phone:b", "phone:c")
    }
    assert states == {"email:a": "links", "phone:b": "held", "phone:c": "shared"}
    assert path(graph, identifier("phone:b", "r"), record("s/t/2"), TYPES) == [
        identifier("phone:b", "r"),
        record("s/t/2"),
    ]
