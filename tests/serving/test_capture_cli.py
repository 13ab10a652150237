"""What the command line says of captures that stand still, of what the log refused, and of reading anew."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from events.clock import system_clock
from events.dead_letters import DeadLetter
from events.log import LogRecord
from serving.commands import capture, letters
from serving.runs import lock_path
from stores.capture.places import Place, Places
from stores.dead_letters import DeadLetters
from stores.log.files import FileLog


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings = '[[capture.kinesis]]\nname = "orders"\nkinesis_stream = "orders"\n'
    (tmp_path / "headrace.toml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_status_tells_why_a_capture_stands_still_until_it_goes_on(home: Path) -> None:
    places = Places(home / "capture.sqlite3")
    for said in ("access is denied", ""):
        places.note_fault("orders", said)
        shown = CliRunner().invoke(capture.app, ["status", "--json"])
        assert json.loads(shown.output).get("error", "") == said


def test_reading_a_stream_anew_says_that_what_was_deleted_unseen_stays(home: Path) -> None:
    Places(home / "capture.sqlite3").write({"orders": Place({"stream": "orders@1"}, None, True, 1, 1)})
    shown = CliRunner().invoke(capture.app, ["reset", "orders", "--yes"])
    assert "what was deleted there and has not been seen stays" in shown.output
    assert Places(home / "capture.sqlite3").read() == {}


@pytest.mark.parametrize("command", ["drop", "reset"])
def test_the_place_of_a_capture_is_not_given_up_while_the_flow_would_write_it_again(home: Path, command: str) -> None:
    places = Places(home / "capture.sqlite3")
    places.write({"orders": Place({"stream": "orders@1"}, None, True, 1, 1)})
    with lock_path("capture", home).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shown = CliRunner().invoke(capture.app, [command, "orders", "--yes"])
        assert "the flow runs" in str(shown.exception)
        assert set(places.read()) == {"orders"}
    places.note_fault("orders", "the stream no longer has what comes next")
    assert CliRunner().invoke(capture.app, [command, "orders", "--yes"]).exit_code == 0
    assert (places.read(), places.faults()) == ({}, {})


def test_ending_a_capture_that_never_ran_says_so(home: Path) -> None:
    shown = CliRunner().invoke(capture.app, ["drop", "orders", "--yes"])
    assert "nothing to end" in shown.output


def test_a_capture_is_behind_by_the_age_of_what_it_is_known_to_be_whole_of(home: Path) -> None:
    now = system_clock()
    known = Place(
        {}, now - 500_000, True, now - 90_000, 7, ((now - 200_000, now - 210_000), (now - 90_000, now - 95_000))
    )
    Places(home / "capture.sqlite3").write({"orders": known})
    state = json.loads(CliRunner().invoke(capture.app, ["status", "--json"]).output)
    assert 95_000 <= state["behind_ms"] < 95_000 + 60_000
    assert not state["running"]
    with lock_path("capture", home).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert json.loads(CliRunner().invoke(capture.app, ["status", "--json"]).output)["running"]


@pytest.mark.parametrize("command", ["check", "setup"])
def test_where_nothing_is_captured_the_commands_say_so(home: Path, command: str) -> None:
    (home.parent / "headrace.toml").write_text("")
    shown = CliRunner().invoke(capture.app, [command])
    assert "nothing is captured: headrace.toml has no [[capture.…]]" in str(shown.exception)
    assert shown.exit_code == 1
    assert "headrace.toml has no [[capture.…]]" in CliRunner().invoke(capture.app, ["status"]).output


@pytest.fixture
def away(home: Path) -> Path:
    settings = (
        '[[capture.postgres]]\nname = "shop"\ndsn = "host=127.0.0.1 port=1 user=x dbname=x"\ntables = ["public.t"]\n'
    )
    (home.parent / "headrace.toml").write_text(settings)
    now = system_clock()
    Places(home / "capture.sqlite3").write({"shop": Place({"phase": "stream"}, now, True, now, 7)})
    return home


def test_what_is_wrong_with_a_capture_stands_in_one_line_below_the_table(
    away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(capture.app, ["status"])
    lines = shown.output.splitlines()
    assert shown.exit_code == 1
    assert len(lines) == 3
    assert lines[1].rstrip().endswith("not running")
    assert lines[2].startswith("shop: PostgreSQL cannot be reached")


def test_a_capture_whose_server_is_gone_can_be_forgotten_and_says_what_stays_there(away: Path) -> None:
    refused = CliRunner().invoke(capture.app, ["drop", "shop", "--yes"])
    assert "headrace capture drop shop --forget" in str(refused.exception)
    places = Places(away / "capture.sqlite3")
    assert places.read()["shop"].place == {"phase": "stream"}
    shown = CliRunner().invoke(capture.app, ["drop", "shop", "--yes", "--forget"])
    assert "SELECT pg_drop_replication_slot('headrace_shop')" in shown.output
    assert places.read()["shop"].place == {"phase": "anew"}


def test_a_record_that_the_log_refused_goes_where_it_was_to_go_when_it_is_replayed(home: Path) -> None:
    record = LogRecord("orders", 0, 77, 5, b"k", b"v", {"kinesis-shard": "s"})
    DeadLetters(home / "dead_letters.sqlite3", lambda: 9).write([DeadLetter("capture", "append", "too long", record)])
    shown = CliRunner().invoke(letters.app, ["replay", "--all"])
    assert "1 dead letters handed back" in shown.output
    log = FileLog(home / "log")
    assert log.streams() == ["orders"]
    [found] = [record for part in log.partitions("orders") for record in log.read("orders", part, 0, 9)[0]]
    assert (found.key, found.value, found.headers) == (b"k", b"v", {"kinesis-shard": "s"})
