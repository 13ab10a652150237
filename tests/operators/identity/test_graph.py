from __future__ import annotations

from collections.abc import Collection
from random import Random

import pytest

from events.persons import person_id
from operators.identity.graph import IdentityGraph
from operators.identity.moves import Move
from operators.identity.rules import IdentityRules, TypeRules
from tests.property.identity_oracle import FinalRow, members_of, over_limits

REALM = "travel"


def rules(person_limit: int = 50, email: int = 5, phone: int = 5) -> IdentityRules:
    types = (
        TypeRules("code", ("code",), 5),
        TypeRules("email", ("email",), email),
        TypeRules("phone", ("phone",), phone),
    )
    return IdentityRules(types, person_limit)


def whose(graph: IdentityGraph) -> set[frozenset[str]]:
    return {frozenset(records) for _, records in graph.persons()}


def groups(*names: str) -> set[frozenset[str]]:
    return {frozenset(name) for name in names}


def test_records_that_carry_one_identifier_are_one_person_named_after_the_earliest() -> None:
    graph = IdentityGraph(REALM, rules())
    graph.change("a", ("email:x",), 7)
    graph.change("b", ("email:x", "phone:1"), 3)
    graph.change("c", ("phone:1",), 5)
    assert whose(graph) == groups("abc")
    assert {graph.place(record) for record in "abc"} == {(person_id(REALM, "b"), ())}
    assert next(iter(graph.persons()))[1][0] == "b"


def test_of_records_made_at_the_same_time_the_first_by_key_gives_the_id() -> None:
    graph = IdentityGraph(REALM, rules())
    for record in "cab":
        graph.change(record, ("email:x",), 1)
    assert graph.place("c")[0] == person_id(REALM, "a")


def test_a_change_names_exactly_the_records_that_have_moved() -> None:
    graph = IdentityGraph(REALM, rules())
    graph.change("a", ("email:x",), 1)
    graph.change("b", ("email:y",), 2)
    graph.change("z", ("email:z",), 0)
    a, b = person_id(REALM, "a"), person_id(REALM, "b")
    assert graph.change("c", ("email:y",), 3).moved == [Move("c", "", b)]
    joined = graph.change("b", ("email:x", "email:y"), 2)
    assert sorted(joined.moved, key=str) == [Move("b", b, a), Move("c", b, a)]
    assert (set(joined.before), set(joined.after)) == ({a, b}, {a})
    parted = graph.change("b", ("email:y",), 2)
    assert sorted(parted.moved, key=str) == [Move("b", a, b), Move("c", a, b)]
    assert graph.change("b", ("email:y",), 2).moved == []
    assert sorted(graph.change("b", None).moved, key=str) == [Move("b", b, ""), Move("c", b, person_id(REALM, "c"))]
    assert "b" not in graph
    assert graph.place("b") == ("", ())


def test_a_record_key_that_looks_like_an_identifier_is_not_taken_for_it() -> None:
    graph = IdentityGraph(REALM, rules())
    graph.change("email:x", ("phone:1",), 1)
    graph.change("b", ("email:x",), 2)
    assert whose(graph) == {frozenset({"email:x"}), frozenset({"b"})}


def test_an_identifier_over_its_limit_links_nobody_until_it_is_within_it_again() -> None:
    graph = IdentityGraph(REALM, rules(phone=3))
    for since, record in enumerate("abc"):
        assert graph.change(record, ("phone:1",), since).shared == {}
    assert whose(graph) == groups("abc")
    assert graph.change("d", ("phone:1",), 9).shared == {"phone:1": (3, 4)}
    assert whose(graph) == groups("a", "b", "c", "d")
    assert list(graph.shared()) == ["phone:1"]
    assert graph.change("e", ("phone:1",), 10).shared == {"phone:1": (4, 5)}
    assert graph.change("a", (), 0).shared == {"phone:1": (5, 4)}
    assert graph.change("e", None).shared == {"phone:1": (4, 3)}
    assert whose(graph) == groups("a", "bcd")
    assert list(graph.shared()) == []


def test_a_person_over_its_limit_is_held_together_by_the_strongest_types_that_fit() -> None:
    graph = IdentityGraph(REALM, rules(person_limit=3))
    graph.change("a", ("code:1", "phone:1"), 1)
    graph.change("b", ("code:1",), 2)
    graph.change("c", ("email:x", "phone:1"), 3)
    assert whose(graph) == groups("abc")
    graph.change("d", ("email:x",), 4)
    assert whose(graph) == groups("ab", "cd")
    assert graph.place("a") == (person_id(REALM, "a"), ("phone",))
    assert graph.place("d") == (person_id(REALM, "c"), ("phone",))
    moves = graph.change("b", None)
    assert whose(graph) == groups("acd")
    assert {move.record for move in moves.moved} == {"a", "b", "c", "d"}


def test_a_type_that_the_rules_do_not_name_links_nothing_and_is_not_reported() -> None:
    graph = IdentityGraph(REALM, rules())
    graph.change("a", ("device:1",), 1)
    assert graph.change("b", ("device:1",), 2).shared == {}
    assert whose(graph) == groups("a", "b")
    assert list(graph.shared()) == []


def test_another_time_alone_renames_the_person_without_a_search() -> None:
    graph = IdentityGraph(REALM, rules())
    graph.change("a", ("email:x",), 1)
    graph.change("b", ("email:x",), 2)
    before = graph.visited
    assert {move.new for move in graph.change("b", ("email:x",), 0).moved} == {person_id(REALM, "b")}
    assert graph.visited == before


def test_what_was_added_at_once_settles_into_the_same_persons() -> None:
    random = Random(1)
    types = rules(person_limit=4, phone=2, email=3)
    one, other = IdentityGraph(REALM, types), IdentityGraph(REALM, types)
    rows: dict[str, FinalRow] = {}
    for number in range(300):
        carried = frozenset(f"{type_}:{random.randrange(150)}" for type_ in ("code", "email", "phone"))
        rows[f"r{number}"] = FinalRow(carried, random.randrange(9))
    for record, row in rows.items():
        one.change(record, row.identifiers, row.since)
        other.add(record, row.identifiers, row.since)
    other.settle()
    expected = {record: (member.person, member.held) for record, member in members_of(REALM, types, rows).items()}
    assert {record: one.place(record) for record in rows} == expected
    assert {record: other.place(record) for record in rows} == expected
    assert len({held for _, held in expected.values()}) == 4, "not all depths are reached"
    assert set(one.shared()) == set(other.shared()) == set(over_limits(types, rows))


def _work(graph: IdentityGraph, record: str, identifiers: Collection[str] | None, since: int = 0) -> int:
    before = graph.visited
    graph.change(record, identifiers, since)
    return graph.visited - before


def test_one_identifier_of_a_hundred_thousand_records_costs_each_further_one_nothing() -> None:
    graph = IdentityGraph(REALM, rules())
    work = [_work(graph, f"r{number}", ("phone:1", f"email:{number}"), number) for number in range(100_000)]
    assert graph.carried("phone:1") == 100_000
    assert max(work[10:]) == 0
    assert _work(graph, "r7", ("phone:1", "email:8")) <= 20
    assert _work(graph, "r7", None) <= 20
    assert sum(1 for _ in graph.persons()) == 99_999


@pytest.mark.parametrize("length", [1_000, 20_000])
def test_in_a_chain_of_any_length_a_change_costs_as_much_as_persons_may_be_large(length: int) -> None:
    limit = 20
    graph = IdentityGraph(REALM, rules(person_limit=limit))
    for number in range(length):
        graph.add(f"r{number}", (f"phone:{number}", f"phone:{number + 1}"), number)
    graph.settle()
    middle = f"r{length // 2}"
    # Nodes and edges that one search may see, for the changed record and those beside it.
    most = 3 * 3 * (limit + 1) * 6
    assert _work(graph, middle, (), length // 2) <= most
    assert _work(graph, middle, (f"phone:{length // 2}", f"phone:{length // 2 + 1}"), length // 2) <= most
    assert _work(graph, "new", ("phone:5",), 5) <= most
    assert graph.place(middle)[1] == ("phone",)


def test_the_usual_change_is_one_search_of_one_small_person() -> None:
    graph = IdentityGraph(REALM, rules())
    for number in range(1_000):
        for part in range(3):
            graph.change(f"r{number}/{part}", (f"email:{number}", f"phone:{number}.{part}"), number)
    # Four records with four identifiers between them, each seen from all that carry it.
    assert _work(graph, "r5/x", ("email:5", "phone:5.x")) <= 4 + 5 + 4
    assert _work(graph, "r5/x", ("email:5", "phone:other")) == 0
