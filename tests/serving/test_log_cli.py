"""`headrace log append`: what is documented goes in, with the key that keeps it in order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from events.errors import HeadraceError
from serving.commands.log import app
from stores.log.files import FileLog

README = Path(__file__).parents[2] / "operators" / "feedback" / "README.md"
EXAMPLES = re.findall(r"```json\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileLog:
    """Return the log that the commands write."""
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return FileLog(tmp_path / "log")


def append(line: str, *options: str) -> Result:
    result = CliRunner().invoke(app, ["append", "feedback", *options], input=line)
    if isinstance(result.exception, HeadraceError):
        raise result.exception
    return result


def appended(log: FileLog) -> list[tuple[bytes | None, object]]:
    found = [one for number in log.partitions("feedback") for one in log.read("feedback", number, 0, 100)[0]]
    return [(one.key, json.loads(one.value or b"null")) for one in found]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_feedback_are_appended_with_their_conversation_or_exchange_as_key(
    log: FileLog, example: str
) -> None:
    event = json.loads(example)
    options = ["--no-key"] if "resourceSpans" in event else []
    append(json.dumps(event), *options)
    key = event.get("conversation") or event.get("traceId") or event.get("id") or event.get("name")
    assert appended(log) == [(None if options else key.encode(), event)]


def test_an_event_without_a_key_is_refused_with_what_to_do(log: FileLog) -> None:
    with pytest.raises(HeadraceError) as refused:
        append(json.dumps({"resourceSpans": []}))
    assert "line 1" in refused.value.detail
    assert "--no-key" in refused.value.hint
    assert log.streams() == []


def test_what_has_no_key_must_be_an_event_all_the_same() -> None:
    assert "2 events" in append('[{"type": "turn"}]\n{"resourceSpans": []}', "--no-key").stdout
    with pytest.raises(HeadraceError, match="line 2 is not a JSON object; nothing was appended"):
        append('{"a": 1}\n"a"', "--no-key")


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(HeadraceError, match="do not go together"):
        append("{}", "--no-key", "--records")
