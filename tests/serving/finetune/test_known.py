"""What is known of the persons of a conversation is taken out of it, and tells who is the same person."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.feedback import Said, Turn
from serving.finetune.build import build
from serving.finetune.export import known_persons
from serving.finetune.known import KnownPersons
from serving.finetune.scrub import Scrubber
from stores.export_settings import ExportSettings
from stores.settings import Settings
from tests.serving import persons_sample as sample
from tests.serving.finetune.conversations import rows, said, taught


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a profile store with a few customers."""
    settings = sample.configured(tmp_path)
    sample.fill(settings)
    return settings


def test_an_id_that_names_somebody_is_taken_out_without_a_profile_store() -> None:
    known = KnownPersons(None, (), ("loyalty",), ()).of(["loyalty:CV370367", "shop/7"])
    clean = Scrubber(ExportSettings(), "").conversation(known)
    assert clean("my card cv370367, order shop/7 of 7") == "my card [ID_1], order [ID_2] of 7"


@pytest.mark.parametrize("person", ["email:anna@posteo.example", sample.ANNA_SHOP, sample.ANNA_OLD])
def test_the_profile_of_a_person_is_found_by_whatever_id(settings: Settings, person: str) -> None:
    known = known_persons(settings, settings.export)
    clean = Scrubber(settings.export, "").conversation(known.of([person]))
    text = clean("Anna here, kowalska anna, loyalty card HR100200; anna@posteo.example or A.K@posteo.example. Annabel!")
    assert text == "[NAME_1] here, [NAME_1], loyalty card [ID_1]; [EMAIL_1] or [EMAIL_2]. Annabel!"


def test_nobody_else_is_taken_out(settings: Settings) -> None:
    known = known_persons(settings, settings.export)
    for person in ("email:nobody@posteo.example", sample.DORA):
        assert Scrubber(settings.export, "").conversation(known.of([person]))("Anna Kowalska") == "Anna Kowalska"


def test_ids_of_one_profile_are_one_person(settings: Settings) -> None:
    ids = [sample.ANNA_CRM, sample.ANNA_SHOP, sample.ANNA_OLD]
    words = (f"w{number}" for number in range(10_000))
    events: list[Said] = []
    for number in range(60):
        question, answer = (" ".join(next(words) for _ in range(8)) for _ in range(2))
        person = ids[number] if number < len(ids) else f"p{number}"
        events += said(f"c{number}", (question, answer), person=person)
    of_anna = {f"c{number}" for number in range(len(ids))}
    answers = {
        event.text
        for event in events
        if isinstance(event, Turn) and event.conversation in of_anna and event.role == "assistant"
    }
    for salt in ("a", "b", "c", "d"):
        rules = ExportSettings(validation=0.5, salt=salt)
        known = known_persons(settings, rules)
        made = build(rows(events), rules, ("chat",), known=known, objective=lambda source: 60_000.0)
        assert len(answers & set(taught(made))) in {0, len(ids)}


def test_who_takes_consent_back_under_another_id_is_out_as_well(settings: Settings) -> None:
    events = [
        *said("a", ("Why?", "Because of the weather."), person=sample.ANNA_CRM),
        *said("b", ("Stop", "Done."), person=sample.ANNA_SHOP, consent=False, at=sample.NOW * 2),
    ]
    for known, left in ((known_persons(settings, settings.export), 0), (KnownPersons(None, (), (), ()), 1)):
        made = build(
            rows(events), ExportSettings(validation=0), ("chat",), known=known, objective=lambda source: 60_000.0
        )
        assert len(taught(made)) == left
