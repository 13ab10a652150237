"""`headrace export finetune`: the folder that it writes, and what it says when there is nothing to write."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.json
import pytest
import typer
from typer.testing import CliRunner, Result

from events.errors import HeadraceError
from serving.commands.export import register
from tests.serving.finetune.conversations import BEGIN, MINUTE, read, said
from tests.stores.test_lake import Home

MAIL = "anna@example.org"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a folder without a lake, where the command looks for it."""
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "data")


def headrace(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["export", "finetune", *arguments], catch_exceptions=False)


def fill(home: Home) -> None:
    """Hold conversations of forty people, each about something else, and two that did not like what they read."""
    events = []
    for number in range(40):
        words = [f"{word}{number}" for word in ("alpha", "beta", "gamma", "delta", "epsilon")]
        question, answer = f"I am {MAIL}: {' '.join(words)}?", f"Then {' '.join(words[::-1])} it is."
        events += said(f"c{number}", (question, answer), person=f"p{number}", at=BEGIN + number * MINUTE)
        if number < 2:
            events += said(
                f"d{number}", (question, f"No {number}.", 1), person=f"p{number}", at=BEGIN + number * MINUTE
            )
    home.take(*events)


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, without the moment at which they were made."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    manifest = json.loads(files["manifest.json"])
    assert manifest.pop("created")
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def check(value: Any, schema: dict[str, Any]) -> None:
    """Check a value against what the schemas of exports use of JSON Schema."""
    known = {"$schema", "title", "type", "properties", "required", "additionalProperties", "items", "enum"}
    assert not set(schema) - known - {"minItems", "maxItems", "minLength"}
    if "enum" in schema:
        assert value in schema["enum"]
    elif schema["type"] == "string":
        assert isinstance(value, str)
        assert len(value) >= schema["minLength"]
    elif schema["type"] == "array":
        assert schema["minItems"] <= len(value) <= schema.get("maxItems", len(value))
        for one in value:
            check(one, schema["items"])
    else:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, one in value.items():
            check(one, schema["properties"][name])


def test_every_line_keeps_the_schema_and_is_read_by_arrow(home: Home) -> None:
    fill(home)
    headrace("--to", "out", "--validation", "0.3")
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert {file["name"] for file in manifest["files"]} >= {"chat/train.jsonl", "chat/validation.jsonl"}
    for file in manifest["files"]:
        path = Path("out") / file["name"]
        schema = json.loads(Path(f"out/schema/{path.parent.name}.json").read_text())
        for line in read(path):
            check(line, schema)
        assert pyarrow.json.read_json(path).num_rows == file["lines"] == len(read(path))
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
        assert MAIL not in path.read_text()
    lines = {file["name"]: file["lines"] for file in manifest["files"]}
    assert lines["chat/train.jsonl"] + lines["chat/validation.jsonl"] == 40
    assert sum(count for name, count in lines.items() if name.startswith("preference")) == 2
    assert manifest["scrubbed"] == {"EMAIL": 42}


def test_the_manifest_accounts_for_every_answer(home: Home) -> None:
    fill(home)
    result = headrace("--to", "out", "--format", "chat", "--json")
    manifest = json.loads(result.stdout)
    dropped = sum(sum(by.values()) for by in manifest["dropped"].values())
    assert dropped + sum(manifest["kept"]["chat"].values()) == manifest["lake"]["answers"] == 42
    assert (manifest["kept"]["first"], manifest["kept"]["last"]) == (
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:39:00.000Z",
    )
    assert "headrace" not in json.dumps(manifest["split"])


def test_the_same_lake_gives_the_same_bytes(home: Home) -> None:
    fill(home)
    for name in ("one", "two"):
        headrace("--to", name, "--validation", "0.3")
    assert content(Path("one")) == content(Path("two"))
    headrace("--to", "two", "--validation", "0.3", "--salt", "other", "--force")
    assert content(Path("one")) != content(Path("two"))


def test_an_earlier_export_is_replaced_only_when_asked_for(home: Home) -> None:
    fill(home)
    headrace("--to", "out")
    before = content(Path("out"))
    with pytest.raises(HeadraceError, match="is there already"):
        headrace("--to", "out", "--format", "chat")
    assert content(Path("out")) == before
    headrace("--to", "out", "--format", "chat", "--force")
    assert set(content(Path("out"))) == {
        "chat/train.jsonl",
        "chat/validation.jsonl",
        "manifest.json",
        "schema/chat.json",
    }
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["data", "out"]


def test_nothing_else_is_ever_replaced(home: Home) -> None:
    fill(home)
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    for more in ([], ["--force"]):
        with pytest.raises(HeadraceError):
            headrace("--to", "mine", *more)
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]
    Path("empty").mkdir()
    headrace("--to", "empty")
    assert Path("empty/manifest.json").is_file()
    with pytest.raises(HeadraceError, match="is a file"):
        headrace("--to", "mine/thesis.txt", "--force")


def test_a_dry_run_says_the_same_and_writes_nothing(home: Home) -> None:
    fill(home)
    said_before = headrace("--to", "out", "--dry-run").stdout
    assert not Path("out").exists()
    assert headrace("--to", "out").stdout == said_before.replace("would be written", "written")
    assert "40 chat lines would be written to out" in said_before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--topic", "dogs"], "42 of other topics"),
        (["--since", "2027-01-01"], "42 of conversations outside the span"),
        (["--min-rating", "7"], "--min-rating: .*less than or equal to 1"),
        (["--format", "xml"], "no format 'xml'.*chat, preference, both"),
        (["--since", "yesterday"], "'yesterday' is not a moment"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(home: Home, arguments: list[str], message: str) -> None:
    fill(home)
    with pytest.raises(HeadraceError, match=message) as raised:
        headrace("--to", "out", *arguments)
    assert "\n" not in str(raised.value)
    assert raised.value.hint
    assert not Path("out").exists()


def test_what_cannot_be_written_leaves_nothing_behind(home: Home) -> None:
    fill(home)
    Path("file").write_text("mine")
    with pytest.raises(HeadraceError, match="cannot be written: Not a directory"):
        headrace("--to", "file/out")
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["data", "file"]


def test_a_small_validation_that_stands_in_training_is_told(home: Home) -> None:
    same = [said(f"c{number}", ("May I?", "You may."), person=f"p{number}") for number in range(20)]
    home.take(*(event for events in same for event in events))
    told = headrace("--to", "out", "--validation", "0.5").stdout
    assert "none is left for validation" in told
    assert not Path("out/chat/validation.jsonl").exists()


def test_without_a_lake_the_way_to_one_is_told(home: Home) -> None:
    del home
    with pytest.raises(HeadraceError, match="headrace run lake"):
        headrace("--to", "out")


def test_the_rules_can_stand_in_the_settings(home: Home) -> None:
    fill(home)
    Path("headrace.toml").write_text(
        '[export]\nmin_rating = 0\nvalidation = 0\nscrub = []\n'
        '[[export.patterns]]\nname = "WORD"\npattern = "alpha[0-9]{1,2}"\n'
    )  # fmt: skip
    headrace("--to", "out", "--format", "chat", "--language", "en")
    lines = read(Path("out/chat/train.jsonl"))
    assert lines[0]["messages"][0]["content"] == f"I am {MAIL}: [WORD_1] beta0 gamma0 delta0 epsilon0?"
    with pytest.raises(HeadraceError, match="of other topics"):
        headrace("--to", "new", "--topic", "x")
    Path("headrace.toml").write_text('[[export.patterns]]\nname = "WORD"\npattern = "(a+)+"\n')
    with pytest.raises(HeadraceError, match=r"export\.patterns\.0.*\{1,40\}"):
        headrace("--to", "new")
