"""A change at the source reaches every interface: HTTP, the Model Context Protocol, a browser; each with a true age."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from events.clock import Clock, system_clock, to_iso
from fixtures.customers_cases import INES
from fixtures.demo_profiles import SECOND, Desk
from fixtures.demo_tables import FLIGHT, STREAM, event, newest
from serving.tables import LiveTables
from stores.log.choose import open_log
from tests.integration.everything import SOURCE, Up, up
from tests.integration.live import wait_until
from tests.servers.browser import browser

ASK = f"What does flight {FLIGHT} cost, and is it on time?"
PAGE = "policies/changes.md"
MOST_LAG = 15_000
"""Milliseconds: an epoch and a heartbeat, on a machine that does much else."""
QUESTION = "Can I change a Classic ticket and what is the change fee?"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Run everything for all tests of this module: each changes something else."""
    with up(tmp_path_factory.mktemp("everything")) as running:
        yield running


@pytest.fixture
def http(running: Up) -> Iterator[httpx.Client]:
    with running.http() as client:
        yield client


def context(http: httpx.Client, question: str, token: str = "", **more: Any) -> dict[str, Any]:
    headers = {"Headrace-Person": token} if token else {}
    answer = http.post("/context", json={"question": question, **more}, headers=headers)
    assert answer.status_code == httpx.codes.OK, answer.text
    found: dict[str, Any] = answer.json()
    return found


def token(http: httpx.Client, person: str) -> str:
    answer = http.post("/tokens", json={"person": person})
    assert answer.status_code == httpx.codes.OK, answer.text
    return str(answer.json()["token"])


def by_tool(running: Up, name: str, arguments: dict[str, Any], person: str = "") -> Any:
    """Call a tool with the protocol's own client; return what it says as structured data."""
    from tests.serving.mcp.calling import call

    return asyncio.run(call(f"{running.url}/mcp", running.key, person, name, arguments))


def items(found: dict[str, Any], kind: str, title: str = "") -> list[dict[str, Any]]:
    return [item for item in found["items"] if item["kind"] == kind and title in item["title"] + item["text"]]


def is_true(item: dict[str, Any], happened: int, asked: int, clock: Clock = system_clock) -> None:
    """Check an item's times against when its change was written down and when the context was asked for."""
    assert item["as_of"] == to_iso(happened)
    assert asked - happened <= item["age_ms"] <= clock() - happened
    # A row is there before the mark that says up to when all are: the claim may lag behind, by a second or so.
    assert item["lag_ms"] is not None
    assert 0 <= item["lag_ms"] <= MOST_LAG
    assert happened <= _millis(item["applied_at"]) <= clock()


def _millis(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def test_a_fare_that_rises_is_in_the_next_context_of_every_interface(running: Up, http: httpx.Client) -> None:
    tables = LiveTables.of(running.settings)
    flight = newest(tables, "flights", f"number={FLIGHT}", "departs_at")
    fare = newest(tables, "fares", f"flight_id={flight.key['id']}", "price")
    was = (fare.row or {})["price"]
    title = f"{was}"
    assert items(context(http, ASK), "row", title)

    record = event(fare, {"price": str(was + 35)})
    open_log(running.settings).append(STREAM, [record])

    def risen() -> list[dict[str, Any]]:
        found = items(context(http, ASK, peek=True), "row")
        return [item for item in found if any(value["column"] == "price" for value in item["superseded"])]

    wait_until(risen, "the fare to rise")
    asked = system_clock()
    (item,) = risen()
    assert float(item["data"]["price"]) == pytest.approx(float(was) + 35)
    (value,) = [value for value in item["superseded"] if value["column"] == "price"]
    assert float(value["was"]) == pytest.approx(float(was))
    assert value["until"] == to_iso(record.event_time)
    is_true(item, record.event_time, asked)
    assert f"{was}" in item["text"]
    assert "until" in item["text"]

    told = by_tool(running, "query_table", {"table": "fares", "where": [f"id={fare.key['id']}"]})
    assert float(told["rows"][0]["row"]["price"]) == pytest.approx(float(was) + 35)
    assert "updated_by" not in told["rows"][0]["row"]
    assert str(was + 35).rstrip("0") in str(by_tool(running, "get_context", {"question": ASK}))


def test_a_cancelled_flight_is_cancelled_everywhere(running: Up, http: httpx.Client) -> None:
    tables = LiveTables.of(running.settings)
    flight = newest(tables, "flights", f"number={FLIGHT}", "departs_at")
    record = event(flight, {"status": "cancelled"})
    open_log(running.settings).append(STREAM, [record])

    def cancelled() -> list[dict[str, Any]]:
        found = items(context(http, ASK, peek=True), "row", FLIGHT)
        return [item for item in found if item["data"].get("status") == "cancelled"]

    wait_until(cancelled, "the flight to be cancelled")
    asked = system_clock()
    (item,) = [item for item in cancelled() if str(flight.key["id"]) in item["id"]]
    is_true(item, record.event_time, asked)
    rows = http.get("/tables/flights", params={"where": f"number={FLIGHT}", "order": "departs_at", "descending": True})
    assert rows.json()["rows"][0]["row"]["status"] == "cancelled"
    told = by_tool(running, "query_table", {"table": "flights", "where": [f"id={flight.key['id']}"]})
    assert told["rows"][0]["row"]["status"] == "cancelled"
    answer = http.post("/answer", json={"question": ASK, "stream": False}).json()
    assert "cancelled" in answer["answer"]["text"]
    assert answer["answer"]["citations"]


def test_records_that_become_one_person_are_one_for_a_token_of_either(running: Up, http: httpx.Client) -> None:
    desk = Desk.open(open_log(running.settings), system_clock)
    desk.takes_in("Seat next to my child")
    wait_until(lambda: http.post("/tokens", json={"person": SECOND}).status_code == httpx.codes.OK, "the new contact")
    second, first = token(http, SECOND), token(http, INES)
    me = {"Headrace-Person": second}
    before = http.get("/profiles/me", headers=me).json()
    known = http.get("/profiles/me", headers={"Headrace-Person": first}).json()
    assert before["person"] != known["person"]
    number = known["identifiers"]["loyalty"][0]

    desk.notes(number)
    wait_until(lambda: http.get("/profiles/me", headers=me).json().get("person") == known["person"], "one person")
    found = context(http, "What is the matter with my ticket?", second)
    assert found["person"] == known["person"]
    assert items(found, "profile")
    assert items(found, "activity", "Seat next to my child")
    told = by_tool(running, "get_profile", {}, second)
    assert SECOND in str(told)
    assert INES in str(told)


def test_an_edited_document_is_quoted_as_it_is_now(running: Up, http: httpx.Client) -> None:
    path = running.documents / PAGE
    text = path.read_text(encoding="utf-8")
    assert text.count("| Classic | EUR 30 |") == 1
    before = system_clock()
    path.write_text(text.replace("| Classic | EUR 30 |", "| Classic | EUR 77 |"), encoding="utf-8")

    def edited() -> list[dict[str, Any]]:
        found = items(context(http, QUESTION, peek=True), "chunk", "EUR 77")
        return [item for item in found if item["place"] == PAGE]

    wait_until(edited, "the edited page")
    (item,) = edited()
    assert before <= _millis(item["as_of"]) <= system_clock()
    assert item["source"] == SOURCE
    assert not item["stale"]
    told = by_tool(running, "search_knowledge", {"question": QUESTION, "k": 20})
    assert "EUR 77" in str(told)


def test_a_context_is_shown_again_byte_for_byte_after_many_changes(running: Up, http: httpx.Client) -> None:
    answer = http.post("/context", json={"question": ASK})
    tables, log = LiveTables.of(running.settings), open_log(running.settings)
    fares = tables.rows("fares", limit=1000)
    flight = newest(tables, "flights", f"number={FLIGHT}", "departs_at")
    moving = next(row for row in fares if row.key["id"] == newest(
        tables, "fares", f"flight_id={flight.key['id']}", "price").key["id"])  # fmt: skip
    begin, records = moving.position[1], []
    for number in range(10_000):
        record = event(moving, {"seats_left": number % 90})
        moved = record.value.replace(  # each a little further on in the source's log
            f'"lsn":{begin + 1_000_000}'.encode(), f'"lsn":{begin + 1_000_001 + number}'.encode()
        ) if record.value else b""  # fmt: skip
        records.append(type(record)(STREAM, 0, 0, record.event_time, record.key, moved))
    log.append(STREAM, records)
    last = 9_999 % 90

    def taken_in() -> bool:
        row = http.get("/tables/fares", params={"where": f"id={moving.key['id']}"}).json()["rows"][0]
        return bool(row["row"]["seats_left"] == last)

    wait_until(taken_in, "ten thousand changes")
    again = http.get(f"/contexts/{answer.json()['id']}")
    assert again.content == answer.content
    assert http.post("/context", json={"question": ASK}).json()["items"] != answer.json()["items"]


def test_what_is_said_of_an_answer_becomes_a_kpi(running: Up, http: httpx.Client) -> None:
    def rated() -> float:
        found = http.get("/kpis/rated_share", params={"by": "application", "where": "application=travel-desk"})
        if found.status_code != httpx.codes.OK:
            return 0.0
        return float(sum(value["count"] for series in found.json()["series"] for value in series["values"][-1:]))

    given = http.post("/answer", json={"question": QUESTION, "stream": False}).json()["answer"]
    started = time.monotonic()
    said = {"conversation": given["conversation"], "turn": given["turn"], "rating": {"scale": "thumbs", "value": 1}}
    answer = http.post("/feedback", json=said)
    assert answer.status_code == httpx.codes.OK, answer.text
    wait_until(lambda: rated() > 0, "the rating to be counted")
    assert time.monotonic() - started < 60


def test_a_browser_shows_the_change_and_moves_the_kpi(running: Up, http: httpx.Client) -> None:
    from playwright.sync_api import expect

    tables = LiveTables.of(running.settings)
    flight = newest(tables, "flights", f"number={FLIGHT}", "departs_at")
    with browser() as started:
        page = started.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.goto(f"{running.url}/#key={running.key}")
        page.get_by_test_id("question").fill(ASK)
        page.get_by_test_id("question").press("Enter")
        expect(page.get_by_test_id("answer").last).to_have_attribute("data-state", "done")
        item = page.locator(f"[data-testid=item-row][data-id='flights/{flight.key['id']}']")
        expect(item.get_by_test_id("age")).to_contain_text("ago")

        gate = "Z9" if (flight.row or {}).get("gate") != "Z9" else "Z8"
        open_log(running.settings).append(STREAM, [event(flight, {"gate": gate})])
        expect(item.locator("[data-column=gate]")).to_contain_text(gate)
        expect(item.get_by_test_id("superseded").first).to_be_visible()
        fare = newest(tables, "fares", f"flight_id={flight.key['id']}", "price")
        dearer = (fare.row or {})["price"] + 5
        cancelled = newest(tables, "flights", f"number={FLIGHT}", "departs_at")
        changes = [event(fare, {"price": str(dearer)}), event(cancelled, {"status": "cancelled"})]
        open_log(running.settings).append(STREAM, changes)
        expect(item.locator("[data-column=status]")).to_contain_text("cancelled")
        priced = page.locator(f"[data-testid=item-row][data-id='fares/{fare.key['id']}']")
        expect(priced.locator("[data-column=price]")).to_contain_text(f"{dearer:.2f}".rstrip("0").rstrip("."))
        # It ticks: a change of this very moment is seconds old.
        expect(item.get_by_test_id("age")).to_contain_text(re.compile(r"\b\d+(\.\d+)? s ago"))

        path = running.documents / PAGE
        path.write_text(re.sub(r"\| Classic \| EUR \d+ \|", "| Classic | EUR 88 |", path.read_text("utf-8")), "utf-8")
        # By itself: with what was said before, there is less room for documents.
        page.get_by_test_id("new-conversation").click()
        page.get_by_test_id("question").fill(QUESTION)
        page.get_by_test_id("question").press("Enter")
        expect(page.get_by_test_id("item-chunk").filter(has_text="EUR 88").first).to_be_visible()

        _merge(running, http)
        page.get_by_test_id("who").click()
        page.get_by_test_id("person").fill(INES)
        page.get_by_test_id("person").press("Enter")
        expect(page.get_by_test_id("who-dialog")).to_be_hidden()
        page.get_by_test_id("nav-profile").click()
        expect(page.get_by_test_id("profile")).to_contain_text(SECOND)

        page.get_by_test_id("nav-chat").click()
        page.get_by_test_id("question").fill(ASK)
        page.get_by_test_id("question").press("Enter")
        expect(page.get_by_test_id("answer").last).to_have_attribute("data-state", "done")
        page.get_by_test_id("thumb-down").last.click()
        expect(page.get_by_test_id("feedback-told").last).to_contain_text("Thank you")
        wait_until(lambda: _bad(http) > 0, "the rating to be counted")
        page.get_by_test_id("nav-dashboard").click()
        value = page.get_by_test_id("kpi-bad_share").get_by_test_id("kpi-value")
        expect(value).to_have_text(str(_kpi(http)["written"]))
        expect(page.get_by_test_id(f"source-{STREAM}").first).to_be_visible()


def _merge(running: Up, http: httpx.Client) -> None:
    """Let a contact with another address become known as a customer: once or again, which is the same."""
    desk = Desk.open(open_log(running.settings), system_clock)
    desk.takes_in("Seat next to my child")
    me = http.get("/profiles/me", headers={"Headrace-Person": token(http, INES)}).json()
    desk.notes(me["identifiers"]["loyalty"][0])


def _bad(http: httpx.Client) -> float:
    return float(_kpi(http).get("value") or 0)


def _kpi(http: httpx.Client) -> dict[str, Any]:
    """Return the share of bad answers in this very hour; nothing while it has no value."""
    answer = http.get("/kpis", params={"window": "1h"})
    assert answer.status_code == httpx.codes.OK, answer.text
    found = answer.json()["kpis"]
    (kpi,) = [one for one in found if one["kpi"] == "bad_share"]
    fresh = kpi.get("start") is not None and system_clock() - _millis(kpi["start"]) < 2 * 3_600_000
    return dict(kpi) if fresh else {}
