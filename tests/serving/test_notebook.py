"""The notebook over KPIs runs as a script and as a page, on a store with KPIs and on none."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from events.alerts import Alert
from events.kpis import Frontier, KpiValue
from stores.kpis.reader import KpiReader
from tests.stores.kpi_samples import BEGIN, MINUTE, Store, answer, new

NOTEBOOK = Path(__file__).parents[2] / "docs" / "kpis.py"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hold ten minutes of a KPI by topic, and an alert, where the notebook looks for them."""
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path)
    values = [
        KpiValue("bad_share", "1m", BEGIN + at * MINUTE, BEGIN + (at + 1) * MINUTE, (("topic", topic),), share, 10)
        for at in range(10)
        for topic, share in (("bags <b>", at / 10), ("fares", 0.0))
    ]
    alert = Alert(
        "r/1",
        "anomaly",
        "x",
        "it is bad",
        BEGIN,
        "critical",
        since=BEGIN,
        rule="r",
        rows="SELECT count(*) FROM answers",
    )
    store.commit(*values, new(answer("c1", BEGIN)), Frontier(BEGIN + 9 * MINUTE, -1), offset=5)
    store.commit(alert)
    store.intake.close()
    return tmp_path


def run() -> dict[str, Any]:
    """Run the notebook in this process; return what its cells have made."""
    spec = importlib.util.spec_from_file_location("kpis_notebook", NOTEBOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, made = module.app.run()
    return dict(made)


def test_it_shows_what_the_store_has(home: Path) -> None:
    made = run()
    stored = KpiReader(home / "kpis.duckdb").values("bad_share", window="1m", grouping=("topic",))
    assert [(row["group"], row["value"]) for row in made["rows"]] == [
        (dict(one.group)["topic"], one.value) for one in stored
    ]
    assert [row["what"] for row in made["alerts"]] == ["it is bad"]
    assert made["answer"].rows[0][1] == 1


def test_its_chart_has_a_point_for_each_value_and_a_line_for_each_group(home: Path) -> None:
    del home
    made = run()
    drawn = ET.fromstring(made["chart"](made["rows"]))  # noqa: S314  # drawn a line above
    assert len(drawn.findall(f"{SVG}polyline")) == 2
    assert len(drawn.findall(f"{SVG}circle")) == 20
    assert [text.text for text in drawn.findall(f"{SVG}text")][-2:] == ["■ bags <b>", "■ fares"]
    ET.fromstring(made["chart"]([]))  # noqa: S314  # as above


@pytest.mark.parametrize("filled", [True, False])
def test_it_becomes_a_page(filled: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if filled:
        request.getfixturevalue("home")
    page = tmp_path / "kpis.html"
    environment = {**os.environ, "HEADRACE_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "marimo", "--quiet", "export", "html", str(NOTEBOOK), "-o", str(page)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ("it is bad" in page.read_text()) is filled
    assert ("There are no KPIs" in page.read_text()) is not filled or filled
