"""Who asks: persons, their tokens, and their profile."""

from __future__ import annotations

import base64
import json
import time

from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.conftest import Open
from tests.browser.fake_api import FakeApi, token
from tests.browser.test_chat import answered, refusals

MAIL = "lukasz@poczta.example"


def sign(page: Page, label: str = MAIL) -> None:
    page.get_by_test_id("who").click()
    page.get_by_test_id("person").fill(label)
    page.get_by_test_id("person").press("Enter")
    expect(page.get_by_test_id("who-dialog")).to_be_hidden()


def test_a_person_is_asked_for_with_a_token_that_stays_in_memory(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    answered(page)
    assert api.asked("answer")[0].person == ""
    sign(page)
    assert api.asked("tokens")[0].body == {"person": MAIL}
    expect(page.get_by_test_id("who")).to_have_text(f"asks: {MAIL}")
    # What nobody was told is not carried on to somebody.
    expect(page.get_by_test_id("asked")).to_have_count(0)
    answered(page)
    asked = api.asked("answer")
    assert json.loads(base64.b64decode(asked[1].person.split(".")[1] + "=="))["sub"] == samples.PERSON
    assert asked[1].body["conversation"] != asked[0].body["conversation"]
    kept = page.evaluate("() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    assert asked[1].person not in kept
    assert MAIL not in kept


def test_nobody_can_be_chosen_again(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    sign(page)
    page.get_by_test_id("who").click()
    page.get_by_test_id("nobody").click()
    expect(page.get_by_test_id("who")).to_have_text("asks: nobody")
    answered(page)
    assert api.asked("answer")[0].person == ""


def test_a_token_is_renewed_before_it_ends(open_page: Open, api: FakeApi) -> None:
    api.token_seconds = 2.5
    page = open_page()
    sign(page)
    api.wait_for("tokens", lambda seen: len(api.asked("tokens")) > 1)
    expect(page.get_by_test_id("who")).to_have_text(f"asks: {MAIL}")


def test_a_key_that_may_not_sign_takes_a_token_of_the_application(
    open_page: Open, api: FakeApi, complaints: list[str]
) -> None:
    api.fail["tokens"] = (
        403,
        {"kind": "forbidden", "detail": "the key lacks the scope 'tokens'", "hint": "make one"},
    )
    page = open_page()
    page.get_by_test_id("who").click()
    page.get_by_test_id("person").fill(MAIL)
    page.get_by_test_id("sign").click()
    expect(page.get_by_test_id("who-trouble")).to_contain_text("lacks the scope 'tokens'")
    page.get_by_test_id("token").fill("not a token")
    page.get_by_test_id("use-token").click()
    expect(page.get_by_test_id("who-trouble")).to_contain_text("This is not a token.")
    given = token(samples.PERSON, time.time() + 600)
    page.get_by_test_id("token").fill(given)
    page.get_by_test_id("use-token").click()
    expect(page.get_by_test_id("who-dialog")).to_be_hidden()
    answered(page)
    assert api.asked("answer")[0].person == given
    assert refusals(complaints, 403)


def test_a_token_that_is_over_is_asked_for_again(open_page: Open, api: FakeApi, complaints: list[str]) -> None:
    page = open_page()
    sign(page)
    api.fail["profiles/me"] = (401, {"kind": "unknown_caller", "detail": "the token is over", "hint": ""})
    api.fail["tokens"] = (404, {"kind": "nobody", "detail": "there is nobody of that address", "hint": ""})
    page.get_by_test_id("nav-profile").click()
    expect(page.get_by_test_id("who-trouble")).to_contain_text(f"The time for {MAIL} is over")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    expect(page.get_by_test_id("who")).to_have_text("asks: nobody")
    assert refusals(complaints, 401)
    assert refusals(complaints, 404)


def test_without_a_person_the_profile_asks_who_it_is(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    page.get_by_test_id("nav-profile").click()
    page.get_by_test_id("sign-in").get_by_role("button").click()
    expect(page.get_by_test_id("person")).to_be_focused()
    assert api.asked("profiles/me") == []


def test_the_profile_says_where_each_value_is_from(open_page: Open, api: FakeApi) -> None:
    page = open_page()
    sign(page)
    page.get_by_test_id("nav-profile").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Łukasz Wiśniewski")
    name = page.get_by_test_id("field-name")
    expect(name).to_contain_text("customers 4149 crm")
    expect(name).to_contain_text("110 d ago")
    name.locator("summary").click()
    expect(name).to_contain_text("WIŚNIEWSKI, Łukasz")
    expect(page.get_by_test_id("field-marketing")).to_contain_text("no")
    bookings = page.get_by_test_id("activity-bookings")
    expect(bookings).to_have_count(3)
    expect(bookings.first).to_contain_text("open")
    expect(bookings.last).to_contain_text("over")
    expect(page.locator(".identifiers")).to_contain_text("+48512303727")
    graph = page.get_by_test_id("graph")
    expect(graph).to_have_js_property("naturalWidth", 620)
    assert (graph.get_attribute("src") or "").startswith("blob:")
    # A change at the source is seen, and what was unfolded stays so.
    api.city = "Gdańsk"
    expect(page.get_by_test_id("field-city")).to_contain_text("Gdańsk")
    expect(page.get_by_test_id("field-city").locator("del")).to_have_text("Poznań")
    expect(name).to_contain_text("WIŚNIEWSKI, Łukasz")
    assert name.locator("details").get_attribute("open") is not None
