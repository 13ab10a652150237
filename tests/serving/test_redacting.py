"""What is taken out of events when a person is erased: hers go whole, those of others lose her name and stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.dead_letters import DeadLetter
from events.erasure import ERASED
from events.log import LogRecord, as_replay
from serving.redacting import Naming, Redactor
from serving.trails import Belonging, ChangeReading
from stores.settings import load

AT = 10_000
MAIL = "anna.silva@example.org"
ANNA = 'crm/customers/{"id":1}'


def redactor(tmp_path: Path) -> Redactor:
    profiles = {
        "streams": [{"name": "crm", "format": "headrace"}],
        "tables": [
            {"name": "customers", "table": "customers", "identifiers": {"email": ["email"]}},
            {"name": "bookings", "table": "bookings", "references": "customers", "by": {"customer_id": "id"}},
        ],
    }
    settings = load(data_dir=tmp_path, profiles=profiles)
    reading, belonging = ChangeReading(settings), Belonging(settings)
    return Redactor(reading, belonging, records=[ANNA], telling=[MAIL, ANNA], at=AT, shared=["documents"])


def event(
    table: str, id_: int, stream: str = "crm", time: int = AT, *, op: str = "update", **columns: Any
) -> LogRecord:
    said: dict[str, Any] = {"table": table, "key": {"id": id_}, "op": op}
    if op != "delete":
        said["after"] = {"id": id_, **columns}
    return LogRecord(stream, 0, 0, time, json.dumps({"t": table, "id": id_}).encode(), json.dumps(said).encode())


def other(stream: str, value: str, time: int = AT) -> LogRecord:
    return LogRecord(stream, 0, 0, time, None, value.encode())


def test_events_of_the_person_and_of_its_activities_go_whole_whenever_they_came(tmp_path: Path) -> None:
    judge = redactor(tmp_path)
    for mine in (
        event("customers", 1, name="Anna"),
        event("customers", 1, time=AT + 5, name="Anna"),
        event("customers", 1, op="delete"),
        event("bookings", 8, customer_id=1, fare=9),
    ):
        assert judge(mine) is None


def test_an_event_handed_back_goes_as_its_original_would(tmp_path: Path) -> None:
    handed = msgspec.structs.replace(as_replay(event("customers", 1, name="Anna")), stream="replay.profiles")
    assert redactor(tmp_path)(handed) is None


def test_events_of_others_stay_as_they_are(tmp_path: Path) -> None:
    judge = redactor(tmp_path)
    for theirs in (
        event("customers", 2, name="Anna", email="joanna.silva@example.org"),
        event("bookings", 9, customer_id=2),
        event("unknown", 1, name="a table of nobody"),
        other("alerts", "nothing of her"),
    ):
        assert judge(theirs) is theirs


def test_somebody_elses_event_that_names_the_person_loses_only_the_name(tmp_path: Path) -> None:
    given = event("customers", 2, name="Ben", email=MAIL, note=f"was {MAIL}")
    left = redactor(tmp_path)(given)
    assert left is not None
    stars = "*" * len(MAIL)
    assert json.loads(left.value or b"")["after"] == {"id": 2, "name": "Ben", "email": stars, "note": f"was {stars}"}
    assert (left.key, left.offset, left.event_time) == (given.key, given.offset, given.event_time)


def test_who_carries_the_name_since_the_erasure_is_somebody_else(tmp_path: Path) -> None:
    later = event("customers", 2, time=AT + 1, email=MAIL)
    assert redactor(tmp_path)(later) is later


def test_events_of_unknown_streams_that_name_the_person_go_whole_and_documents_lose_the_name(tmp_path: Path) -> None:
    judge = redactor(tmp_path)
    assert judge(other("alerts", f"see {MAIL}")) is None
    assert judge(other("identity", json.dumps({"cause": {"record": ANNA}}))) is None
    left = judge(other("documents", f"Ask {MAIL}, or call."))
    assert left is not None
    assert left.value == b"Ask **********************, or call."


def test_tombstones_and_broken_events_go_with_the_key_of_the_persons_events(tmp_path: Path) -> None:
    judge = redactor(tmp_path)
    mine, theirs = event("customers", 1, name="Anna"), event("customers", 2, name="Ben")
    for one in (mine, theirs):
        judge(one)
    for value in (None, b"{broken"):
        assert judge(msgspec.structs.replace(mine, value=value)) is None
        untouched = msgspec.structs.replace(theirs, value=value)
        assert judge(untouched) is untouched
    assert judge(other("crm", f"{{broken {MAIL}")) is None


def test_a_key_that_others_use_too_says_nothing(tmp_path: Path) -> None:
    judge = redactor(tmp_path)
    for one in (event("customers", 1, name="Anna"), event("customers", 2, name="Ben")):
        judge(msgspec.structs.replace(one, key=b"family"))
    tombstone = LogRecord("crm", 0, 9, AT, b"family", None)
    assert judge(tombstone) is tombstone


def test_what_is_erased_already_is_left_alone(tmp_path: Path) -> None:
    gone = LogRecord("crm", 0, 0, AT, None, None, {ERASED: ""})
    assert redactor(tmp_path)(gone) is gone


def test_dead_letters_are_judged_as_events_are(tmp_path: Path) -> None:
    judge = redactor(tmp_path)
    mine = DeadLetter("profiles", "decode", "bad", event("bookings", 3, customer_id=1))
    theirs = DeadLetter("profiles", "decode", "bad", event("bookings", 4, customer_id=2))
    assert [judge.concerned(one) for one in (mine, theirs)] == [True, False]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"x {MAIL} y", True),
        (f"<{MAIL}>", True),
        (json.dumps(f"line\n{MAIL}\tend"), True),
        (f"jo{MAIL}", False),
        (f"é{MAIL}", False),
        (f"{MAIL}x", False),
        (f"{MAIL}.", True),
    ],
)
def test_a_name_is_a_word_of_its_own(text: str, found: bool) -> None:
    naming = Naming([MAIL, "short"])
    assert naming.in_(text.encode()) is found
    assert (naming.out_of(text.encode()) != text.encode()) is found
    assert len(naming.out_of(text.encode())) == len(text.encode())


def test_a_number_that_is_a_name_becomes_another_number_so_that_json_stays_json() -> None:
    naming = Naming(["70012345"])
    assert (
        naming.out_of(b'{"n":70012345,"t":"70012345","o":170012345}') == b'{"n":11111111,"t":"11111111","o":170012345}'
    )
    assert naming.out_of(b'{"t":"70012345"}') == b'{"t":"********"}'


def test_a_name_is_found_however_json_escapes_it() -> None:
    naming = Naming(['Zoë "Zo" Šimić'])
    for ascii_only in (True, False):
        written = json.dumps({"name": 'Zoë "Zo" Šimić'}, ensure_ascii=ascii_only).encode()
        assert set(json.loads(naming.out_of(written))["name"]) == {"*"}
