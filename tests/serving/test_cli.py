"""The command line: it teaches, it says in one line what is wrong, and it leaves nothing half done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.live import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_help_lists_every_command_with_what_it_does(home: Home) -> None:
    shown = home.headrace("--help").stdout
    for command in (
        "run",
        "replay",
        "search",
        "documents",
        "show",
        "status",
        "settings",
        "reindex",
        "log",
        "dead-letters",
    ):
        assert command in shown


@pytest.mark.parametrize("command", [["search"], ["run"], ["replay"], ["log", "append"], ["dead-letters", "replay"]])
def test_each_command_explains_itself(home: Home, command: list[str]) -> None:
    shown = home.headrace(*command, "--help")
    assert shown.returncode == 0
    assert "Usage:" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "knowledg"], "there is no flow 'knowledg'"),
        (["run", "knowledge", "--folder", "absent"], "absent"),
        (["replay", "knowledge", "absent"], "there is no folder 'absent'"),
        (["dead-letters", "replay"], "name ids, or give --all or --flow"),
        (["dead-letters", "show", "abc"], "`headrace dead-letters list`"),
        (["log", "show", "absent"], "there is no stream 'absent'"),
        (["log", "show", "../etc"], "there can be no stream of that name"),
        (["show", "docs/absent.md"], "`headrace documents` lists all"),
        (["reindex"], "there is no vector store"),
        (["search", "anything"], "Nothing found"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_remedy(home: Home, arguments: list[str], said: str) -> None:
    ended = home.headrace(*arguments)
    assert ended.returncode != 0
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_an_unknown_flag_is_refused_with_its_name(home: Home) -> None:
    ended = home.headrace("search", "x", "--kk")
    assert ended.returncode == 2
    assert "--kk" in ended.stderr


def test_reading_commands_leave_no_trace(home: Home) -> None:
    for command in ("status", "documents", "settings"):
        assert home.headrace(command).returncode == 0
    assert home.headrace("dead-letters", "list").returncode == 0
    assert home.headrace("log", "streams").returncode == 0
    assert [path.name for path in home.path.iterdir()] == ["docs"]


def test_a_wrong_line_on_standard_input_appends_nothing(home: Home) -> None:
    lines = json.dumps({"uri": "a.md", "content": "x"}) + "\nnot json\n"
    ended = home.headrace("log", "append", "documents", stdin=lines)
    assert "line 2" in ended.stderr
    assert home.headrace("log", "streams").stdout == ""


def test_appended_events_are_shown_as_they_are(home: Home) -> None:
    event = {"uri": "a.md", "content": "Ü"}
    assert (
        home.headrace("log", "append", "documents", stdin=json.dumps(event)).stdout
        == "1 events appended to documents\n"
    )
    (line,) = home.headrace("log", "show", "documents").stdout.splitlines()
    assert json.loads(line.split("\t")[4]) == event
    assert line.split("\t")[3] == "a.md"


def test_a_replayed_fixture_can_be_looked_at_and_searched(home: Home) -> None:
    streams = Path(__file__).parents[2] / "fixtures" / "streams"
    ended = home.headrace("replay", "knowledge", str(streams), "--data-dir", "replayed")
    assert ended.returncode == 0
    assert "HEADRACE_DATA_DIR=replayed HEADRACE_LOG__DIR=" in ended.stdout
    assert "headrace status" in ended.stdout
    (home.path / "headrace.toml").write_text('data_dir = "replayed"\n')
    assert home.found("luggage")
    assert "documents" in home.headrace("status", "--json").stdout
    rebuilt = home.headrace("reindex")
    assert rebuilt.returncode == 0
    assert home.found("luggage")


def test_settings_lists_every_key_with_its_value(home: Home) -> None:
    (home.path / "headrace.toml").write_text("[embedding]\nthreads = 7\n")
    shown = home.headrace("settings").stdout
    assert "embedding.threads" in shown
    assert "7" in shown
    assert "HEADRACE_EMBEDDING__THREADS" in shown
