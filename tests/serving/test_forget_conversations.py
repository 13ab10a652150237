"""Erasing a person's conversations: each goes whole, from log, facts, lake and state; what was counted stays."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dataflows import feedback, lake
from events.erasure import ERASED
from events.errors import HeadraceError
from events.feedback import Comment, FeedbackEvent, Point, Rating, ShownContext, ShownItem, Turn
from events.log import LogRecord
from events.persons import person_id
from operators.feedback.own import to_json
from serving.trails import every
from stores.contexts.base import Holder, KeptContext
from stores.contexts.sqlite import SqliteContexts
from stores.erasures import Removed
from stores.kpis.reader import KpiReader
from stores.lake.reader import LakeReader
from tests.serving.test_forget import ANNA_CRM, ANNA_SHOP, FLOWS, NOON, House

SECOND = 1_000
MINE = ("by-mail-c1", "by-card-c2", "by-record-c3", "by-person-c4", "by-rating-c5", "in-a-list-c6")
HERS = (
    "Anna.Silva",
    "anna.silva@example.org",
    "HR900100",
    ANNA_CRM,
    "my seat is 14C",
    "bring it to 1 Quay",
    "what Anna booked",
)
"""What stands in her conversations and nowhere in those of others, beside their ids."""


class Talking(House):
    """With conversations, of which all that flows read is run."""

    flows = {**FLOWS, "feedback": feedback.build, "lake": lake.build}

    def __init__(self, path: Path) -> None:
        streams = [{"name": "chat", "application": "desk"}, {"name": "ratings"}]
        super().__init__(path, feedback={"streams": streams, "windows": ["1d"], "sentiment": {"backend": "none"}})

    def run_all(self) -> None:
        for flow in self.flows:
            self.run(flow)

    def kpis(self) -> dict[tuple[str, int, Any], tuple[Any, ...]]:
        """Return all values of KPIs, without how often they have changed late."""
        values = KpiReader(self.settings.kpis_path).values()
        return {(one.kpi, one.start, one.group): (one.value, one.count) for one in values}

    def facts(self) -> dict[str, int]:
        """Return how many facts each conversation has."""
        kinds = ("answers", "questions", "ratings", "comments", "contexts")
        parts = " UNION ALL ".join(f"SELECT conversation FROM {kind}" for kind in kinds)  # noqa: S608  # ours
        query = f"SELECT conversation, count(*) FROM ({parts}) GROUP BY ALL"  # noqa: S608  # ours
        return dict(KpiReader(self.settings.kpis_path).sql(query, rows=1000).rows)

    def lake(self) -> dict[str, Any]:
        """Return the rows of the lake by conversation."""
        reader = LakeReader(self.settings.lake_dir)
        return {row["id"]: row for batch in reader.rows() for row in batch.to_pylist()}


def talk(conversation: str, person: str = "", text: str = "when do we fly?") -> list[FeedbackEvent]:
    return [
        Turn(conversation, "q", NOON, "user", text, person=person, topic="seats"),
        ShownContext(conversation, "x", NOON + 1, (ShownItem("docs", "seats.md", text=text),)),
        Turn(conversation, "a", NOON + 2, "assistant", f"you said: {text}", model="m", context="x", latency=5.0),
    ]


def record(stream: str, *events: FeedbackEvent) -> LogRecord:
    raw = b"[" + b",".join(map(to_json, events)) + b"]" if len(events) > 1 else to_json(events[0])
    return LogRecord(stream, 0, 0, NOON, b"batch", raw)


def said(anna: str) -> dict[str, list[LogRecord]]:
    """Return what was said: six conversations of Anna's, three of others'."""
    mine = [
        *talk(MINE[0], " ANNA.SILVA@example.org", "my seat is 14C"),
        *talk(MINE[1], "HR900100"),
        *talk(MINE[2], ANNA_SHOP, "bring it to 1 Quay"),
        *talk(MINE[3], anna),
        *talk(MINE[4], "", "what Anna booked"),
    ]
    others: list[FeedbackEvent] = [
        *talk("ben-1", "ben@example.org", "is there a seat in Porto?"),
        *talk("joanna-1", "joanna.silva@example.org"),
        Point("p", NOON, "load", 1.0),
    ]
    # An exporter sends what several people said at once.
    mixed = record(
        "chat", *talk(MINE[5], "Anna.Silva@Example.org", "my seat is 14C"), *talk("ben-2", "ben@example.org")
    )
    ratings: list[FeedbackEvent] = [
        Rating(MINE[4], "r", NOON + SECOND, "thumbs", 0, "a", person="email:anna.silva@example.org"),
        Comment(MINE[0], "k", NOON + SECOND, "thanks, Anna.Silva", "a"),
        Rating("ben-1", "r", NOON + SECOND, "thumbs", 1, "a", person="ben@example.org"),
    ]
    return {
        "chat": [*(record("chat", one) for one in (*mine, *others)), mixed],
        "ratings": [record("ratings", one) for one in ratings],
    }


@pytest.fixture
def house(tmp_path: Path) -> Talking:
    house = Talking(tmp_path / "data")
    house.append()
    house.run("profiles")
    house.append(said(house.person()))
    house.run_all()
    house.runs.clear()
    return house


def test_her_trail_has_every_conversation_in_which_she_is_named(house: Talking) -> None:
    trail = house.follow()
    assert trail.conversations == set(MINE)
    assert {" ANNA.SILVA@example.org", "Anna.Silva@Example.org"} <= trail.telling


def test_nothing_of_her_conversations_is_left_and_what_was_counted_stays(house: Talking) -> None:
    before, rows = house.kpis(), house.lake()
    assert house.facts().keys() >= set(MINE)
    assert rows.keys() == {*MINE, "ben-1", "ben-2", "joanna-1"}

    receipt = house.forget()

    assert receipt.clean, receipt
    left = house.everything().replace(b"joanna.silva@example.org", b"")
    for text in (*HERS, *MINE):
        assert left.count(text.encode()) == 0, text
    assert house.kpis() == before
    assert house.facts().keys() == {"ben-1", "ben-2", "joanna-1"}
    assert house.lake() == {id_: row for id_, row in rows.items() if id_ not in MINE}
    counts = {(one.place, one.what): one.count for one in receipt.removed}
    # Of each conversation a question, an answer and a context; a rating and a comment.
    assert counts["KPI store", "facts"] == 6 * 3 + 2
    assert counts["lake", "conversations"] == 6
    assert counts["log/chat", "events"] == 5 * 3
    assert counts["log/chat", "names in events"] == 1  # two conversations in one record, of which one is left
    assert counts["log/ratings", "events"] == 2


def test_a_preview_counts_what_the_receipt_says(house: Talking) -> None:
    preview = house.forgetting().preview(house.follow())
    assert Removed("KPI store", "facts", 20) in preview
    assert Removed("lake", "conversations", 6) in preview
    removed = {one for one in house.forget().removed if "control" not in one.place}
    conversing = ("KPI store", "lake", "log/chat", "log/ratings")
    assert {one for one in removed if one.place in conversing} == {one for one in preview if one.place in conversing}


def test_the_log_keeps_what_others_said_in_one_record_with_her(house: Talking) -> None:
    house.forget()
    lists = [value for value in house.values("chat") if isinstance(value, bytes)]
    assert [[one["conversation"] for one in json.loads(value)] for value in lists] == [["ben-2"] * 3]


def test_what_comes_late_or_again_brings_nothing_back(house: Talking) -> None:
    anna = house.person()
    house.forget()
    facts, rows, kpis = house.facts(), house.lake(), house.kpis()
    house.append(said(anna))
    house.append(
        {
            "ratings": [record("ratings", Rating(MINE[0], "late", NOON + 2 * SECOND, "thumbs", 1, "a"))],
            # Of a conversation that was not known, the answer came in one record with her question.
            "chat": [record("chat", *talk("unknown", "anna.silva@example.org"))],
        }
    )
    house.run_all()
    assert (house.facts(), house.lake(), house.kpis()) == (facts, rows, kpis)


def test_who_has_her_address_since_then_is_heard(house: Talking) -> None:
    house.forget()
    later = [record("chat", Turn("anew", "q", NOON + 2_000_000, "user", "hello", person="anna.silva@example.org"))]
    house.append({"chat": later})
    house.run_all()
    assert "anew" in house.facts()
    assert "anew" in house.lake()


def test_flows_read_anew_after_the_erasure_hold_everybody_else(house: Talking) -> None:
    house.forget()
    facts, rows = house.facts(), house.lake()
    again = Talking(house.path.with_name("again"))
    again.path.mkdir()
    house.settings.log_dir.rename(again.settings.log_dir)
    again.run("feedback")
    again.run("lake")
    assert again.facts() == facts
    assert again.lake().keys() == rows.keys()


def test_what_others_said_of_her_loses_the_name_in_the_log_and_is_told_where_it_stays(house: Talking) -> None:
    house.append(
        {"chat": [record("chat", one) for one in talk("ben-3", "ben@example.org", "ask anna.silva@example.org")]}
    )
    house.run_all()
    receipt = house.forget()
    assert any(one.path == "data/conversations.sqlite3" for one in receipt.found)
    kept = [value for value in house.values("chat") if b"ben-3" in json.dumps(value, default=str).encode()]
    assert kept[0]["text"] == f"ask {'*' * len('anna.silva@example.org')}"
    assert house.facts()["ben-3"] == 3


def test_a_letter_of_her_conversation_goes_and_so_does_one_that_cannot_be_read(house: Talking) -> None:
    bad = b'{"type":"rating","conversation":"by-mail-c1","id":"r9","scale":"stars","value":9,"time":%d}' % NOON
    house.append({"ratings": [LogRecord("ratings", 0, 0, NOON, None, bad)]})
    house.run_all()
    assert {kept.letter.flow for kept in house.letters.list()} == {"feedback", "lake"}
    receipt = house.forget()
    assert house.letters.list(replayed=True) == []
    assert receipt.clean


def test_conversations_that_came_while_the_user_was_asked_go_as_well(house: Talking) -> None:
    forgetting = house.forgetting()
    pending = forgetting.begin(house.follow())
    # At this provider, dots mean something.
    house.append({"chat": [record("chat", one) for one in talk("just-now-c7", "AnnaSilva@example.org")]})
    house.append({"chat": [record("chat", one) for one in talk("just-now-c8", "ANNA.silva@EXAMPLE.org")]})
    receipt = forgetting.finish(pending, 20)
    assert receipt.clean
    assert not any("just-now-c8" in place for place in (house.facts(), house.lake()))
    assert b"just-now-c8" not in house.everything()
    assert "just-now-c7" in house.facts()


@pytest.mark.parametrize("cut", [3, 7, 9, 11, 14])
def test_an_erasure_cut_short_is_brought_to_its_end(house: Talking, cut: int) -> None:
    told: list[str] = []

    def stop(text: str) -> None:
        told.append(text)
        if len(told) > cut:
            raise KeyboardInterrupt

    pending = house.forgetting().begin(house.follow())
    with pytest.raises(KeyboardInterrupt):
        house.forgetting(stop).finish(pending, 20)
    assert house.forgetting().finish(pending, 20).clean
    left = house.everything()
    assert not any(id_.encode() in left for id_ in MINE)
    assert house.facts().keys() == house.lake().keys() == {"ben-1", "ben-2", "joanna-1"}


def test_flows_that_never_ran_are_not_run(tmp_path: Path) -> None:
    house = Talking(tmp_path / "data")
    house.append()
    house.run("profiles")
    house.append(said(house.person()))
    house.run("lake")
    house.runs.clear()
    assert house.forget().clean
    assert set(house.runs) == {"profiles", "lake"}
    assert not house.settings.kpis_path.exists()
    assert all(ERASED in one.headers for one in every(house.log, "chat") if one.value and MINE[0].encode() in one.value)


def test_an_erasure_that_cannot_be_read_is_a_dead_letter_of_each_flow(house: Talking) -> None:
    for flow in ("feedback", "lake"):
        house.log.append(f"control.{flow}", [LogRecord("", 0, 0, NOON, None, b'{"type":"erasure"}')])
        house.run(flow)
    assert [(kept.letter.flow, kept.letter.step) for kept in house.letters.list()] == [
        ("feedback", "control"),
        ("lake", "control"),
    ]


def test_ids_of_her_records_are_ids_of_hers(house: Talking) -> None:
    house.append({"chat": [record("chat", *talk("by-former-id", person_id("default", ANNA_SHOP)))]})
    assert "by-former-id" in house.follow().conversations


def test_a_flow_that_does_not_let_go_is_an_error(house: Talking) -> None:
    forgetting = house.forgetting()
    pending = forgetting.begin(house.follow())
    forgetting._run_flow = lambda flow: house.run(flow) if flow != "lake" else None
    with pytest.raises(HeadraceError, match="'lake' stopped before it had let go"):
        forgetting.finish(pending, 5)


SHOWN = ShownContext("by-context-c9", "x", NOON + 1, (ShownItem("crm", "7", text="bring it to 1 Quay"),))


def shown_alone(anna: str) -> list[FeedbackEvent]:
    """Return a conversation of which only the context says whose it is."""
    question, _, answer = talk("by-context-c9", "", "what Anna booked")
    return [question, msgspec.structs.replace(SHOWN, person=anna), answer]


def test_a_conversation_in_which_only_her_data_were_shown_goes_as_well(house: Talking) -> None:
    house.append({"chat": [record("chat", one) for one in shown_alone(house.person())]})
    house.run_all()
    assert house.facts()["by-context-c9"] == 3
    assert house.lake()["by-context-c9"]["contexts"][0]["items"][0]["text"] == "bring it to 1 Quay"
    assert house.forget().clean
    assert not any("by-context-c9" in place for place in (house.facts(), house.lake()))
    assert b"by-context-c9" not in house.everything()


def test_the_lake_knows_whose_data_were_shown_when_the_log_no_longer_does(house: Talking) -> None:
    house.append({"chat": [record("chat", one) for one in shown_alone(house.person())]})
    house.run_all()
    house.log.redact("chat", lambda one: None if b"by-context-c9" in (one.value or b"") else one)
    assert "by-context-c9" in house.follow().conversations
    assert house.forget().clean
    assert "by-context-c9" not in house.lake()
    assert b"by-context-c9" not in house.everything()


def test_what_the_log_does_not_say_but_was_served_for_her_goes_as_well(house: Talking) -> None:
    anna = house.person()
    chat = [record("chat", one) for one in talk("by-desk-c9", "", "what Anna booked")]
    house.append({"chat": chat})
    house.run_all()
    with closing(SqliteContexts(house.settings.contexts_path)) as contexts:
        contexts.claim("by-desk-c9", Holder("default", anna, "desk"), NOON)
    assert house.forget().clean
    assert not any("by-desk-c9" in place for place in (house.facts(), house.lake()))
    assert b"by-desk-c9" not in house.everything()


@pytest.mark.parametrize("moment", ["compacting", "searching all files"])
def test_what_an_answer_under_way_brings_back_goes_again(house: Talking, moment: str) -> None:
    anna, late = house.person(), "late-c9"
    with closing(SqliteContexts(house.settings.contexts_path)) as contexts:
        contexts.claim(late, Holder("default", anna, "desk"), NOON)
    forgetting = house.forgetting()
    pending = forgetting.begin(house.follow())
    told: list[str] = []

    def bring_back(text: str) -> None:
        told.append(text)
        if told.count(moment) != 1 or text != moment:
            return
        with closing(SqliteContexts(house.settings.contexts_path)) as contexts:
            contexts.claim(late, Holder("default", anna, "desk"), NOON)
            contexts.keep(KeptContext("x", late, "default", anna, ("public",), "desk", NOON, b"1 Quay"))
            contexts.add_turns([Turn(late, "a", NOON, "assistant", "to 1 Quay", person=anna)])
        if moment == "compacting":
            house.append({"chat": [record("chat", Turn(late, "a", NOON, "assistant", "to 1 Quay", person=anna))]})

    receipt = house.forgetting(bring_back).finish(pending, 20)
    with closing(SqliteContexts(house.settings.contexts_path)) as contexts:
        assert contexts.held("default", [anna], [late]) == 0
        assert contexts.holder(late) is None
    assert b"late-c9" not in house.everything()
    assert Removed("served contexts", "contexts", 2) in receipt.removed
    assert receipt.clean
