"""The page over the real application, its stores and its rules."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import expect

from events.clock import system_clock
from serving.http.server import listen
from tests.browser.conftest import Open
from tests.browser.test_chat import answered
from tests.serving.http.world import World, fill, settings_of


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running server, with a key that may do everything."""
    path = tmp_path_factory.mktemp("world")
    fill(settings_of(path))
    world = World(path, clock=system_clock)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(world.app(), log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/#key={world.key}"
    finally:
        server.should_exit = True
        thread.join()
        world.service.close()
        listener.close()


def test_the_page_shows_what_the_real_server_knows(open_page: Open, address: str) -> None:
    page = open_page(address)
    page.get_by_test_id("who").click()
    page.get_by_test_id("person").fill("anna@posteo.example")
    page.get_by_test_id("person").press("Enter")
    expect(page.get_by_test_id("who-dialog")).to_be_hidden()
    answered(page, "Is CV 214 on time, and may I bring a bicycle?")
    expect(page.get_by_test_id("item-row").first).to_contain_text("delayed")
    expect(page.get_by_test_id("item-chunk").first).to_contain_text("40 euros")
    page.get_by_test_id("cite-1").first.click()
    page.get_by_test_id("thumb-up").click()
    expect(page.get_by_test_id("feedback-told")).to_contain_text("Thank you")
    # Asked for anew, it is read later.
    read = page.get_by_test_id("read").get_attribute("datetime") or ""
    expect(page.get_by_test_id("read")).not_to_have_attribute("datetime", read)
    expect(page.get_by_test_id("context-trouble")).to_be_hidden()
    page.get_by_test_id("nav-profile").click()
    expect(page.locator("[data-testid^=field-]").first).to_be_visible()
    expect(page.get_by_test_id("graph")).to_be_visible()
    page.get_by_test_id("nav-dashboard").click()
    expect(page.locator("[data-testid^=source-]").first).to_be_visible()
    for panel in ("sources", "kpis", "alerts", "letters"):
        expect(page.get_by_test_id(f"trouble-{panel}")).to_be_hidden()
