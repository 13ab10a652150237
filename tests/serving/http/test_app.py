"""Every route over HTTP, against the real stores: what comes back, to whom, and what is said of it elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.access.caller import Caller
from serving.context.request import ContextRequest
from serving.http.asking import ANSWERS_OF_KEY
from serving.http.logs import JsonLines, logger
from serving.http.replies import ContextReply, FreshnessReply, RowsReply
from serving.service import AnswerEvent, Runner, Served
from tests.serving.http.world import BASE, BERT, World, fill, settings_of
from tests.serving.persons_sample import ANNA, NOW

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("http")
    fill(settings_of(path))
    return path


@pytest.fixture(scope="module")
def world(folder: Path) -> Iterator[World]:
    found = World(folder)
    yield found
    found.service.close()


@pytest.fixture(scope="module")
def ask(world: World) -> Ask:
    """Return a function that asks the application one thing."""
    app = world.app()

    def asked(method: str, path: str, *, person: str = "", key: str = "", **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with world.client(app, person, key=key) as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())

    return asked


def events(text: str) -> list[tuple[str, Any]]:
    """Read server-sent events."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_a_context_holds_the_row_that_the_question_names_and_the_document_that_answers_it(ask: Ask) -> None:
    found = ask("POST", "/context", json={"question": "May I bring a bicycle on CV 214?"})
    assert found.status_code == 200, found.text
    document = ContextReply.model_validate_json(found.content)
    row = next(item for item in document.items if item.kind == "row")
    assert (row.text, row.age_ms) == ("Flight CV 214 is delayed", 5000)
    chunk = next(item for item in document.items if item.kind == "chunk")
    assert (chunk.place, chunk.text) == ("bicycles.md", "A bicycle may be brought on board for 40 euros.")


def test_a_context_is_shown_again_byte_for_byte(ask: Ask) -> None:
    first = ask("POST", "/context", json={"question": "CV 305?"})
    again = ask("GET", f"/contexts/{first.json()['id']}")
    assert again.content == first.content


def test_a_context_that_was_only_peeked_at_is_not_kept(ask: Ask) -> None:
    first = ask("POST", "/context", json={"question": "CV 305?", "peek": True})
    assert ask("GET", f"/contexts/{first.json()['id']}").status_code == 404


def test_a_persons_kept_context_is_for_that_person_only(ask: Ask, world: World) -> None:
    first = ask("POST", "/context", json={"question": "What have I booked?"}, person=world.anna)
    assert first.json()["person"] == ANNA
    path = f"/contexts/{first.json()['id']}"
    assert ask("GET", path, person=world.anna).content == first.content
    assert ask("GET", path, person=world.bert).status_code == 403
    assert ask("GET", path).status_code == 403


def test_an_answer_streams_its_context_then_its_text_then_the_whole(ask: Ask) -> None:
    found = ask("POST", "/answer", json={"question": "May I bring a bicycle?"})
    assert found.headers["content-type"].startswith("text/event-stream")
    told = events(found.text)
    assert [told[0][0], told[-1][0]] == ["context", "answer"]
    assert {name for name, _ in told[1:-1]} == {"token"}
    context, whole = told[0][1], told[-1][1]
    assert "".join(data["text"] for _, data in told[1:-1]) == whole["text"]
    assert whole["context"] == context["id"]
    items = {item["number"]: item for item in context["items"]}
    assert whole["citations"]
    for cited in whole["citations"]:
        assert cited == {name: items[cited["number"]][name] for name in cited}


def test_an_answer_that_is_not_streamed_is_one_document(ask: Ask) -> None:
    found = ask("POST", "/answer", json={"question": "May I bring a bicycle?", "stream": False}).json()
    assert found["answer"]["context"] == found["context"]["id"]
    assert "40 euros" in found["answer"]["text"]


def test_an_answer_can_be_rated(ask: Ask) -> None:
    answer = ask("POST", "/answer", json={"question": "May I bring a bicycle?", "stream": False}).json()["answer"]
    rating = {"conversation": answer["conversation"], "turn": answer["turn"]}
    up = ask("POST", "/feedback", json={**rating, "rating": {"scale": "thumbs", "value": 1}, "comment": "Thanks"})
    assert (up.status_code, up.json()["accepted"]) == (200, 2)


def test_a_search_finds_only_what_its_caller_may_read(ask: Ask, world: World) -> None:
    staff = ask("POST", "/search", json={"question": "When is the staff paid?"}).json()["items"]
    assert staff[0]["uri"] == "salaries.md"
    public = ask("POST", "/search", json={"question": "When is the staff paid?"}, person=world.anna).json()["items"]
    assert "salaries.md" not in {item["uri"] for item in public}


def test_a_profile_is_for_the_person_whose_token_is_sent(ask: Ask, world: World) -> None:
    mine = ask("GET", "/profiles/me", person=world.anna).json()
    assert mine["person"] == ANNA
    assert ask("GET", f"/profiles/{ANNA}", person=world.anna).json() == mine
    assert ask("GET", f"/profiles/{BERT}", person=world.anna).status_code == 403
    assert ask("GET", "/profiles/nobody-at-all", person=world.anna).status_code == 403
    assert ask("GET", "/profiles/me").status_code == 403


def test_the_graph_of_a_person_is_a_picture(ask: Ask, world: World) -> None:
    drawn = ask("GET", "/profiles/me/graph.svg", person=world.anna)
    assert drawn.headers["content-type"].startswith("image/svg+xml")
    assert drawn.text.lstrip().startswith(("<svg", "<?xml"))


def test_a_signed_token_lets_its_person_in(ask: Ask) -> None:
    signed = ask("POST", "/tokens", json={"person": "email:bert@posteo.example", "minutes": 5}).json()
    assert signed["person"] == BERT
    assert ask("GET", "/profiles/me", person=signed["token"]).json()["person"] == BERT


def test_rows_are_chosen_by_conditions_and_hidden_columns_stay_hidden(ask: Ask) -> None:
    found = ask("GET", "/tables/flights", params={"where": ["status=delayed", "seats<20"], "order": "id"})
    rows = RowsReply.model_validate_json(found.content).rows
    assert [row.row for row in rows] == [{"id": 1, "number": "CV 214", "status": "delayed", "seats": 12}]
    assert ask("GET", "/tables/crew").json()["rows"][0]["row"] == {"id": 1, "name": "Ola"}
    assert ask("GET", "/tables/crew", params={"where": "salary>1"}).status_code == 422


def test_owned_rows_are_their_persons(ask: Ask, world: World) -> None:
    mine = ask("GET", "/tables/stays", person=world.anna).json()["rows"]
    assert [row["row"]["place"] for row in mine] == ["Lisbon"]
    assert ask("GET", "/tables/stays").status_code == 403


def test_tables_are_listed_to_those_who_may_read_them(ask: Ask, world: World) -> None:
    names = [table["name"] for table in ask("GET", "/tables").json()["tables"]]
    assert names == ["flights", "crew", "stays"]
    public = [table["name"] for table in ask("GET", "/tables", person=world.anna).json()["tables"]]
    assert public == ["flights", "stays"]


def test_kpis_alerts_letters_and_freshness_are_told_before_there_are_any(ask: Ask) -> None:
    assert {line["kpi"] for line in ask("GET", "/kpis").json()["kpis"]}
    assert ask("GET", "/alerts").json() == {"alerts": []}
    assert ask("GET", "/dead-letters").json() == {"letters": []}
    assert ask("GET", "/dead-letters", params={"flow": "tables"}).json() == {"letters": []}
    unknown = ask("GET", "/dead-letters", params={"flow": "tabels"})
    assert (unknown.status_code, unknown.json()["error"]["detail"]) == (422, "there is no flow 'tabels'")
    seen = FreshnessReply.model_validate_json(ask("GET", "/freshness").content)
    assert {source.flow for source in seen.sources} >= {"knowledge", "profiles"}


def test_what_there_is_of_a_table_is_told_to_those_who_may_read_it(ask: Ask, world: World) -> None:
    tables = ask("GET", "/freshness").json()["stores"]["tables"]
    assert {name: table["rows"] for name, table in tables.items()} == {"flights": 2, "crew": 1, "stays": 2}
    assert ask("GET", "/freshness", person=world.anna).json()["stores"]["tables"].keys() == {"flights", "stays"}
    assert 'headrace_table_rows{table="crew"} 1.0' in ask("GET", "/metrics").text
    public = ask("GET", "/metrics", person=world.anna).text
    assert 'headrace_table_rows{table="flights"} 2.0' in public
    assert "crew" not in public


def test_health_needs_no_key_and_says_nothing_else(world: World) -> None:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app()), base_url=BASE) as client:
            return await client.get("/health")

    found = asyncio.run(send())
    assert (found.status_code, found.json()) == (200, {"status": "ok"})


def test_metrics_count_requests_contexts_and_their_items_by_few_labels(world: World) -> None:
    async def send() -> str:
        async with world.client(world.app()) as client:
            context = await client.post("/context", json={"question": "Is CV 214 on time?"})
            await client.get(f"/contexts/{context.json()['id']}")
            await client.get("/nowhere/at/all")
            await client.request("BREW", "/context")
            return (await client.get("/metrics")).text

    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(asyncio.run(send()))
        for sample in family.samples
    }

    def requests(route: str, method: str, status: str) -> float:
        labels = {"route": route, "method": method, "status": status}
        name = ("headrace_requests_total", *sorted(labels.items()))
        return samples[name]

    assert requests("/context", "POST", "200") == 1
    assert requests("/contexts/{id}", "GET", "200") == 1
    assert requests("(none)", "GET", "404") == 1
    assert requests("(none)", "other", "405") == 1
    assert samples[("headrace_contexts_total",)] == 1
    assert samples["headrace_context_items_total", ("kind", "row")] == 1
    assert samples["headrace_overview_up",] == 1
    assert ("headrace_source_objective_met", ("flow", "profiles"), ("source", "crm")) in samples


def test_the_log_names_the_route_and_the_key_and_nothing_personal(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def send() -> None:
        async with world.client(world.app(), world.anna) as client:
            await client.get(f"/profiles/{ANNA}", params={"where": "secret"})
            await client.post("/search", json={"question": "How do I hide a body?"})

    with caplog.at_level(logging.INFO, logger.name):
        asyncio.run(send())
    lines = [JsonLines(lambda: 0).format(record) for record in caplog.records if record.name == logger.name]
    told = [json.loads(line) for line in lines]
    assert [(line["method"], line["route"], line["key"]) for line in told] == [
        ("GET", "/profiles/{person}", "everything"),
        ("POST", "/search", "everything"),
    ]
    assert told[0]["time"] == "2023-11-14T22:13:20.000Z"
    for secret in (ANNA, "body", "secret", world.anna, world.key):
        assert secret not in "".join(lines)


def test_a_request_is_named_in_its_response_and_in_the_log(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger.name):
        found = ask("GET", "/alerts")
    line = json.loads(JsonLines(lambda: 0).format(caplog.records[-1]))
    assert line["request"] == found.headers["headrace-request"]


def test_a_bug_is_told_without_what_it_was_about_and_logged_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **named: Any) -> None:
        message = "Anna's secret"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(world.service, "alerts", broken)

    async def send() -> httpx.Response:
        async with world.client(world.app()) as client:
            return await client.get("/alerts")

    found = asyncio.run(send())
    assert found.status_code == 500
    assert found.json()["error"]["kind"] == "internal"
    assert found.headers["headrace-request"] in found.json()["error"]["hint"]
    logged = "".join(JsonLines(lambda: 0).format(record) for record in caplog.records)
    assert "ZeroDivisionError" in logged
    assert "Anna" not in found.text + logged


def test_an_answer_that_breaks_in_the_middle_says_so_in_the_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = world.service.answer
    closed: list[bool] = []

    async def breaking(caller: Caller, request: ContextRequest, **runners: Runner) -> AsyncIterator[AnswerEvent]:
        try:
            async for event in whole(caller, request, **runners):
                yield event
                raise ZeroDivisionError
        finally:
            closed.append(True)

    monkeypatch.setattr(world.service, "answer", breaking)

    async def send() -> httpx.Response:
        async with world.client(world.app()) as client:
            return await client.post("/answer", json={"question": "bicycle?"})

    told = events(asyncio.run(send()).text)
    assert [name for name, _ in told] == ["context", "error"]
    assert told[-1][1]["kind"] == "internal"
    assert closed


def test_a_key_may_have_only_so_many_answers_in_the_making(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send() -> tuple[list[int], httpx.Response]:
        begun, go = asyncio.Event(), asyncio.Event()
        waiting = 0

        async def waits(caller: Caller, request: ContextRequest, **runners: Runner) -> AsyncIterator[AnswerEvent]:
            nonlocal waiting
            waiting += 1
            if waiting == ANSWERS_OF_KEY:
                begun.set()
            await go.wait()
            return
            yield

        monkeypatch.setattr(world.service, "answer", waits)
        async with world.client(world.app()) as client:
            body = {"question": "bicycle?", "stream": False}
            tasks = [asyncio.create_task(client.post("/answer", json=body)) for _ in range(ANSWERS_OF_KEY)]
            await asyncio.wait_for(begun.wait(), 20)
            refused = await client.post("/answer", json=body)
            go.set()
            return [(await task).status_code for task in tasks], refused

    served, refused = asyncio.run(send())
    assert served == [200] * ANSWERS_OF_KEY
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")


def test_an_answer_that_nobody_waits_for_any_more_keeps_its_place_for_as_long_as_a_thread_works_on_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assemble, go = world.service._context, threading.Event()
    working: list[str] = []

    def slowly(caller: Caller, request: ContextRequest) -> Served:
        working.append(threading.current_thread().name)
        assert go.wait(20)
        return assemble(caller, msgspec.structs.replace(request, demand=None))

    async def send() -> tuple[list[int], int]:
        app = world.app(pace=count(0, 60_000).__next__)  # nobody asks too often
        async with world.client(app) as client:
            body = {"question": "bicycle?", "max_age_ms": 0}
            for number in range(ANSWERS_OF_KEY):
                left = asyncio.create_task(client.post("/answer", json=body))
                while len(working) <= number:
                    await asyncio.sleep(0)
                left.cancel()
                await asyncio.wait([left])
            refused = [(await client.post("/answer", json=body)).status_code for _ in range(3)]
            go.set()
            while (again := await client.post("/answer", json=body)).status_code == 429:
                await asyncio.sleep(0)
            return refused, again.status_code

    monkeypatch.setattr(world.service, "_context", slowly)
    refused, again = asyncio.run(asyncio.wait_for(send(), 20))
    assert refused == [429, 429, 429]
    assert again == 200
    assert len(set(working)) <= ANSWERS_OF_KEY


def test_the_page_is_served_by_exact_names_with_a_tag_and_may_load_nothing_from_elsewhere(ask: Ask) -> None:
    index = ask("GET", "/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert ask("GET", "/index.html").content == index.content
    again = ask("GET", "/", headers={"If-None-Match": index.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert ask("HEAD", "/").status_code == 200
    policy = index.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for path in ("/../service.py", "/%2e%2e/service.py", "/..%2fservice.py", "/index.html/", "/page/index.html"):
        assert ask("GET", path).status_code == 404, path


def test_without_the_page_there_is_no_page(world: World) -> None:
    async def send() -> int:
        async with world.client(world.app(page=False)) as client:
            return (await client.get("/")).status_code

    assert asyncio.run(send()) == 404


def test_openapi_is_for_those_with_a_key_and_knows_the_settings_bounds(ask: Ask, world: World) -> None:
    document = ask("GET", "/openapi.json").json()
    longest = document["components"]["schemas"]["ContextBody"]["properties"]["question"]["maxLength"]
    assert longest == world.settings.serving.max_question_chars
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path != "/health":
                assert operation["security"], path
                assert {"401", "403", "422", "429", "503"} <= operation["responses"].keys(), path
    assert ask("GET", "/openapi.json", key="hr_wrong").status_code == 401


def test_documents_are_json_of_one_line(ask: Ask) -> None:
    for path in ("/tables", "/kpis", "/freshness"):
        found = ask("GET", path)
        assert found.headers["content-type"] == "application/json"
        assert found.headers["cache-control"] == "no-store"
        assert b"\n" not in found.content
        assert msgspec.json.decode(found.content)


def test_reads_that_must_be_fresh_are_refused_with_the_age_that_there_is(ask: Ask) -> None:
    demand = {"max_age_ms": 0, "wait_seconds": 0}
    refused = ask("GET", "/tables/flights", params=demand)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (412, "stale")
    assert "age_ms" in refused.json()["error"]
    assert ask("POST", "/context", json={"question": "CV 214?", **demand}).status_code == 412
    assert ask("POST", "/answer", json={"question": "CV 214?", **demand}).status_code == 412


def test_times_are_those_of_the_clock_that_was_passed_in(ask: Ask) -> None:
    assert ask("POST", "/context", json={"question": "CV 214?"}).json()["at"] == "2023-11-14T22:13:20.000Z"
    assert NOW == 1_700_000_000_000
