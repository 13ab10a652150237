"""How the page looks: light and dark, wide and narrow, with and without motion."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.fake_api import FakeApi
from tests.browser.test_chat import answered
from tests.browser.test_person import sign

VIEWS = {"chat": "items", "dashboard": "kpi-answers", "profile": "field-name"}


def ground(page: Page) -> str:
    return str(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))


def test_colours_follow_the_device_until_they_are_chosen(open_page: Open) -> None:
    light, dark = (ground(open_page(color_scheme=scheme)) for scheme in ("light", "dark"))
    assert light != dark
    page = open_page(color_scheme="light")
    button = page.get_by_test_id("theme")
    button.click()
    assert ground(page) == light
    button.click()
    expect(button).to_have_attribute("aria-label", "Colours: dark")
    assert ground(page) == dark
    page.reload()
    assert ground(page) == dark
    button.click()
    assert ground(page) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    sign(page)
    answered(page)
    low: dict[str, float] = {}
    for view, testid in VIEWS.items():
        page.get_by_test_id(f"nav-{view}").click()
        expect(page.get_by_test_id(testid)).to_be_visible()
        low |= {f"{view}: {text}": ratio for text, ratio in page.evaluate(_CONTRASTS) if ratio < 4.5}
    assert low == {}


def test_nothing_is_wider_than_a_phone(open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    sign(page)
    answered(page)
    for view, testid in VIEWS.items():
        page.get_by_test_id(f"nav-{view}").click()
        expect(page.get_by_test_id(testid)).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 360, view
    page.get_by_test_id("nav-chat").click()
    # The context stands below the conversation.
    answer, items = page.get_by_test_id("answer").bounding_box(), page.get_by_test_id("items").bounding_box()
    assert answer is not None
    assert items is not None
    assert items["y"] > answer["y"] + answer["height"]


def test_nothing_moves_for_who_wants_no_motion(open_page: Open, api: FakeApi) -> None:
    page = open_page(reduced_motion="reduce")
    answered(page)
    api.set_price("159.50")
    price = page.locator("[data-column=price]").first
    expect(price).to_contain_text("159.50")
    assert page.evaluate("() => document.getAnimations().length") == 0


def test_every_control_has_a_name_and_every_view_its_landmarks(open_page: Open) -> None:
    page = open_page()
    sign(page)
    answered(page)
    for view, testid in VIEWS.items():
        page.get_by_test_id(f"nav-{view}").click()
        expect(page.get_by_test_id(testid)).to_be_visible()
        expect(page.get_by_test_id(f"nav-{view}")).to_have_attribute("aria-current", "page")
        assert page.evaluate(_NAMELESS) == []
        expect(page.get_by_role("main")).to_have_count(1)
        expect(page.get_by_role("banner")).to_have_count(1)
        assert page.locator("h1").count() == 1 or view == "chat"


_NAMELESS = """() => [...document.querySelectorAll('button, a, input, select, textarea, meter, [role=img]')]
    .filter((node) => node.checkVisibility())
    .filter((node) => !(node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.length))
    .map((node) => node.outerHTML)"""

# WCAG 2.2, contrast ratio of relative luminances, of the texts that stand on a plain ground.
_CONTRASTS = """() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (colour) => rgb(colour).slice(0, 3).map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
    const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (rgb(colour)[3] === 255) return colour;
        }
        return 'white';
    };
    const found = [];
    for (const node of document.querySelectorAll('main *, header *')) {
        const texts = [...node.childNodes].filter((child) => child.nodeType === 3);
        const text = texts.map((child) => child.data).join('').trim();
        if (!text || !node.checkVisibility() || node.closest('.unseen, .gone, svg')) continue;
        const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
        found.push([`${text.slice(0, 40)} (${node.className})`, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
    }
    return found;
}"""
