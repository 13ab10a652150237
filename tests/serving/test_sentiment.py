"""The commands about sentiment: they measure, they answer, and they name a bad line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from events.errors import HeadraceError, SettingsError
from serving.commands import sentiment
from tests.servers.chat import chat_server


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_EMBEDDING__BACKEND", "hashing")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    app = typer.Typer()
    sentiment.register(app)
    return app


def run(app: typer.Typer, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["sentiment", *arguments])
    if isinstance(done.exception, HeadraceError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def own(path: Path) -> Path:
    lines = [
        {"text": f"{word} {thing}", "category": category}
        for word, category in (("lovely", "good"), ("horrible", "bad"))
        for thing in ("room", "bed", "bag", "bus", "lunch", "app")
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_check_prints_how_often_it_is_right_on_lines_of_ones_own(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__CATEGORIES", '["good", "bad"]')
    monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__OWN_EXAMPLES_ONLY", "true")
    path = own(tmp_path / "own.jsonl")
    found = json.loads(run(app, "check", "--file", str(path), "--json"))
    assert found["lines"] == 12
    assert found["files"] == {str(path): found["accuracy"]}
    assert [found["categories"][name]["lines"] for name in ("good", "bad")] == [6, 6]
    right = sum(found["categories"][name]["said_to_be"][name] for name in ("good", "bad"))
    assert found["accuracy"] == right / 12
    assert len(found["wrong"]) == 12 - right
    shown = run(app, "check", "--file", str(path))
    assert f"{right} of 12 lines that it had not learnt from" in shown
    assert "said good" in shown


def test_a_bad_line_is_one_sentence_with_its_number(app: typer.Typer, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"text": "fine", "category": "satisfied"}\n{"text": "fine"\n')
    with pytest.raises(SettingsError, match="line 2"):
        run(app, "check", "--file", str(path))


def test_a_file_that_is_not_there_is_named(app: typer.Typer, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match=r"there is no file .*nofile\.jsonl") as refused:
        run(app, "check", "--file", str(tmp_path / "nofile.jsonl"))
    assert "--file" in refused.value.hint


def test_try_says_what_the_classifier_makes_of_a_text(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__CATEGORIES", '["good", "bad"]')
    monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__EXAMPLES", json.dumps([str(own(tmp_path / "own.jsonl"))]))
    assert run(app, "try", "a lovely bus").startswith("good ")
    assert json.loads(run(app, "try", "horrible bus", "--json"))["category"] == "bad"
    with pytest.raises(HeadraceError, match="nothing to judge"):
        run(app, "try", " ")


def test_try_asks_the_endpoint_where_there_is_one(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server() as server:
        monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__BACKEND", "endpoint")
        monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__URL", server.url)
        monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__MODEL", "tiny")
        monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__KEY", "k-4711")
        shown = run(app, "try", "bad refund")
    assert shown.startswith("dissatisfied  75% sure  topics: refund  by tiny@")
    assert "k-4711" not in shown
    assert server.requests[0].headers["Authorization"] == "Bearer k-4711"


def test_where_nobody_reads_comments_try_says_so(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_FEEDBACK__SENTIMENT__BACKEND", "none")
    with pytest.raises(SettingsError, match="nobody reads comments"):
        run(app, "try", "good")
