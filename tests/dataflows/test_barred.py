"""Who is kept out of feedback: by any name of an erased person, by the conversation, and until when."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflows.barred import Barred
from events.erasure import Erasure
from events.feedback import Comment, FeedbackEvent, Point, Rating, ShownContext, Turn
from events.persons import person_id
from stores.erasures import Erasures, Pending
from stores.settings import Settings, load

AT = 1_000
RECORD = 'crm/customers/{"id":1}'
PERSON = person_id("default", RECORD)
ANNA = Erasure("e1", "default", PERSON, (RECORD,), ("email:anna@example.org",), AT, ("hers",))
CUSTOMERS = {"name": "customers", "table": "customers", "identifiers": {"email": ["mail"]}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(data_dir=tmp_path, profiles={"streams": [{"name": "crm"}], "tables": [CUSTOMERS]})


@pytest.fixture
def barred(settings: Settings) -> Barred:
    Erasures(settings.erasures_path).begin(Pending(ANNA))
    return Barred(settings)


def turn(person: str = "", time: int = AT, conversation: str = "c") -> Turn:
    return Turn(conversation, "t", time, "user", person=person)


def test_nobody_is_barred_while_nobody_is_erased(settings: Settings) -> None:
    barred = Barred(settings)
    assert not barred.said(turn("anna@example.org"))
    assert not barred.conversation("hers")
    assert barred.feedback([turn("anna@example.org")]) == [turn("anna@example.org")]


@pytest.mark.parametrize("name", [RECORD, PERSON])
def test_records_and_ids_are_barred_for_ever(barred: Barred, name: str) -> None:
    assert barred.said(turn(name))
    assert barred.said(turn(name, AT + 1))


@pytest.mark.parametrize("name", ["anna@example.org", " ANNA@Example.org", "email:anna@example.org"])
def test_an_address_is_barred_until_the_erasure_and_then_is_somebody_elses(barred: Barred, name: str) -> None:
    assert barred.said(Rating("c", "r", AT, "thumbs", 1, person=name))
    assert not barred.said(Comment("c", "k", AT + 1, "fine", person=name))


def test_what_belongs_to_a_conversation_of_hers_is_barred_whoever_said_it(barred: Barred) -> None:
    assert barred.said(ShownContext("hers", "x", AT + 1, ()))
    assert barred.said(turn("ben@example.org", AT + 1, "hers"))
    assert not barred.said(ShownContext("another", "x", AT + 1, ()))
    assert barred.conversation("hers")
    assert not barred.conversation(RECORD)


def test_what_was_shown_of_her_is_barred_in_any_conversation(barred: Barred) -> None:
    answer = Turn("another", "a", AT, "assistant")
    assert barred.feedback([answer, ShownContext("another", "x", AT + 1, (), PERSON)]) == []


def test_what_came_with_her_question_in_one_record_is_barred_and_the_rest_is_not(barred: Barred) -> None:
    answer = Turn("new", "a", AT, "assistant")
    others: list[FeedbackEvent] = [turn("ben@example.org"), Point("p", AT, "load", 1.0)]
    assert barred.feedback([turn("anna@example.org", conversation="new"), answer, *others]) == others
