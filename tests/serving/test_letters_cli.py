"""`headrace dead-letters list`: as many as asked for, and how many more there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from events.dead_letters import DeadLetter
from events.errors import HeadraceError
from events.log import LogRecord
from serving.commands.letters import app
from stores.dead_letters import DeadLetters
from stores.settings import load


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeadLetters:
    """Return seven dead letters of one flow, which the commands find."""
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    kept = DeadLetters(load().dead_letters_path, lambda: 1_793_520_000_000)
    records = [LogRecord("chat", 0, number, 0, f"k{number}".encode(), b"{}") for number in range(7)]
    kept.write([DeadLetter("feedback", "decode", "not JSON", record) for record in records])
    return kept


def letters(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, HeadraceError):
        raise result.exception
    return result


def test_no_more_are_listed_than_asked_for_and_the_rest_is_counted(store: DeadLetters) -> None:
    said = letters("list", "--limit", "3").stdout
    assert said.count("chat/k") == 3
    assert "7 dead letters wait; 4 more of them are shown by --limit" in said
    assert letters("list", "--limit", "7").stdout.rstrip().endswith("7 dead letters wait")
    store.mark_replayed(store.list())
    said = letters("list", "--replayed", "--limit", "3").stdout
    assert "0 dead letters wait; others, already handed back, are shown by --limit" in said


@pytest.mark.parametrize("command", ["list", "replay", "discard"])
def test_a_flow_that_is_none_is_refused(command: str) -> None:
    with pytest.raises(HeadraceError, match=r"no flow 'feeedback' \(did you mean 'feedback'\?\)"):
        letters(command, "--flow", "feeedback")


def test_a_flow_without_dead_letters_and_one_of_ones_own_are_no_mistake(store: DeadLetters) -> None:
    assert "0 dead letters wait" in letters("list", "--flow", "lake").stdout
    store.write([DeadLetter("mine", "decode", "not JSON", LogRecord("other", 0, 1, 0, b"k", b"{}"))])
    assert "1 dead letters wait" in letters("list", "--flow", "mine").stdout
