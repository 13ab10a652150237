"""The plan of a commit, and what the writer remembers of the documents that it wrote."""

from __future__ import annotations

from events.documents import DocumentUpdate
from stores.vectors.held import Held
from stores.vectors.plan import Holdings, Plan, plan
from tests.stores.vector_samples import chunk_id, delete, upsert


def planned(held: Held | None, *updates: DocumentUpdate) -> Plan:
    return plan(updates, {"docs/a": held}, now=7)


def texts(outcome: Plan) -> list[str]:
    return [chunk.text for _, chunk in outcome.fresh]


def test_only_what_is_not_held_is_fresh_and_only_what_is_dropped_is_gone() -> None:
    held = planned(None, upsert("a", "one", "two")).heads["docs/a"]
    outcome = planned(held, upsert("a", "two", "three", position=2))
    assert texts(outcome) == ["three"]
    assert outcome.gone == [(chunk_id("docs/a", "one"), "docs/a")]
    assert outcome.restated == []


def test_a_changed_language_restates_what_stays() -> None:
    held = planned(None, upsert("a", "one", "two")).heads["docs/a"]
    outcome = planned(held, upsert("a", "two", "three", position=2, language="de"))
    assert texts(outcome) == ["three"]
    assert [chunk.text for _, chunk in outcome.restated] == ["two"]


def test_since_follows_the_updates_of_one_batch_as_if_they_came_one_by_one() -> None:
    updates = [
        upsert("a", "one"),
        delete("a", position=2),
        upsert("a", "one", position=3),
        upsert("a", "one", "x", position=4),
    ]
    assert planned(None, *updates).heads["docs/a"].since == (3_000, 4_000)
    held: Held | None = None
    for update in updates:
        held = planned(held, update).heads["docs/a"]
    assert held is not None
    assert held.since == (3_000, 4_000)


def test_while_complete_what_is_unknown_is_absent() -> None:
    holdings = Holdings(complete=True)
    assert holdings.split(["docs/a"]) == ({"docs/a": None}, [])
    assert Holdings(complete=False).split(["docs/a"]) == ({}, ["docs/a"])


def test_the_least_recently_used_documents_are_forgotten_first() -> None:
    holdings = Holdings(complete=True, capacity=9)
    states = {f"docs/{uri}": planned(None, upsert("a", "1", "2")).heads["docs/a"] for uri in "abc"}
    holdings.learn(states)
    holdings.split(["docs/a"])
    holdings.learn({"docs/d": states["docs/a"]})
    known, unknown = holdings.split(["docs/a", "docs/b", "docs/c", "docs/d"])
    assert (sorted(known), unknown) == (["docs/a", "docs/c", "docs/d"], ["docs/b"])


def test_learning_the_same_document_again_costs_no_room() -> None:
    holdings = Holdings(complete=True, capacity=6)
    state = planned(None, upsert("a", "1", "2")).heads["docs/a"]
    for _ in range(10):
        holdings.learn({"docs/a": state, "docs/b": state})
    assert holdings.complete
