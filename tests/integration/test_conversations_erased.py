"""A person's conversations are erased by the command line, while feedback and lake run, and while they stand still."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stores.lake.reader import LakeReader
from tests.integration.live import Home, Running, wait_until

SETTINGS = """
[feedback]
windows = ["1d"]
idle_seconds = 1

[[feedback.streams]]
name = "chat"

[[profiles.streams]]
name = "crm"
format = "headrace"

[[profiles.tables]]
name = "customers"
table = "customers"
identifiers = { email = ["mail"] }
"""
MAIL = "anna.lopes@example.org"
HERS = (MAIL, "Anna.Lopes@Example.org", "seat by the window", "chat-of-anna")
"""What is of her alone: an address in two spellings, what she said, what her conversations are called."""
FLOWS = ("profiles", "feedback", "lake")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    return Home(tmp_path)


def append(home: Home, stream: str, *events: dict[str, Any]) -> None:
    lines = "".join(json.dumps(event) + "\n" for event in events)
    done = home.headrace("log", "append", stream, stdin=lines)
    assert done.returncode == 0, done.stderr


def conversation(id_: str, person: str, text: str, begin: int) -> list[dict[str, Any]]:
    said = {"conversation": id_, "type": "turn"}
    return [
        {**said, "id": "q", "time": begin, "role": "user", "text": text, "person": person, "topic": "seats"},
        {
            "type": "context",
            "conversation": id_,
            "id": "x",
            "time": begin + 1,
            "items": [{"source": "d", "text": text}],
        },
        {**said, "id": "a", "time": begin + 2, "role": "assistant", "text": f"about {text}", "context": "x"},
        {
            "type": "rating",
            "conversation": id_,
            "id": "r",
            "turn": "a",
            "scale": "thumbs",
            "value": 1,
            "time": begin + 3,
        },
        {"type": "comment", "conversation": id_, "id": "k", "turn": "a", "text": f"fine: {text}", "time": begin + 4},
    ]


def everything(begin: int) -> list[dict[str, Any]]:
    return [
        *conversation("chat-of-anna-1", MAIL, "a seat by the window", begin),
        *conversation("chat-of-ben-1", "ben@example.org", "a seat in the aisle", begin),
        *conversation("chat-of-anna-2", "Anna.Lopes@Example.org", "another seat by the window", begin),
    ]


def customers() -> list[dict[str, Any]]:
    said = {"table": "customers", "op": "update", "source": "crm"}
    return [
        {**said, "key": {"id": number}, "position": number, "after": {"id": number, "mail": mail}}
        for number, mail in enumerate([MAIL, "ben@example.org"], start=1)
    ]


def facts(home: Home) -> dict[str, int]:
    """Return how many facts each conversation has."""
    kinds = ("answers", "questions", "ratings", "comments", "contexts")
    parts = " UNION ALL ".join(f"SELECT conversation AS id FROM {kind}" for kind in kinds)  # noqa: S608  # ours
    answer = home.headrace("sql", "--kpis", "--json", f"SELECT id, count(*) AS count FROM ({parts}) GROUP BY id")  # noqa: S608  # ours
    return {row["id"]: row["count"] for row in map(json.loads, answer.stdout.splitlines())}


def lake(home: Home) -> dict[str, Any]:
    """Return the rows of the lake by conversation."""
    reader = LakeReader(home.path / ".headrace" / "lake")
    return {row["id"]: row for batch in reader.rows() for row in batch.to_pylist()}


def kpis(home: Home) -> list[Any]:
    """Return all values of KPIs, but for how often each has changed late."""
    query = "SELECT kpi, start, value, count FROM kpis ORDER BY ALL"
    return home.headrace("sql", "--kpis", "--json", query).stdout.splitlines()


def count(home: Home) -> dict[str, int]:
    """Return how often each of her texts stands in all files, by a search of its own."""
    files = [path for path in (home.path / ".headrace").rglob("*") if path.is_file()]
    content = b"\n".join(path.read_bytes() for path in files)
    return {name: content.count(name.encode()) for name in HERS}


def taken_in(home: Home) -> bool:
    found = facts(home)
    return found == {f"chat-of-{name}": 5 for name in ("anna-1", "anna-2", "ben-1")} and len(lake(home)) == 3


def begin(home: Home) -> int:
    """Let everything be said; return when."""
    moment = time.time_ns() // 1_000_000 - 60_000
    append(home, "crm", *customers())
    append(home, "chat", *everything(moment))
    wait_until(lambda: home.headrace("profile", "--email", MAIL).returncode == 0, "her profile")
    wait_until(lambda: taken_in(home), "all conversations")
    return moment


def running(home: Home, stack: ExitStack) -> None:
    for flow in FLOWS:
        stack.enter_context(Running(home, flow))


def check_is_gone(home: Home, said: str, before: list[Any], ben: Any) -> None:
    receipt = json.loads(said)
    assert receipt["clean"], receipt
    places = {(one["place"], one["what"]): one["count"] for one in receipt["removed"]}
    assert (places["KPI store", "facts"], places["lake", "conversations"], places["log/chat", "events"]) == (10, 2, 10)
    assert not any(text in said for text in HERS)
    assert count(home) == dict.fromkeys(HERS, 0)
    assert facts(home) == {"chat-of-ben-1": 5}
    assert lake(home) == {"chat-of-ben-1": ben}
    assert kpis(home) == before


def say_again(home: Home, moment: int) -> None:
    """Let everything be said again, and something late of hers; wait until what came after it is there."""
    late = {"type": "rating", "conversation": "chat-of-anna-1", "id": "late", "scale": "thumbs", "value": 0}
    append(home, "chat", *everything(moment), {**late, "time": moment + 9})
    after = conversation("chat-of-jo", "jo@example.org", "bags", moment)
    append(home, "chat", *after)
    wait_until(lambda: facts(home).get("chat-of-jo") == 5 and "chat-of-jo" in lake(home), "what came after it")
    assert facts(home).keys() == lake(home).keys() == {"chat-of-ben-1", "chat-of-jo"}
    assert "chat-of-anna" not in (home.path / "flow.log").read_text()


def test_her_conversations_go_while_the_flows_run(home: Home) -> None:
    with ExitStack() as stack:
        running(home, stack)
        moment = begin(home)
        before, ben = kpis(home), lake(home)["chat-of-ben-1"]
        dry = home.headrace("forget", "--email", MAIL, "--dry-run")
        assert [line.split()[-2:] for line in dry.stderr.splitlines() if " lake " in line] == [["2", "conversations"]]
        done = home.headrace("forget", "--email", MAIL, "--yes", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        check_is_gone(home, done.stdout, before, ben)
        say_again(home, moment)


def test_her_conversations_go_while_the_flows_stand_still(home: Home) -> None:
    with ExitStack() as stack:
        running(home, stack)
        moment = begin(home)
    before, ben = kpis(home), lake(home)["chat-of-ben-1"]
    done = home.headrace("forget", "--email", MAIL, "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    check_is_gone(home, done.stdout, before, ben)
    with ExitStack() as stack:
        running(home, stack)
        say_again(home, moment)
