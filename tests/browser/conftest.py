"""A browser for all tests of the page, and a page that must do nothing it should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.fake_api import KEY, FakeApi
from tests.servers.browser import browser as running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the browser that the tests of a module share.

    Not longer: while it runs there is an event loop in this thread, and other modules bring their own.
    """
    with running() as started:
        expect.set_options(timeout=10_000)
        yield started


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Return the small server, running."""
    with FakeApi() as server:
        yield server


@pytest.fixture
def complaints() -> list[str]:
    """Return what the browser has complained about: errors, violations of the policy, requests to elsewhere."""
    return []


@pytest.fixture
def open_page(browser: Browser, api: FakeApi, complaints: list[str]) -> Iterator[Open]:
    """Return a function that opens the page; at the end there must be no complaint of the browser."""
    contexts = []

    def opened(address: str = "", **given: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **given})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        watch(page, complaints)
        page.goto(address or f"{api.url}#key={KEY}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def watch(page: Page, complaints: list[str]) -> None:
    """Write down what a browser says of a page, and each request that leaves this host."""

    def asked(url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in {"blob", "data"} and address.hostname != "127.0.0.1":
            complaints.append(f"asked for {url}")

    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
    page.on("request", lambda request: asked(request.url))
