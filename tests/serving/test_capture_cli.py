"""What the command line says of captures that stand still, of what the log refused, and of reading anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from events.dead_letters import DeadLetter
from events.log import LogRecord
from serving.commands import capture, letters
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


def test_a_record_that_the_log_refused_goes_where_it_was_to_go_when_it_is_replayed(home: Path) -> None:
    record = LogRecord("orders", 0, 77, 5, b"k", b"v", {"kinesis-shard": "s"})
    DeadLetters(home / "dead_letters.sqlite3", lambda: 9).write([DeadLetter("capture", "append", "too long", record)])
    shown = CliRunner().invoke(letters.app, ["replay", "--all"])
    assert "1 dead letters handed back" in shown.output
    log = FileLog(home / "log")
    assert log.streams() == ["orders"]
    [found] = [record for part in log.partitions("orders") for record in log.read("orders", part, 0, 9)[0]]
    assert (found.key, found.value, found.headers) == (b"k", b"v", {"kinesis-shard": "s"})
