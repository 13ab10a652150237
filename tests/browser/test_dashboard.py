"""The dashboard: sources, KPIs, alerts and dead letters, each by itself."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.conftest import Open
from tests.browser.fake_api import KEY, FakeApi
from tests.browser.test_chat import refusals


def opened(open_page: Open, api: FakeApi) -> Page:
    page = open_page()
    page.get_by_test_id("nav-dashboard").click()
    expect(page.get_by_test_id("source-operations")).to_be_visible()
    return page


def test_every_source_says_how_far_behind_it_is_and_whether_that_was_promised(open_page: Open, api: FakeApi) -> None:
    page = opened(open_page, api)
    assert page.title() == "Dashboard · Headrace"
    good, behind, idle = (page.get_by_test_id(f"source-{name}") for name in ("operations", "shop", "feedback"))
    expect(good).to_contain_text("on time")
    expect(good).to_contain_text("at most 5 s")
    expect(good).to_contain_text("24183150")
    expect(good.locator("td").last).to_have_text("2 of the flow")
    expect(behind).to_contain_text("behind")
    expect(behind.get_by_test_id("lag")).to_have_text("1 min")
    expect(behind).to_contain_text("18,240")
    expect(idle).to_contain_text("not running")
    expect(idle.get_by_test_id("lag")).to_have_text("not known")
    expect(page.get_by_test_id("panel-sources")).to_contain_text("1 of 5 behind, 1 is not running")
    expect(page.get_by_test_id("stores")).to_contain_text("fares1,912")
    # The rates of the last looks become a line.
    expect(good.locator(".spark .stroke").first).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+L.*L"))


def test_kpis_are_drawn_with_gaps_and_can_be_read_as_a_table(open_page: Open, api: FakeApi) -> None:
    page = opened(open_page, api)
    rate = page.get_by_test_id("kpi-thumbs_up_rate")
    expect(rate.get_by_test_id("kpi-value")).to_have_text("91.0 %")
    expect(rate).to_contain_text("better than before")
    values = [
        one["value"] for one in next(one for one in samples.kpis(0, "") if one["kpi"] == "thumbs_up_rate")["values"]
    ]
    runs = "".join("x" if value is None else "v" for value in values).split("x")
    lines = rate.locator("path.stroke:not(.dots)").get_attribute("d") or ""
    dots = rate.locator("path.dots").get_attribute("d") or ""
    assert lines.count("M") == sum(len(run) > 1 for run in runs)
    assert dots.count("M") == sum(len(run) == 1 for run in runs)
    gaps = values.count(None)
    expect(rate.locator("desc")).to_contain_text(f"{gaps} windows without a value")
    rate.locator("summary").click()
    expect(rate.locator("tbody tr")).to_have_count(30)
    expect(rate.locator("tbody tr").first).to_contain_text("91.0 %")
    expect(page.get_by_test_id("kpi-csat")).to_contain_text("no value yet")
    expect(page.get_by_test_id("kpi-longest_answer")).to_contain_text("topic baggage · the largest of 9 groups")


def test_other_windows_can_be_chosen(open_page: Open, api: FakeApi) -> None:
    page = opened(open_page, api)
    expect(page.get_by_test_id("window").locator("option")).to_have_text(
        ["shortest windows", "windows of 1h", "windows of 1d"]
    )
    page.get_by_test_id("window").select_option("1d")
    assert api.wait_for("kpis", lambda seen: "window" in seen.query).query == {"last": ["30"], "window": ["1d"]}
    expect(page.get_by_test_id("kpi-answers")).to_contain_text("windows of 1d")


def test_alerts_and_dead_letters_say_what_is_wrong(open_page: Open, api: FakeApi) -> None:
    page = opened(open_page, api)
    alert = page.get_by_test_id("alert").first
    expect(alert).to_contain_text("critical")
    expect(alert).to_contain_text("for 25 min")
    expect(alert).to_contain_text("policies/baggage.md, fares/economy-light.md")
    page.get_by_text("1 over").click()
    expect(page.get_by_test_id("alert").last).to_contain_text("context_lag of operations")
    expect(page.get_by_test_id("letter").first).to_contain_text("unexpected end at byte 512")
    expect(page.get_by_test_id("letter").first).to_contain_text("operations/0 at 106,320")


def test_a_panel_that_fails_leaves_the_others(open_page: Open, api: FakeApi, complaints: list[str]) -> None:
    api.fail["kpis"] = (503, {"kind": "store", "detail": "the store of KPIs is in use", "hint": "it comes back"})
    page = opened(open_page, api)
    expect(page.get_by_test_id("trouble-kpis")).to_contain_text("the store of KPIs is in use")
    expect(page.get_by_test_id("alert").first).to_be_visible()
    api.fail.clear()
    expect(page.get_by_test_id("kpi-answers")).to_be_visible()
    expect(page.get_by_test_id("trouble-kpis")).to_be_hidden()
    assert refusals(complaints, 503)


def test_a_server_that_goes_and_comes_back_is_noticed(open_page: Open, api: FakeApi, complaints: list[str]) -> None:
    page = opened(open_page, api)
    port = api.server_port
    api.shutdown()
    api.server_close()
    expect(page.get_by_test_id("connection")).to_have_text("server not reachable")
    expect(page.get_by_test_id("trouble-sources")).to_contain_text("Shown is what was known")
    # What is known goes on ageing.
    expect(page.get_by_test_id("source-operations").get_by_test_id("lag")).to_have_text(re.compile(r"[1-9]\.\d s"))
    page.get_by_test_id("nav-chat").click()
    page.get_by_test_id("question").fill("Is anybody there?")
    page.get_by_test_id("send").click()
    expect(page.get_by_test_id("error")).to_contain_text("The server cannot be reached.")
    with FakeApi(port):
        page.get_by_test_id("again").click()
        expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "done")
        expect(page.get_by_test_id("connection")).to_have_text("")
        page.get_by_test_id("nav-dashboard").click()
        expect(page.get_by_test_id("trouble-sources")).to_be_hidden()
        page.close()
    assert complaints
    # A connection that was open is reset, a new one refused; one that is answered by nobody is empty.
    complaints[:] = [text for text in complaints if not re.search("ERR_(CONNECTION_|EMPTY_RESPONSE|SOCKET_)", text)]


def test_a_key_that_is_not_good_any_more_is_asked_for_again(
    open_page: Open, api: FakeApi, complaints: list[str]
) -> None:
    page = opened(open_page, api)
    api.fail["freshness"] = (401, {"kind": "unknown_caller", "detail": "the key is not known", "hint": ""})
    expect(page.get_by_test_id("key")).to_be_focused()
    expect(page.get_by_test_id("key-trouble")).to_contain_text("the key is not known")
    assert page.evaluate("() => sessionStorage.length") == 0
    before = len(api.asked("freshness"))
    page.get_by_test_id("key").fill(KEY)
    page.get_by_test_id("use-key").click()
    api.wait_for("freshness", lambda seen: len(api.asked("freshness")) > before)
    expect(page.get_by_test_id("key-trouble")).to_contain_text("the key is not known")
    api.fail.clear()
    page.get_by_test_id("use-key").click()
    expect(page.get_by_test_id("source-operations")).to_be_visible()
    assert refusals(complaints, 401)
