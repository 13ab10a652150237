"""The conversation so far: complete, in its order, and only for whom it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from events.errors import RejectedError
from events.feedback import Comment, Rating, ShownContext, Turn
from events.log import Applied
from serving.access.caller import Caller, local
from serving.context import turns
from serving.context.lags import HANDED, HERE
from serving.context.request import Said
from serving.errors import ForbiddenError
from stores.contexts.base import Holder
from stores.contexts.sqlite import SqliteContexts
from stores.lake.turns import SaidTurns, read_turns
from stores.lake.working import Conversations
from tests.serving.context.samples import NOW

ANNA = Caller("desk", frozenset(), person="panna", realm="default")
BERT = msgspec.structs.replace(ANNA, person="pbert")
NOBODY = Caller("desk", frozenset())
OF_ANNA = Holder("default", "panna", "desk")
PERSONS = {"loyalty:77": "panna", "pold": "panna", "loyalty:88": "pbert"}


def persons_of(text: str) -> frozenset[str]:
    return frozenset({PERSONS[text]} if text in PERSONS else ())


@pytest.fixture
def contexts(tmp_path: Path) -> Iterator[SqliteContexts]:
    with closing(SqliteContexts(tmp_path / "contexts.sqlite3")) as store:
        yield store


def said(id_: str, time: int, role: str = "user", *, person: str = "", text: str = "", of: str = "k1") -> Turn:
    plain = {"conversation": of, "id": id_, "time": NOW + time, "role": role, "text": text or id_, "person": person}
    return msgspec.convert(plain, Turn)


def ids(contexts: SqliteContexts, lake: SaidTurns | None, caller: Caller, most: int = 10) -> list[str]:
    found = turns.known(contexts, lake, caller, "k1", most=most, persons_of=persons_of)
    return [turn.id for turn in found.turns]


def test_what_was_said_here_and_what_came_over_the_log_are_one_conversation(contexts: SqliteContexts) -> None:
    contexts.claim("k1", OF_ANNA, NOW)
    contexts.add_turns([said("q2", 20, person="panna"), said("a2", 20, "assistant", person="panna")])
    lake = SaidTurns((said("q1", 10, person="loyalty:77"), said("a1", 15, "assistant"), said("q2", 20, person="panna")))
    assert ids(contexts, lake, ANNA) == ["q1", "a1", "q2", "a2"]
    assert ids(contexts, lake, ANNA, most=3) == ["a1", "q2", "a2"]
    assert ids(contexts, lake, ANNA, most=0) == []
    assert ids(contexts, None, ANNA) == ["q2", "a2"]


def test_the_newer_of_two_versions_of_a_turn_stands(contexts: SqliteContexts) -> None:
    contexts.claim("k1", OF_ANNA, NOW)
    contexts.add_turns([said("q", 10, person="panna", text="before")])
    lake = SaidTurns((said("q", 11, person="panna", text="after"),))
    found = turns.known(contexts, lake, ANNA, "k1", most=5, persons_of=persons_of)
    assert [turn.text for turn in found.turns] == ["after"]


def test_what_is_for_the_application_alone_is_not_shown(contexts: SqliteContexts) -> None:
    lake = SaidTurns(
        (said("s", 1, "system"), said("q", 2, person="panna"), said("t", 3, "tool"), said("e", 4, text=" \n"))
    )
    assert ids(contexts, lake, ANNA) == ["q"]


@pytest.mark.parametrize(
    ("holder", "caller", "mine"),
    [
        (OF_ANNA, ANNA, True),
        (Holder("default", "pold", "desk"), ANNA, True),  # who has become the same person
        (Holder("default", "panna", "shop"), ANNA, True),
        (Holder("partners", "panna", "desk"), ANNA, False),
        (OF_ANNA, BERT, False),
        (OF_ANNA, NOBODY, False),
        (Holder("", "", "desk"), NOBODY, True),
        (Holder("", "", "shop"), NOBODY, False),
        (Holder("", "", "desk"), ANNA, False),
    ],
)
def test_a_conversation_is_for_its_holder_alone(
    contexts: SqliteContexts, holder: Holder, caller: Caller, mine: bool
) -> None:
    contexts.claim("k1", holder, NOW)
    contexts.add_turns([said("q", 1)])
    if mine:
        assert ids(contexts, None, caller) == ["q"]
    else:
        with pytest.raises(ForbiddenError):
            ids(contexts, None, caller)


@pytest.mark.parametrize(
    ("named", "caller", "mine"),
    [
        (["panna"], ANNA, True),
        (["loyalty:77", "", "panna"], ANNA, True),
        (["loyalty:88"], ANNA, False),
        (["panna", "loyalty:88"], ANNA, False),
        (["unknown:1"], ANNA, False),
        (["panna"], NOBODY, False),
    ],
)
@pytest.mark.parametrize("claimed", [False, True])
def test_turns_of_the_log_are_for_the_person_that_they_name(
    contexts: SqliteContexts, named: list[str], caller: Caller, mine: bool, claimed: bool
) -> None:
    if claimed:  # whoever is first to claim a conversation has no right to what others said in it
        contexts.claim("k1", Holder(caller.realm, caller.person, caller.key), NOW)
    lake = SaidTurns(tuple(said(f"q{number}", number, person=person) for number, person in enumerate(named)))
    if mine:
        assert ids(contexts, lake, caller) == [turn.id for turn in lake.turns]
    else:
        with pytest.raises(ForbiddenError):
            ids(contexts, lake, caller)


@pytest.mark.parametrize("caller", [ANNA, NOBODY])
def test_turns_of_the_log_that_name_nobody_are_shown_to_nobody(contexts: SqliteContexts, caller: Caller) -> None:
    contexts.claim("k1", Holder(caller.realm, caller.person, caller.key), NOW)
    assert ids(contexts, SaidTurns((said("q", 1),)), caller) == []


def test_turns_are_told_newest_most_useful_with_where_they_come_from(contexts: SqliteContexts) -> None:
    contexts.claim("k1", OF_ANNA, NOW)
    contexts.add_turns([said("a", 20, "assistant", person="panna")])
    lake = SaidTurns((said("q", 10, person="panna"),))
    found = turns.told(turns.known(contexts, lake, ANNA, "k1", most=5, persons_of=persons_of), NOW + 400)
    assert [(one.id, one.store, one.title, one.as_of - NOW, one.applied_at - NOW) for one in found] == [
        ("k1/q", "lake", "the user said", 10, 400),
        ("k1/a", HERE, "the assistant said", 20, 20),
    ]
    assert found[0].score < found[1].score


def test_a_history_is_taken_as_it_is_given() -> None:
    history = [
        Said("system", "be kind"),
        *(Said(role, f"{role} {n}") for n in range(3) for role in ("user", "assistant")),
    ]
    found = turns.given(history, NOBODY, "k1", 3, NOW)
    assert [(one.text, one.position) for one in found] == [("assistant 1", "5"), ("user 2", "6"), ("assistant 2", "7")]
    assert {(one.store, one.source, one.as_of) for one in found} == {(HANDED, "desk", NOW)}
    assert turns.given(history, NOBODY, "k1", 0, NOW) == []
    with pytest.raises(RejectedError, match="'robot' is not the role"):
        turns.given([Said("robot", "x")], local(), "k1", 3, NOW)


def test_turns_are_read_beside_the_flow_that_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "conversations.sqlite3"
    assert read_turns(path, "k1") is None
    events: list[Turn | Rating | Comment | ShownContext] = [
        said("b", 5), said("a", 5, "assistant"), said("z", 1), said("o", 3, of="k2"),
        Rating("k1", "r", NOW, "thumbs", 1.0),
    ]  # fmt: skip
    mark = Applied("feedback", "0", 7, NOW, NOW, True, NOW)
    with closing(Conversations(path, lambda: NOW)) as writer:
        with writer.transaction():
            writer.put(events, writer.meet(["k1", "k2"]))
            writer.note_applied([mark])
        found = read_turns(path, "k1")
        assert found is not None
        assert [turn.id for turn in found.turns] == ["z", "b", "a"]
        assert found.applied == (mark,)
        assert read_turns(path, "k3") == SaidTurns((), (mark,))
