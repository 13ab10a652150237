"""The conversation and its live context, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.conftest import Open
from tests.browser.fake_api import KEY, FakeApi

QUESTION = "What does CRV204 cost?"


def ask(page: Page, question: str = QUESTION) -> None:
    page.get_by_test_id("question").fill(question)
    page.get_by_test_id("question").press("Enter")


def answered(page: Page, question: str = QUESTION) -> None:
    before = page.get_by_test_id("thumb-up").count()
    ask(page, question)
    expect(page.get_by_test_id("thumb-up")).to_have_count(before + 1)


def test_an_answer_comes_word_by_word_with_its_context_beside_it(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    api.go_on.clear()
    ask(page)
    answer = page.get_by_test_id("answer")
    expect(answer).to_contain_text("The economy fare")
    expect(answer).not_to_contain_text("departure")
    expect(answer).to_have_attribute("aria-busy", "true")
    expect(page.get_by_test_id("items").get_by_role("listitem")).to_have_count(6)
    api.go_on.set()
    expect(answer).to_contain_text("two hours before departure")
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(answer.locator("strong").first).to_have_text("149.00 EUR")
    expect(answer.locator("li").first).to_have_text("The flight is boarding 2.")
    expect(page.get_by_test_id("context-count")).to_have_text("6 items, 612 of 1,500 tokens")
    expect(page.get_by_test_id("announcer")).to_contain_text("Answer: The economy fare")


def test_a_citation_leads_to_its_item(open_page: Open) -> None:
    page = open_page()
    answered(page)
    page.get_by_test_id("cite-5").first.click()
    expect(page.get_by_test_id("item-chunk")).to_be_focused()
    expect(page.get_by_test_id("item-chunk")).to_be_in_viewport()


def test_ages_tick_and_stale_items_say_so(open_page: Open) -> None:
    page = open_page()
    answered(page)
    flight = page.locator("[data-id='flights/CRV204']")
    expect(flight.get_by_test_id("age")).to_have_text(re.compile(r"changed 1\d s ago"))
    expect(flight.get_by_test_id("checked")).to_have_text(re.compile(r"checked \d\.\d s ago"))
    page.get_by_test_id("live").click()
    before = flight.get_by_test_id("checked").inner_text()
    expect(flight.get_by_test_id("checked")).not_to_have_text(before)
    expect(page.get_by_test_id("item-chunk").get_by_test_id("stale")).to_have_text("may be out of date")
    expect(flight.get_by_test_id("stale")).to_be_hidden()


def test_what_speaks_against_an_item_is_said_before_its_values(open_page: Open, api: FakeApi) -> None:
    gone = "deleted at its source; the delete waits for a decision"
    found = api.found
    api.found = lambda now: [one | {"warning": gone if one["kind"] == "row" else ""} for one in found(now)]
    page = open_page()
    answered(page)
    flight = page.locator("[data-id='flights/CRV204']")
    expect(flight.get_by_test_id("warning")).to_have_text(gone)
    expect(page.get_by_test_id("item-chunk").get_by_test_id("warning")).to_be_hidden()


def test_ages_go_by_the_servers_clock(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    # This machine's clock is a day ahead from here on.
    page.add_init_script("const real = Date.now; Date.now = () => real() + 86_400_000;")
    page.reload()
    answered(page)
    expect(page.locator("[data-id='flights/CRV204']").get_by_test_id("age")).to_have_text(
        re.compile(r"changed 1\d s ago")
    )


def test_a_changed_value_is_seen_without_asking_again_with_the_former_one_struck_through(
    open_page: Open, api: FakeApi
) -> None:
    page = open_page()
    answered(page)
    fare = page.locator("[data-id='fares/77']")
    price = fare.locator("[data-column=price]")
    expect(price.get_by_test_id("superseded")).to_have_text("129.00")
    order = page.get_by_test_id("items").locator(".item h3").all_inner_texts()
    fare.evaluate("node => { node.dataset.mark = 'same' }")
    api.set_price("159.50")
    expect(price).to_contain_text("159.50")
    expect(price.get_by_test_id("superseded")).to_have_text("149.00")
    assert price.locator("del").evaluate("node => getComputedStyle(node).textDecorationLine") == "line-through"
    expect(price).to_have_text(re.compile(r"159\.50 was 149\.00 until \d\d:\d\d$"))
    expect(fare.get_by_test_id("age")).to_have_text(re.compile(r"changed \d\.\d s ago"))
    expect(page.get_by_test_id("announcer")).to_contain_text("price 159.50 was 149.00")
    # The rest stays as it is, and where it is.
    expect(fare).to_have_attribute("data-mark", "same")
    assert page.get_by_test_id("items").locator(".item h3").all_inner_texts() == order
    assert len(api.asked("answer")) == 1
    assert api.asked("context")[-1].body["peek"] is True


def test_what_leaves_the_context_is_told_and_what_comes_stands_below(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    answered(page)

    def later(now: int) -> list[dict[str, object]]:
        rest = [one for one in samples.items(now, "149.00") if one["kind"] != "activity"]
        return [samples.item(1, "row", "rooms/3", now, 1000, title="rooms 3", data={"price": "80.00"}), *rest]

    api.found = later
    expect(page.get_by_test_id("item-activity")).to_contain_text("not in the context any more")
    last = page.get_by_test_id("items").locator(".item").last
    expect(last.locator("h3")).to_have_text("rooms 3")
    expect(last.locator(".number")).to_have_text("new")
    expect(page.locator("[data-id='fares/77'] .number")).to_have_text("1")


def test_the_context_is_read_anew_only_while_it_is_wanted_and_seen(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.clock.install()
    page.reload()
    answered(page)
    page.clock.run_for(2500)
    api.wait_for("context", lambda seen: True)

    def look_away(hidden: str) -> None:
        page.evaluate(f"""() => {{
            Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
            document.dispatchEvent(new Event('visibilitychange'));
        }}""")

    def rests() -> bool:
        page.clock.run_for(100)
        before = len(api.seen)
        page.clock.run_for(20_000)
        return len(api.seen) == before

    page.get_by_test_id("live").click()
    expect(page.get_by_test_id("live")).to_have_attribute("aria-checked", "false")
    assert rests()
    page.get_by_test_id("live").click()
    look_away("true")
    assert rests()
    before = len(api.asked("context"))
    look_away("false")
    api.wait_for("context", lambda seen: len(api.asked("context")) > before)


def test_thumbs_and_comments_are_sent_and_can_be_changed(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    answered(page)
    up, down = page.get_by_test_id("thumb-up"), page.get_by_test_id("thumb-down")
    up.click()
    sent = api.wait_for("feedback", lambda seen: "rating" in seen.body).body
    asked = api.asked("answer")[0].body
    assert sent == {"conversation": asked["conversation"], "turn": "t1", "rating": {"scale": "thumbs", "value": 1}}
    expect(up).to_have_attribute("aria-pressed", "true")
    down.click()
    api.wait_for("feedback", lambda seen: seen.body.get("rating", {}).get("value") == 0)
    expect(up).to_have_attribute("aria-pressed", "false")
    expect(down).to_have_attribute("aria-pressed", "true")
    page.get_by_test_id("open-comment").click()
    page.get_by_test_id("comment").fill("The fare had changed.")
    page.get_by_test_id("send-comment").click()
    said = api.wait_for("feedback", lambda seen: "comment" in seen.body).body
    assert said == {"conversation": asked["conversation"], "turn": "t1", "comment": "The fare had changed."}
    expect(page.get_by_test_id("feedback-told")).to_have_text("Comment sent.")


def test_a_rating_that_is_refused_is_not_shown_as_given(open_page: Open, api: FakeApi, complaints: list[str]) -> None:
    page = open_page()
    answered(page)
    api.fail["feedback"] = (422, {"kind": "rejected", "detail": "no flow reads what is said", "hint": "start one"})
    page.get_by_test_id("thumb-up").click()
    expect(page.get_by_test_id("feedback-told")).to_have_text("no flow reads what is said start one")
    expect(page.get_by_test_id("thumb-up")).to_have_attribute("aria-pressed", "false")
    assert refusals(complaints, 422)


def test_a_conversation_goes_on_with_what_was_said_and_a_new_one_begins_without(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    answered(page)
    answered(page, "And on Sunday?")
    first, second = (seen.body for seen in api.asked("answer"))
    assert first["conversation"] == second["conversation"]
    assert first["history"] == []
    assert second["history"] == [{"role": "user", "text": QUESTION}, {"role": "assistant", "text": api.answer}]
    page.get_by_test_id("new-conversation").click()
    expect(page.get_by_test_id("asked")).to_have_count(0)
    expect(page.get_by_test_id("items").locator(".item")).to_have_count(0)
    answered(page)
    assert api.asked("answer")[-1].body["conversation"] != first["conversation"]
    assert api.asked("answer")[-1].body["history"] == []


def test_everything_can_be_done_by_the_keyboard_alone(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    expect(page.get_by_test_id("question")).to_be_focused()
    page.keyboard.type("First line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("thumb-up")).to_be_visible()
    assert api.asked("answer")[0].body["question"] == "First line\nsecond line"

    def tab_to(testid: str, key: str = "Tab") -> None:
        for _ in range(60):
            page.keyboard.press(key)
            if page.evaluate("() => document.activeElement?.dataset.testid") == testid:
                assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
        pytest.fail(f"{testid} cannot be reached by {key}")

    tab_to("thumb-up", "Shift+Tab")
    page.keyboard.press("Space")
    api.wait_for("feedback", lambda seen: seen.body["rating"]["value"] == 1)
    tab_to("show-block")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("block")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("block")).to_be_hidden()
    tab_to("skip", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page.get_by_test_id("question")).to_be_visible()


def test_escape_stops_an_answer_that_is_being_written(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    api.go_on.clear()
    ask(page)
    expect(page.get_by_test_id("answer")).to_contain_text("The economy fare")
    expect(page.get_by_test_id("send")).to_have_text("Stop")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("answer")).to_have_attribute("data-state", "stopped")
    expect(page.get_by_test_id("send")).to_have_text("Ask")


def test_what_the_model_reads_can_be_looked_at_and_copied(open_page: Open) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    answered(page)
    page.get_by_test_id("show-block").click()
    block = page.get_by_test_id("block")
    expect(block).to_contain_text('<item n="1">fares CRV204 economy')
    page.get_by_test_id("copy-block").click()
    expect(page.get_by_text("copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == block.inner_text()


def test_a_degraded_answer_says_so(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    api.degraded = "the model does not answer; this is put together from the sources"
    answered(page)
    expect(page.get_by_test_id("degraded")).to_have_text(api.degraded)
    expect(page.get_by_test_id("answer")).to_contain_text("without a model")


def test_a_refused_question_says_why_and_can_be_tried_again(
    open_page: Open, api: FakeApi, complaints: list[str]
) -> None:
    page = open_page()
    api.fail["answer"] = (412, {"kind": "stale", "detail": "tables are 9 s old", "hint": "ask for less"})
    ask(page)
    expect(page.get_by_test_id("error")).to_contain_text("tables are 9 s old")
    expect(page.get_by_test_id("error")).to_contain_text("ask for less")
    del api.fail["answer"]
    page.get_by_test_id("again").click()
    expect(page.get_by_test_id("thumb-up")).to_be_visible()
    expect(page.get_by_test_id("asked")).to_have_count(1)
    assert refusals(complaints, 412)


def test_hostile_texts_stay_texts(open_page: Open, api: FakeApi) -> None:
    texts = [
        "<img src=x onerror=alert(1)><script>alert(2)</script>",
        "[click](javascript:alert(3)) javascript:alert(4) <a href='javascript:alert(5)'>here</a>",
        "x" * 10_000,
        "\u202eright to left \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    ]
    api.found = lambda now: [
        samples.item(1, "row", texts[0], now, 1000, title=texts[0], data={texts[0]: texts[1], "long": texts[2]}),
        *(samples.item(n, "chunk", f"c{n}", now, 1000, title=text, text=text) for n, text in enumerate(texts, 2)),
    ]
    api.answer = f"{texts[0]} {texts[1]} **{texts[0]}** [1] [99] {texts[3]}"
    page = open_page()
    answered(page, texts[0])
    expect(page.get_by_test_id("asked")).to_have_text(texts[0])
    expect(page.get_by_test_id("answer")).to_contain_text(texts[1])
    expect(page.get_by_test_id("answer")).to_contain_text("[99]")
    expect(page.get_by_test_id("item-chunk").nth(2).locator(".text")).to_have_text(texts[2])
    assert page.locator("main script, main a, main img, main iframe").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.get_by_test_id("show-block").click()
    expect(page.get_by_test_id("block")).to_contain_text(texts[0])


def test_the_key_leaves_the_address_and_stays_for_the_tab(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    expect(page.get_by_test_id("question")).to_be_visible()
    assert page.url == f"{api.url}#/chat"
    assert page.evaluate("() => Object.values(sessionStorage)") == [KEY]
    assert page.evaluate("() => Object.values(localStorage)") == []
    page.reload()
    expect(page.get_by_test_id("question")).to_be_visible()


def refusals(complaints: list[str], status: int) -> bool:
    """Take out what Chromium itself writes of a refused request; whether it was there."""
    refused = [text for text in complaints if f"status of {status}" in text]
    complaints[:] = [text for text in complaints if text not in refused]
    return bool(refused)
