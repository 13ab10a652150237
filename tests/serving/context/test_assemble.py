"""Contexts over the recorded company: everything that belongs to a question, no more, and truthful ages."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.changes import position_text
from events.errors import HeadraceError, RejectedError
from events.feedback import Turn
from events.log import Applied
from events.profiles import Profile
from serving.access.caller import Caller, local
from serving.context.block import head
from serving.context.document import context_json, context_of
from serving.context.request import ContextRequest, Said
from serving.errors import ForbiddenError
from serving.freshness import Demand, StaleError
from serving.knowledge import Knowledge
from stores.contexts.base import Holder
from stores.contexts.sqlite import SqliteContexts
from stores.lake.working import Conversations
from stores.profiles.choose import open_profile_writer
from stores.rows.base import APPLIED, Condition, RowQuery, applied_fact
from stores.rows.choose import open_row_reader, open_row_writer
from tests.serving.context.company import STREAMS, Company, replayed

FLIGHT = "CRV204"
QUESTION = f"How much is {FLIGHT}, and what may my baggage weigh?"
HOUR = 3_600_000


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return replayed(tmp_path_factory.mktemp("company"))


@pytest.fixture
def own(company: Company, tmp_path: Path) -> Company:
    """Return a company of this test alone."""
    return company.copied(tmp_path / "own")


def final(table: str) -> dict[str, dict[str, Any]]:
    """Return the rows that the recorded database had in the end."""
    found: dict[str, dict[str, Any]] = json.loads((STREAMS / "operations.final.json").read_text())[table]
    return found


def test_rows_that_the_question_names_are_told_as_they_are(company: Company) -> None:
    context = company.ask(f"When does {FLIGHT} leave?", budget_tokens=5000)
    rows = {item.place: item for item in context.items if item.kind == "row"}
    expected = [row for row in final("flights").values() if row["number"] == FLIGHT]
    shown = [item for item in rows.values() if item.place.startswith("flights/")]
    newest = sorted(expected, key=lambda row: row["departs_at"])[-len(shown) :]
    assert {item.data["departs_at"] for item in shown} == {row["departs_at"] for row in newest}
    assert all(FLIGHT in item.text for item in shown)
    prices = {Decimal(item.data["price"]) for item in rows.values() if item.place.startswith("fares/")}
    flights = {row["id"] for row in newest}
    assert prices
    assert prices <= {Decimal(str(row["price"])) for row in final("fares").values() if row["flight_id"] in flights}
    assert "updated_by" not in context_json(context).decode()


def test_a_context_has_who_asks_what_is_open_rows_and_documents(company: Company) -> None:
    profile = company.person(lambda one: any(of.open_count for of in one.collections.values()))
    context = company.ask(QUESTION, local(profile.person, profile.realm))
    kinds = [item.kind for item in context.items]
    assert {"profile", "activity", "row", "chunk"} == set(kinds)
    assert [item.number for item in context.items] == list(range(1, len(kinds) + 1))
    assert context.person == profile.person
    assert next(item.id for item in context.items if item.kind == "profile") == profile.person
    open_ones = {one.record for of in profile.collections.values() for one in of.open}
    assert {item.id for item in context.items if item.kind == "activity"} <= open_ones
    assert context.block.startswith(head(context.at))
    assert 0 < context.tokens <= context.budget == 1500
    assert context.notes == ()
    scores = [item.score for item in context.items]
    assert scores == sorted(scores, reverse=True)


def test_documents_are_searched_by_meaning_and_told_with_their_place(company: Company) -> None:
    question = "How heavy may my baggage be in the Light fare?"
    context = company.ask(question, chunks=3, budget_tokens=3000)
    chunks = [item for item in context.items if item.kind == "chunk"]
    expected = Knowledge.of(company.settings()).search(question, 3)
    assert [(item.id, item.place, item.text, item.as_of) for item in chunks] == [
        (one.id, one.uri, one.text, one.as_of) for one in expected
    ]
    assert {item.source for item in chunks} == {"documents"}
    assert all(0.3 <= item.score <= 0.7 for item in chunks)
    assert [cut.store for cut in company.ask("How heavy may my baggage be?", chunks=0).cuts] == ["tables"]


def test_nobody_gets_anything_of_a_person(company: Company) -> None:
    context = company.ask("What have I booked?", local())
    assert not {"profile", "activity"} & {item.kind for item in context.items}
    assert context.person == ""
    assert "profiles" not in {cut.store for cut in context.cuts}


def test_a_person_gets_nothing_of_another_one(company: Company) -> None:
    first = company.person(lambda one: "bookings" in one.collections)
    second = company.person(lambda one: "bookings" in one.collections and one.person > first.person)
    assert first.person != second.person
    ours = json.loads(context_json(company.ask("What have I booked?", local(first.person))))
    text = json.dumps(ours, ensure_ascii=False)
    assert first.identifiers["email"][0] in text.casefold()
    for other in {second.person, *second.records, *second.identifiers.get("email", ())}:
        assert other not in text


def test_an_id_that_the_person_had_before_leads_to_it(company: Company) -> None:
    profile = company.person(lambda one: bool(one.aliases))
    context = company.ask("What have I booked?", local(profile.aliases[0]))
    assert context.person == profile.person
    assert context.items[0].id == profile.person


@pytest.mark.parametrize(("person", "realm"), [("pnobodyatall00000", ""), ("", "partners")])
def test_who_is_not_known_gets_what_is_for_everybody(company: Company, person: str, realm: str) -> None:
    person = person or company.person(lambda _: True).person
    context = company.ask(QUESTION, local(person, realm))
    assert {item.kind for item in context.items} == {"row", "chunk"}
    assert context.notes == ("the person is not known",)
    assert context.person == person


def test_documents_of_a_foreign_audience_take_no_part(company: Company) -> None:
    question = "How much goodwill may be given per case, and who approves it?"
    staff = Caller("desk", frozenset(), ("public", "staff"))
    inside = company.ask(question, staff, chunks=20, budget_tokens=20_000)
    assert any("internal/" in item.place for item in inside.items)
    assert inside.audiences == ("public", "staff")
    for outside in (
        company.ask(question, local(), chunks=20, budget_tokens=20_000),
        company.ask(question, staff, audiences=("public",), chunks=20, budget_tokens=20_000),
    ):
        assert not any("internal/" in item.place for item in outside.items)
        assert len([item for item in outside.items if item.kind == "chunk"]) >= 10
        assert outside.audiences == ("public",)
    with pytest.raises(ForbiddenError, match="staff"):
        company.ask(question, local(), audiences=("staff",))


def test_only_rows_of_the_tables_that_are_wanted_are_looked_up(company: Company) -> None:
    context = company.ask(QUESTION, tables=("fares",), budget_tokens=5000)
    assert {item.place.partition("/")[0] for item in context.items if item.kind == "row"} == {"fares"}
    without = company.ask(QUESTION, tables=())
    assert {item.kind for item in without.items} == {"chunk"}
    assert {cut.store for cut in without.cuts} == {"knowledge"}


def test_ages_and_lags_are_true(company: Company) -> None:
    later = company.read_at + 2 * HOUR
    context = company.assembler(lambda: later).assemble(local(), ContextRequest(question=QUESTION))
    assert context.at == later
    reader = open_row_reader(company.settings())
    marks = reader.applied()
    oldest = later - min(mark.read_at for mark in marks if mark.caught_up)
    [cut] = [cut for cut in context.cuts if cut.store == "tables"]
    assert cut.age == oldest
    assert cut.applied == {f"{mark.source}/{mark.partition}": mark.offset for mark in marks}
    rows = [item for item in context.items if item.kind == "row"]
    assert {item.lag for item in rows} == {oldest}
    assert all(item.stale for item in context.items)
    assert all("may be out of date" in line for line in context.block.splitlines() if line.startswith("<item"))
    stored = {f"{row.source}/{row.key}": row for row in reader.select(RowQuery(table="flights", limit=1000))}
    flight = next(item for item in rows if item.place.startswith("flights/"))
    row = next(row for row in stored.values() if row.image and str(row.image["id"]) == str(flight.data["id"]))
    assert (flight.as_of, flight.applied_at) == (row.as_of, row.applied_at)
    assert flight.age(context.at) == later - row.as_of
    reader.close()


def test_a_source_is_stale_when_it_is_behind_by_more_than_its_objective(company: Company) -> None:
    # The operational database may be behind by half a minute, everything else by five.
    clock = lambda: company.read_at + 60_000  # noqa: E731
    context = company.assembler(clock).assemble(local(), ContextRequest(question=QUESTION))
    stale = {(item.kind, item.stale) for item in context.items}
    assert stale == {("row", True), ("chunk", False)}


def test_a_context_is_the_same_for_the_same_stores_and_read_back_as_it_was(company: Company) -> None:
    person = company.person(lambda one: "bookings" in one.collections).person
    first, second = company.ask(QUESTION, local(person)), company.ask(QUESTION, local(person))
    assert context_json(first) == context_json(second)
    assert context_of(context_json(first)) == first


@pytest.mark.parametrize("budget", [50, 51, 64, 100, 200, 400])
def test_a_small_budget_is_kept_and_says_what_it_had_no_room_for(company: Company, budget: int) -> None:
    person = company.person(lambda one: "bookings" in one.collections).person
    whole = company.ask(QUESTION, local(person), budget_tokens=1_000_000)
    context = company.ask(QUESTION, local(person), budget_tokens=budget)
    assert whole.left_out == {}
    assert context.tokens <= budget
    assert len(context.items) + sum(context.left_out.values()) == len(whole.items)
    assert [item.number for item in context.items] == list(range(1, len(context.items) + 1))


def test_a_long_question_is_answered_and_a_longer_one_refused(company: Company) -> None:
    words = f"May I take {FLIGHT} with a surfboard? "
    longest = (words * 200)[:4000]
    assert any(item.kind == "row" for item in company.ask(longest).items)
    with pytest.raises(RejectedError, match="4,001 characters"):
        company.ask(longest + "x")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"question": " \n"}, "the question is empty"),
        ({"question": "half \ud800"}, "half a character"),
        ({"budget_tokens": 49}, "budget_tokens is 49"),
        ({"budget_tokens": 1_000_001}, "budget_tokens is 1000001"),
        ({"chunks": 201}, "chunks is 201"),
        ({"chunks": -1}, "chunks is -1"),
        ({"conversation": "k" * 513}, "the conversation's id"),
        ({"conversation": "k\n1"}, "the conversation's id"),
        ({"conversation": "\ud800"}, "the conversation's id"),
        ({"history": (Said("user", "\udfff"),)}, "half a character"),
        ({"history": (Said("robot", "x"),)}, "'robot' is not the role"),
        ({"tables": ("flights; DROP TABLE flights",)}, "there is no live table"),
    ],
)
def test_what_there_cannot_be_is_refused_in_one_line(company: Company, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RejectedError, match=said) as refused:
        company.ask(**{"question": QUESTION, **fields})
    assert refused.value.hint
    assert "\n" not in str(refused.value)


def test_questions_are_words_whatever_they_look_like(company: Company) -> None:
    for question in ('"', "*", "' OR 1=1 --", "NOT AND (", "\x00", "{" * 900, "مرحبا 👩‍✈️", "a" * 4000, "? " * 2000):
        assert company.ask(question).question == question


def test_without_any_store_there_is_a_context_that_says_so(tmp_path: Path, company: Company) -> None:
    nothing = Company(tmp_path / "nowhere", company.read_at)
    context = nothing.ask(QUESTION, local("pnobody"))
    assert context.items == ()
    assert (context.block, context.tokens) == ("", 0)
    assert context.notes == (
        "the documents have not said yet how far they are", "the live tables have not said yet how far they are",
        "the person is not known", "the profiles have not said yet how far they are",
    )  # fmt: skip
    assert context_of(context_json(context)) == context
    bare = Company(nothing.data, company.read_at, config=tmp_path / "headrace.toml", log=tmp_path / "no-log")
    bare.config.touch()
    assert bare.ask(QUESTION, local("pnobody")).notes == (
        "nothing is known of persons: no tables of them are configured",
        "there are no documents: no folder is configured, and the log has no stream of them",
    )
    assert not nothing.data.exists()
    with pytest.raises(StaleError, match="cannot be told"):
        nothing.ask(QUESTION, demand=Demand(max_age=10**12, seconds=0))


def test_a_store_that_is_damaged_is_noted_and_the_rest_served(own: Company) -> None:
    (own.data / "tables.sqlite3").write_bytes(b"no database" * 4096)
    for beside in own.data.glob("tables.sqlite3-*"):
        beside.unlink()
    context = own.ask(QUESTION)
    assert {item.kind for item in context.items} == {"chunk"}
    assert context.notes == ("the live tables cannot be read at present",)
    assert str(own.data) not in context_json(context).decode()
    with pytest.raises(StaleError, match="the live tables cannot be read"):
        own.ask(QUESTION, demand=Demand(max_age=HOUR, seconds=0))


def test_what_is_fresh_enough_is_served_and_what_is_not_refused(company: Company) -> None:
    assert company.ask(QUESTION, demand=Demand(max_age=HOUR, seconds=0)).items
    with pytest.raises(StaleError, match=r"older than the 0\.5 s asked for") as refused:
        company.ask(QUESTION, demand=Demand(max_age=500, seconds=0))
    assert refused.value.age is not None
    assert refused.value.age >= 1000


def test_only_stores_that_are_asked_need_be_fresh(own: Company) -> None:
    def confirm() -> None:
        writer = open_row_writer(own.settings(), lambda: own.read_at)
        note_all(writer, own.read_at + 900)
        writer.close()

    confirm()
    demand = Demand(max_age=500, seconds=0)
    with pytest.raises(StaleError, match="the documents"):
        own.ask(QUESTION, demand=demand)
    assert own.ask(QUESTION, demand=demand, chunks=0).items
    with pytest.raises(StaleError, match="the profiles"):
        own.ask(QUESTION, local("pnobody"), demand=demand, chunks=0)


def note_all(writer: Any, read_at: int) -> None:
    """Note for all partitions that they have been read to their end at `read_at`."""
    facts = [msgspec.json.decode(value, type=Applied) for value in writer.facts(APPLIED).values()]
    with writer.transaction():
        for mark in facts:
            writer.note(APPLIED, dict([applied_fact(msgspec.structs.replace(mark, read_at=read_at))]))


def test_a_read_waits_until_the_stores_are_fresh(own: Company) -> None:
    """The clock stands still until the stores have been looked at, and then the flows confirm them."""
    looks = threading.Event()

    def clock() -> int:
        looks.set()
        return own.read_at + 10_000

    def flows() -> None:
        assert looks.wait(30)
        for opened in (open_row_writer, open_profile_writer):
            writer = opened(own.settings(), clock)
            note_all(writer, own.read_at + 9_900)
            writer.close()

    thread = threading.Thread(target=flows)
    thread.start()
    person = own.person(lambda _: True).person
    demand = Demand(max_age=1000, seconds=5)
    context = own.assembler(clock).assemble(
        local(person), ContextRequest(question=QUESTION, chunks=0, demand=demand)
    )  # fmt: skip
    thread.join()
    assert {cut.store: cut.age for cut in context.cuts} == {"tables": 100, "profiles": 100}
    assert not any(item.stale for item in context.items)


def test_waiting_ends_with_the_time_that_is_given_to_all_stores_together(company: Company) -> None:
    now = [company.read_at + HOUR]

    def clock() -> int:
        now[0] += 40
        return now[0]

    with pytest.raises(StaleError):
        company.assembler(clock).assemble(
            local(), ContextRequest(question=QUESTION, demand=Demand(max_age=1, seconds=1.0))
        )
    assert now[0] <= company.read_at + HOUR + 1000 + 4 * 40
    begun = now[0]
    with pytest.raises(StaleError):  # nobody waits longer than the settings say
        company.assembler(clock, serving={"wait_seconds": 0.2, **_lookups(company)}).assemble(
            local(), ContextRequest(question=QUESTION, demand=Demand(max_age=1, seconds=300.0))
        )
    assert now[0] <= begun + 200 + 6 * 40


def _lookups(company: Company) -> dict[str, Any]:
    plain = company.settings().serving.model_dump()
    return {name: plain[name] for name in ("entities", "lookups", "tables", "application")}


def test_a_position_that_is_in_is_served_and_one_that_is_not_refused(company: Company) -> None:
    reader = open_row_reader(company.settings())
    # Where it is in all partitions, it is in; beyond that, the others would have to have been read since.
    reached = min(mark.positions.get("operations", ()) for mark in reader.applied())
    reader.close()
    served = company.ask(QUESTION, demand=Demand(source="operations", position=reached, seconds=0))
    assert any(item.kind == "row" for item in served.items)
    person = company.person(lambda _: True).person
    # The profiles know nothing of that source, so it is none of their business.
    assert company.ask(QUESTION, local(person), demand=Demand(source="operations", position=reached, seconds=0))
    with pytest.raises(StaleError, match="the live tables have not reached"):
        company.ask(QUESTION, demand=Demand(source="operations", position=(0, 2**60), seconds=0))
    with pytest.raises(StaleError, match="knows a source 'elsewhere'"):
        company.ask(QUESTION, demand=Demand(source="elsewhere", position=(0, 1), seconds=0))
    assert company.ask(QUESTION, demand=Demand(position=reached, seconds=0))
    with pytest.raises(HeadraceError, match="not clear of which source"):
        company.ask(QUESTION, local(person), demand=Demand(position=reached, seconds=0))


def test_a_context_shows_no_store_between_two_changes(own: Company) -> None:
    reader, writer = open_row_reader(own.settings()), open_row_writer(own.settings(), lambda: own.read_at)
    flights = reader.select(RowQuery(table="flights", where=(Condition("number", "=", FLIGHT),), limit=100))
    ids = [row.image["id"] for row in flights if row.image]
    fares = [
        row for id_ in ids for row in reader.select(RowQuery(table="fares", where=(Condition("flight_id", "=", id_),)))
    ]
    over, changed = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            with writer.transaction():
                for table, rows, column in (("flights", flights, "delay_minutes"), ("fares", fares, "price")):
                    images = [{**(row.image or {}), column: number} for row in rows]
                    changes = zip(rows, images, strict=True)
                    writer.put(table, [msgspec.structs.replace(row, image=image) for row, image in changes])
            changed.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = set()
    try:
        assert changed.wait(30)
        assembler = own.assembler()
        request = ContextRequest(question=f"How much is {FLIGHT}?", chunks=0, budget_tokens=20_000)
        for _ in range(40):
            items = assembler.assemble(local(), request).items
            delays = {int(item.data["delay_minutes"]) for item in items if item.place.startswith("flights/")}
            prices = {int(Decimal(str(item.data["price"]))) for item in items if item.place.startswith("fares/")}
            assert delays == prices
            assert len(prices) == 1
            seen |= prices
    finally:
        over.set()
        thread.join()
        writer.close()
        reader.close()
    assert len(seen) > 1


def test_the_conversation_so_far_ends_the_block_in_its_order(own: Company) -> None:
    person = own.person(lambda one: "bookings" in one.collections)
    contexts = SqliteContexts(own.settings().contexts_path)
    contexts.claim("k1", Holder(person.realm, person.person, "command line"), own.read_at)
    texts = ["What may I take?", "Two bags.", "And a surfboard?", "Only with Flex."]
    contexts.add_turns(
        [
            Turn(
                "k1",
                f"t{number}",
                own.read_at + number,
                "assistant" if number % 2 else "user",
                text,
                person=person.person,
            )
            for number, text in enumerate(texts)
        ]
    )
    contexts.close()
    context = own.ask("And how much is that?", local(person.person, person.realm), conversation="k1")
    assert [item.text for item in context.items[-4:]] == texts
    assert {item.kind for item in context.items[-4:]} == {"turn"}
    assert context.conversation == "k1"
    assert [item.lag for item in context.items[-4:]] == [0, 0, 0, 0]
    for other in (local(), local(own.person(lambda one: one.person != person.person).person)):
        with pytest.raises(ForbiddenError):
            own.ask("And how much is that?", other, conversation="k1")


def test_a_conversation_that_came_over_the_log_is_for_its_person(company: Company) -> None:
    [talk, *_] = [
        found for found in map(_said, _recorded("feedback")) if found and found[1].startswith("email:")
    ]  # fmt: skip
    conversation, named = talk
    email = named.removeprefix("email:")
    person = company.person(lambda one: email in one.identifiers.get("email", ()))
    context = company.ask("And now?", local(person.person, person.realm), conversation=conversation)
    turns = [item for item in context.items if item.kind == "turn"]
    assert turns
    assert all(item.id.startswith(f"{conversation}/") for item in turns)
    assert all(item.lag is not None for item in turns)
    assert "lake" in {cut.store for cut in context.cuts}
    others = local(), local(company.person(lambda one: one.person != person.person).person)
    for other in others:
        with pytest.raises(ForbiddenError):
            company.ask("And now?", other, conversation=conversation)


def test_turns_that_were_handed_over_claim_no_freshness(company: Company) -> None:
    history = (Said("user", "How much is it?"), Said("assistant", "The fare is 129."))
    context = company.ask(QUESTION, history=history)
    turns = json.loads(context_json(context))["items"][-2:]
    assert [item["text"] for item in turns] == ["How much is it?", "The fare is 129."]
    assert [(item["lag_ms"], item["stale"]) for item in turns] == [(None, True)] * 2
    assert 'title="the assistant said" said="earlier">\nThe fare is 129.' in context.block
    assert 'age="0 ms"' not in context.block


def test_a_demand_does_not_bind_the_conversation_but_what_may_be_missing_of_it_is_noted(own: Company) -> None:
    reader = open_row_reader(own.settings())
    [(source, reached)] = max(reader.applied(), key=lambda mark: mark.offset).positions.items()
    reader.close()

    def notes(*, age: int, lake_at: tuple[int, ...] = reached, **demand: Any) -> tuple[str, ...]:
        at = {"read_at": own.read_at + 1000 - age, "caught_up": True}
        with closing(Conversations(own.settings().conversations_path, lambda: own.read_at)) as lake:
            marks = [
                msgspec.structs.replace(mark, **at, positions={source: lake_at}, reached={source: own.read_at})
                for mark in lake.applied()
            ]
            with lake.transaction():
                lake.note_applied(marks)
        asked = Demand(**demand, seconds=0) if demand else None
        return own.ask("And now?", conversation="k1", chunks=0, demand=asked).notes

    unbound = "may be missing: what is demanded fresh does not bind them"
    assert notes(age=3 * HOUR) == notes(age=1000, max_age=HOUR) == ()
    assert notes(age=3 * HOUR, max_age=HOUR) == (f"turns of the last 3.0 h that come over the log {unbound}",)
    assert notes(age=1000, position=reached, source=source) == ()
    said = f"turns up to {position_text(reached)} of {source!r} {unbound}"
    assert notes(age=1000, lake_at=(0,), position=reached, source=source) == (said,)
    assert notes(age=1000, lake_at=(0,), position=reached) == (said,)


def _recorded(stream: str) -> list[dict[str, Any]]:
    lines = [line for path in sorted((STREAMS / stream).glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def _said(record: dict[str, Any]) -> tuple[str, str] | None:
    """Return conversation and person of a recorded turn; None for everything else."""
    value = record.get("value")
    event = json.loads(value) if isinstance(value, str) else value
    if not isinstance(event, dict) or event.get("type") != "turn" or not event.get("person"):
        return None
    return event["conversation"], event["person"]


def test_whose_a_conversation_is_cannot_be_told_without_profiles_so_it_is_not_shown(own: Company) -> None:
    person = own.person(lambda one: "bookings" in one.collections)
    [conversation, named] = next(found for found in map(_said, _recorded("feedback")) if found)
    assert named
    (own.data / "profiles.sqlite3").write_bytes(b"no database" * 4096)
    context = own.ask("And now?", local(person.person, person.realm), conversation=conversation)
    assert not {"turn", "profile"} & {item.kind for item in context.items}
    assert context.notes == ("the conversation cannot be read at present", "the profiles cannot be read at present")


def test_a_history_that_is_handed_over_takes_the_place_of_the_one_that_is_known(company: Company) -> None:
    history = tuple(Said("assistant" if number % 2 else "user", f"turn {number}") for number in range(9))
    context = company.ask("And now?", history=history, conversation="k9")
    turns = [item for item in context.items if item.kind == "turn"]
    assert [item.text for item in turns] == [f"turn {number}" for number in range(3, 9)]


def test_a_model_that_cannot_be_used_leaves_the_search_by_words(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from stores.embedders.hashing import HashingEmbedder

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(HashingEmbedder, "embed", broken)
    context = company.ask("Which fare includes baggage?")
    assert any(item.kind == "chunk" for item in context.items)
    assert context.notes == ("documents were searched by words alone: the question could not be embedded",)
    assert "Which fare" not in caplog.text


def test_threads_may_share_an_assembler(company: Company) -> None:
    assembler = company.assembler()
    people = [company.person(_behind(f"p{letter}")).person for letter in "aeimqu"]
    expected = {person: assembler.assemble(local(person), ContextRequest(question=QUESTION)).block for person in people}
    wrong: list[str] = []

    def work(person: str) -> None:
        for _ in range(5):
            if assembler.assemble(local(person), ContextRequest(question=QUESTION)).block != expected[person]:
                wrong.append(person)

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(set(expected.values())) == len(people)


def _behind(id_: str) -> Callable[[Profile], bool]:
    return lambda profile: profile.person > id_
