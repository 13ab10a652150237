"""`headrace lake`: what it tells, keeps up and exports."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from events.errors import HeadraceError
from events.feedback import Point
from serving.commands.lake import register
from tests.dataflows.lake_content import expected, story
from tests.stores.test_lake import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a lake of some conversations, which the commands find."""
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path)


def headrace(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["lake", *arguments])
    if isinstance(result.exception, HeadraceError):
        raise result.exception
    return result


def fill(home: Home) -> int:
    events = [event for event in story(4, 40) if not isinstance(event, Point)]
    home.take(*events, offset=9)
    return len(expected(events))


def test_the_status_of_no_lake_is_that_there_is_nothing(home: Home) -> None:
    del home
    result = headrace("status")
    assert result.exit_code == 0
    assert "0 conversations" in result.stdout
    assert "written   never" in result.stdout


def test_the_status_tells_size_and_freshness(home: Home) -> None:
    count = fill(home)
    assert f"{count} conversations" in headrace("status").stdout
    found = json.loads(headrace("status", "--json").stdout)
    assert (found["rows"], found["kept"], found["dirty"]) == (count, count, 0)
    assert [(mark["stream"], mark["partition"], mark["offset"]) for mark in found["applied"]] == [("chat", "0", 9)]


def test_an_export_says_how_many_it_has_written(home: Home, tmp_path: Path) -> None:
    count = fill(home)
    result = headrace("export", "--to", str(tmp_path / "all.parquet"))
    assert f"{count} conversations written" in result.stdout
    assert pq.read_table(tmp_path / "all.parquet").num_rows == count
    headrace("export", "--to", str(tmp_path / "day.json"), "--format", "json", "--until", "2026-01-02")
    days = {json.loads(line)["day"] for line in (tmp_path / "day.json").read_text().splitlines()}
    assert days == {"2026-01-01"}


def test_what_cannot_be_is_said_in_one_line(home: Home, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match="there is no lake"):
        headrace("compact")
    fill(home)
    with pytest.raises(HeadraceError, match="there is no format"):
        headrace("export", "--to", str(tmp_path / "x"), "--format", "xml")
    intake = home.open()
    for upkeep in ("compact", "vacuum"):
        with pytest.raises(HeadraceError, match="has a writer already") as refused:
            headrace(upkeep)
        assert "stop that flow first" in refused.value.hint
    intake.close()


def test_an_export_that_cannot_be_meant_writes_nothing(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "all.parquet"
    with pytest.raises(HeadraceError, match="there is no lake"):
        headrace("export", "--to", str(target))
    fill(home)
    with pytest.raises(HeadraceError, match="nothing is from 2026-01-02 on and before 2026-01-01"):
        headrace("export", "--to", str(target), "--since", "2026-01-02", "--until", "2026-01-01")
    with pytest.raises(HeadraceError, match=r"name it c3\.parquet; other formats are json, avro"):
        headrace("export", "--to", str(tmp_path / "c3.csv"))
    with pytest.raises(HeadraceError, match="or use --format json"):
        headrace("export", "--to", str(tmp_path / "c3.jsonl"))
    assert not list(tmp_path.glob("*.parquet"))
    assert not list(tmp_path.glob("c3*"))


def test_upkeep_goes_while_the_flow_stands_still(home: Home) -> None:
    fill(home)
    assert "0 files fewer" in headrace("compact").stdout
    assert "0 files removed" in headrace("vacuum").stdout
