from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from dataflows.isolation import IsolatedParser
from events.documents import DocumentChange
from events.errors import RejectedError

ENOUGH_SECONDS = 60.0
# Extracting the main text of so many paragraphs takes minutes.
ENDLESS = b"<p>many words here and there</p>" * 300_000


def page(content: bytes, media_type: str = "text/html") -> DocumentChange:
    return DocumentChange("web", "a/page.html", "upsert", 1, 1, content, media_type)


def children(pid: int | None = None) -> list[psutil.Process]:
    """Return the parsers' processes, without those that other tests have left to this one."""
    found = psutil.Process(pid).children(recursive=True)
    return [child for child in found if child.pid not in _OTHERS and "dataflows.isolation" in _command(child)]


_OTHERS: set[int] = set()


@pytest.fixture(autouse=True, scope="module")
def _others() -> None:
    _OTHERS.update(child.pid for child in children())


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ENOUGH_SECONDS
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        waiting.wait(0.02)


def wait_until_busy(child: psutil.Process) -> None:
    idle = child.cpu_times().user

    def busy() -> bool:
        try:
            return child.cpu_times().user > idle + 0.1
        except psutil.NoSuchProcess:
            return True

    wait_until(busy)


@pytest.fixture
def parser() -> Iterator[IsolatedParser]:
    parser = IsolatedParser(ENOUGH_SECONDS)
    yield parser
    parser.close()
    assert children() == []


def test_a_page_is_parsed_in_a_child_and_the_child_is_kept(parser: IsolatedParser) -> None:
    assert children() == []
    parsed = parser(page(b"<html><head><title>Bags</title></head><body><p>One bag is free.</p></body></html>"))
    assert parsed.title == "Bags"
    assert "One bag is free." in parsed.text
    (first,) = children()
    parser(page(b"<p>Two bags are not.</p>"))
    assert children() == [first]


def test_text_needs_no_child(parser: IsolatedParser) -> None:
    assert parser(page(b"# Bags\n\nOne.", "text/markdown")).title == "Bags"
    assert parser(page(b"Bags", "text/plain; charset=utf-8")).text == "Bags"
    assert children() == []


def test_a_document_that_takes_too_long_is_rejected_and_the_next_one_is_parsed(parser: IsolatedParser) -> None:
    parser(page(b"<p>so that the child is there</p>"))
    (before,) = children()
    parser.seconds = 0.2
    with pytest.raises(RejectedError, match=r"took longer than 0\.2 s") as caught:
        parser(page(ENDLESS))
    assert "knowledge.parse_seconds" in caught.value.hint
    assert not before.is_running()
    parser.seconds = ENOUGH_SECONDS
    assert "Still here." in parser(page(b"<p>Still here.</p>")).text


def test_a_rejection_of_the_child_arrives_with_its_words(parser: IsolatedParser) -> None:
    with pytest.raises(RejectedError) as caught:
        parser(page(b"not a pdf", "application/pdf"))
    assert caught.value.detail.startswith("not a readable PDF")
    assert caught.value.hint
    with pytest.raises(RejectedError, match="nested too deeply"):
        parser(page(b"<div>" * 100_000 + b"text" + b"</div>" * 100_000))
    assert len(children()) == 1


def test_a_child_that_was_killed_while_idle_costs_no_document(parser: IsolatedParser) -> None:
    parser(page(b"<p>first</p>"))
    (child,) = children()
    child.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert "second" in parser(page(b"<p>second</p>")).text


def test_a_document_that_fills_the_memory_is_rejected() -> None:
    pytest.importorskip("resource")
    parser = IsolatedParser(ENOUGH_SECONDS, megabytes=600)
    try:
        with pytest.raises(RejectedError, match="memory"):
            parser(page(b"<p>" + b"word " * 20_000_000))
        assert "after" in parser(page(b"<p>after</p>")).text
    finally:
        parser.close()


def test_threads_may_share_a_parser(parser: IsolatedParser) -> None:
    pages = [page(b"<h1>Page %d</h1><p>It has its own words, as many as others.</p>" % number) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert [parsed.title for parsed in pool.map(parser, pages)] == [f"Page {number}" for number in range(40)]
    assert len(children()) == 1


def test_closing_ends_the_child_and_leaves_nothing_behind() -> None:
    parser = IsolatedParser(ENOUGH_SECONDS)
    parser.close()
    parser(page(b"<p>text</p>"))
    (child,) = children()
    parser.close()
    parser.close()
    # A zombie would still be listed.
    assert not psutil.pid_exists(child.pid)
    assert "again" in parser(page(b"<p>again</p>")).text
    parser.close()


def test_a_parser_that_nobody_holds_takes_its_child_along() -> None:
    parser = IsolatedParser(ENOUGH_SECONDS)
    parser(page(b"<p>text</p>"))
    (child,) = children()
    del parser
    wait_until(lambda: not psutil.pid_exists(child.pid))


PARENT = textwrap.dedent("""
    import sys
    from dataflows.isolation import IsolatedParser
    from events.documents import DocumentChange

    def page(content):
        return DocumentChange("web", "page.html", "upsert", 1, 1, content, "text/html")

    parser = IsolatedParser(float(sys.argv[1]))
    parser(page(b"<p>text</p>"))
    print("ready", flush=True)
    if sys.argv[2] == "busy":
        parser(page(b"<p>many words here and there</p>" * 300_000))
    sys.stdin.read()
""")


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_child_whose_parent_is_killed_ends_by_itself(state: str) -> None:
    seconds = ENOUGH_SECONDS if state == "idle" else 3
    parent = _parent(seconds, state)
    (child,) = children(parent.pid)
    if state == "busy":
        wait_until_busy(child)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_ctrl_c_ends_parent_and_child_together() -> None:
    parent = _parent(ENOUGH_SECONDS, "busy")
    (child,) = children(parent.pid)
    wait_until_busy(child)
    os.killpg(parent.pid, signal.SIGINT)
    parent.communicate(timeout=ENOUGH_SECONDS)
    assert parent.returncode != 0
    assert not psutil.pid_exists(child.pid)


def _parent(seconds: float, state: str) -> subprocess.Popen[str]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(seconds), state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    return parent
