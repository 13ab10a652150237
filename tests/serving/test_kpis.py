"""KPIs and alerts on the command line: values with how final they are, groups, sparklines, and what to do if empty."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from events.alerts import Alert
from events.errors import HeadraceError
from events.feedback import Point
from events.kpis import Frontier, KpiValue
from serving.commands import kpis, status, tables
from serving.kpis import Kpis, interruptible, written
from serving.sparklines import sparkline
from stores.kpi_settings import KPIS
from stores.kpis.file import open_for_reading
from stores.settings import load
from tests.dataflows.lake_content import expected, story
from tests.stores.kpi_samples import BEGIN, MINUTE, Store, answer, fact, new
from tests.stores.test_lake import Home

app = typer.Typer()
for module in (kpis, tables, status):
    module.register(app)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7.0, None, 0.0], "█·▁"),
        ([3, 3, 3], "▄▄▄"),
        ([0, 0], "▁▁"),
        ([None, None], "··"),
        ([], ""),
        ([float("nan"), 1, float("inf"), 2], "·▁·█"),
        ([-1.7e308, 1.7e308], "▁█"),
    ],
)
def test_a_sparkline_has_a_sign_for_each_value(values: list[float | None], wanted: str) -> None:
    assert sparkline(values) == wanted


def test_a_sparkline_shows_the_last_values_that_fit() -> None:
    assert sparkline([9, 1, 2, 3], 3) == "▁▅█"
    assert sparkline([9, 1], 0) == ""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Hold ten minutes of two KPIs by topic, one minute missing, a value corrected, and an alert that stands."""
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    store = Store(tmp_path)
    values = []
    for minute in (0, 1, 2, 3, 5, 6, 7, 8, 9):
        start = BEGIN + minute * MINUTE
        for topic, share in (("baggage", 0.1 + 0.08 * minute), ("fares [b]x[/b]\x1b[31m", 0.05)):
            group = (("topic", topic),)
            values.append(
                KpiValue("bad_share", "1m", start, start + MINUTE, group, share, 10 + minute, int(minute == 2))
            )
        values.append(KpiValue("bad_share", "1m", start, start + MINUTE, (), 0.1, 20 + minute))
        values.append(KpiValue("latency_p95", "1m", start, start + MINUTE, (), 1234.5, 20))
        values.append(KpiValue("complaints", "1m", start, start + MINUTE, (), 1.0, 1, examples=("c1/k",)))
    values.append(KpiValue("bad_share", "1h", BEGIN, BEGIN + 60 * MINUTE, (), 0.2, 200))
    alert = Alert(
        "answers_turned_bad/1", "anomaly", "x", "it is bad\x1b[2J", BEGIN, "critical", since=BEGIN,
        rule="answers_turned_bad", documents=("company/a.md",), rows="SELECT 1",
    )  # fmt: skip
    comment = fact("comments", "c1/k", BEGIN, text="never\x07 again")
    store.commit(*values, new(comment), new(answer("c1", BEGIN)), Frontier(BEGIN + 9 * MINUTE, -1), offset=5)
    store.commit(alert)
    store.intake.close()
    return store


def run(*arguments: str) -> list[str]:
    ended = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    for_people = [line for line in ended.stdout.splitlines() if not line.startswith("{")]
    assert max(map(len, for_people), default=0) <= 80
    assert "\x1b" not in ended.stdout
    assert "\x07" not in ended.stdout
    return ended.stdout.splitlines()


def lines(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json")]


def test_the_overview_has_each_kpi_with_its_newest_value_and_its_past(home: Store) -> None:
    shown = {line.split()[0]: line for line in run("kpi")[1:]}
    assert list(shown) == [kpi.name for kpi in KPIS]
    assert "1,234 ms" in shown["latency_p95"]
    assert "10.0 %" in shown["bad_share"]
    assert "▄▄▄▄·▄▄▄▄▄" in shown["bad_share"]
    assert shown["bad_share"].split()[-1] == "early"
    assert shown["users"].split() == ["users", "1m", "-", "no", "values"]
    assert [line["kpi"] for line in lines("kpi")] == ["complaints", "latency_p95", "bad_share"]


def test_the_overview_opens_the_store_once(home: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def counted(path: Path, seconds: float) -> Any:
        opened.append(path)
        return open_for_reading(path, seconds)

    monkeypatch.setattr("stores.kpis.reader.open_for_reading", counted)
    assert len([line for line in Kpis.of(home.settings).overview() if line.series]) == 3
    assert len(opened) == 1


def test_the_overview_has_the_same_values_as_each_kpi_by_itself(home: Store) -> None:
    kpis_ = Kpis.of(home.settings)
    for line in kpis_.overview(last=5):
        if line.series is not None:
            assert line.series == kpis_.series(line.kpi, last=5)[0]
            assert line.window == "1m"


def test_of_a_kpi_without_a_total_the_overview_tells_how_many_groups_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    store = Store(tmp_path)
    begin = BEGIN + 9 * MINUTE
    store.commit(
        *(
            KpiValue(
                "context_lag", "1m", begin, begin + MINUTE, (("source", f"source-{number}"),), 7.0, 5 + (number == 4)
            )
            for number in range(9)
        )
    )
    store.intake.close()
    (line,) = [line for line in run("kpi") if line.startswith("context_lag")]
    assert line.split()[:5] == ["context_lag", "source-4", "(9", "groups)", "1m"]


@pytest.mark.parametrize(("width", "heads"), [(200, 4), (66, 3), (50, 2), (44, 2), (32, 2)])
def test_nothing_of_the_overview_is_cut_however_narrow_the_terminal(
    home: Store, monkeypatch: pytest.MonkeyPatch, width: int, heads: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = run("kpi")
    assert len(shown[0].split()) == heads
    assert len(shown) == len(KPIS) + 1
    assert max(map(len, shown)) <= width
    assert not any("…" in line for line in shown)


def test_what_duckdb_makes_of_an_interrupt_ends_a_command_as_one() -> None:
    for said, wanted in (("Query interrupted", KeyboardInterrupt), ("another", RuntimeError)):
        with pytest.raises(wanted), interruptible():
            raise RuntimeError(said)


def test_a_kpi_by_topic_is_a_line_for_each_group(home: Store) -> None:
    shown = run("kpi", "bad_share", "--by", "topic")
    assert "bad_share in windows of 1m, the newest of 2026-01-01 00:09:00 UTC" in shown[0]
    (baggage,) = [line for line in shown if line.startswith("baggage")]
    assert "82.0 % ▲" in baggage
    assert "▁▂▃▃·▅▆▆▇█" in baggage
    assert any("fares [b]x[/b]\ufffd[31m" in line for line in shown)


def test_a_kpi_in_a_group_is_a_line_for_each_window_with_how_final_it_is(home: Store) -> None:
    shown = run("kpi", "bad_share", "--where", "topic=baggage", "--last", "10")
    stages = [line.split()[-1] for line in shown if line.startswith("2026")]
    assert stages == ["final", "final", "corrected", "final", "final", "final", "final", "early", "early"]
    (corrected,) = [line.split() for line in shown if "corrected" in line]
    assert corrected == ["2026-01-01", "00:02:00", "baggage", "26.0", "%", "12", "1", "corrected"]


def test_values_are_json_for_other_programs(home: Store) -> None:
    found = lines("kpi", "bad_share", "--where", "topic=baggage", "--last", "2")
    assert [line["start"] for line in found] == ["2026-01-01T00:08:00.000Z", "2026-01-01T00:09:00.000Z"]
    assert found[1]["value"] == pytest.approx(0.82)
    assert (found[1]["group"], found[1]["count"], found[1]["stage"]) == ({"topic": "baggage"}, 19, "early")


def test_comments_that_a_kpi_names_are_shown_as_what_they_say(home: Store) -> None:
    assert "  “never\ufffd again”" in run("kpi", "complaints", "--last", "1")


def test_other_windows_are_shown_when_asked_for(home: Store) -> None:
    assert [line["window"] for line in lines("kpi", "bad_share", "--window", "1h")] == ["1h"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["kpi", "bad_shar"], "did you mean 'bad_share'"),
        (["kpi", "bad_share", "--by", "model"], "is not grouped by model"),
        (["kpi", "bad_share", "--window", "7m"], "no windows of '7m'"),
        (["kpi", "csat"], "no ratings have come yet"),
        (["kpi", "bad_share", "--window", "1d"], "no windows of '1d' (it has: 1m, 1h)"),
        (["kpi", "cost"], "it counts answers with a known 'cost': there are none of these"),
        (["kpi", "--window", "99h"], "no KPI has windows of '99h' (there are: 1m, 1h, 1d)"),
        (["sql", "SELECT * FROM answers"], "ask with --kpis"),
        (["sql", "--kpis", "SELECT * FROM read_csv('/etc/hosts')"], "only this store can be read"),
        (["sql", "--kpis", "--seconds", "0.1", "SELECT count(*) FROM range(1000000000000)"], "--seconds 1"),
        (["kpi", "--by", "topic"], "not clear of which KPI"),
        (["kpi", "bad_share", "--where", "topic"], "is not a condition"),
        (["sql", "--kpis", "SELECT 1", "--min-position", "0/1"], "no positions"),
        (["sql", "--kpis", "DROP TABLE answers"], "not one that reads"),
    ],
)
def test_what_is_wrong_is_told_with_the_remedy(home: Store, arguments: list[str], said: str) -> None:
    with pytest.raises(HeadraceError) as raised:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert said in str(raised.value)


def test_an_empty_store_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run("kpi")
    assert [line.split()[0] for line in shown[1:-2]] == [kpi.name for kpi in KPIS]
    assert "[[feedback.streams]]" in shown[-2]
    assert "`headrace run feedback`" in shown[-1]
    for arguments in (["kpi", "users"], ["sql", "--kpis", "SELECT 1"]):
        with pytest.raises(HeadraceError, match="start the flow"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert run("alerts") == ["no alerts stand; `headrace alerts --all` shows those that are over"]


def test_alerts_tell_what_since_when_and_where_to_look(home: Store) -> None:
    shown = run("alerts")
    assert shown[0].startswith("critical answers_turned_bad since 2026-01-01 00:00:00 UTC")
    assert shown[1:] == ["  it is bad\ufffd[2J", "  documents company/a.md", '  headrace sql --kpis "SELECT 1"']
    (found,) = lines("alerts")
    assert (found["id"], found["state"], found["documents"]) == ("answers_turned_bad/1", "raised", ["company/a.md"])


def test_the_store_is_asked_in_sql(home: Store) -> None:
    found = lines("sql", "--kpis", "SELECT topic, value, stage, start FROM kpis WHERE late > 0 ORDER BY topic LIMIT 1")
    assert found == [{"topic": "baggage", "value": 0.26, "stage": "corrected", "start": "2026-01-01T00:02:00Z"}]
    assert run("sql", "--kpis", "SELECT count(*) AS n FROM answers")[-1] == "1 row"


def test_status_shows_how_fresh_feedback_is(home: Store) -> None:
    ended = CliRunner().invoke(app, ["status", "--json"], catch_exceptions=False)
    found = json.loads(ended.stdout)
    assert [(mark["flow"], mark["source"], mark["offset"]) for mark in found["applied"]] == [("feedback", "chat", 5)]
    assert (found["feedback"]["answers"], found["feedback"]["alerts"], found["too_late"]) == (1, 1, 0)
    assert "feedback: 1 answer, 1 comment; 46 values of KPIs; 1 alert stands" in " ".join(run("status"))


def test_status_tells_of_the_lake_and_its_marks(home: Store) -> None:
    del home
    lake = Home(load().data_dir)
    events = [event for event in story(4, 40) if not isinstance(event, Point)]
    lake.take(*events, offset=9)
    count = len(expected(events))
    found = json.loads(CliRunner().invoke(app, ["status", "--json"], catch_exceptions=False).stdout)
    assert (found["lake"]["rows"], found["lake"]["kept"]) == (count, count)
    assert [(mark["flow"], mark["offset"]) for mark in found["applied"]] == [("feedback", 5), ("lake", 9)]
    assert f"lake: {count} conversations, written" in " ".join(run("status"))


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("bad_share", 0.5, "50.0 %"),
        ("answers", 12345.0, "12,345"),
        ("cost", 1.23456, "1.235 EUR"),
        ("cost", 0.00116923, "0.001169 EUR"),
        ("cost", None, "-"),
        ("tokens", 1e300, "1e+300"),
        ("tokens", float("inf"), "inf"),
    ],
)
def test_values_are_written_with_their_unit(name: str, value: float | None, wanted: str) -> None:
    kpi = next(kpi for kpi in KPIS if kpi.name == name)
    assert written(value, kpi, "EUR") == wanted


def test_a_trend_is_good_or_bad_as_the_kpi_says(home: Store) -> None:
    found = {
        dict(series.newest.group).get("topic"): series
        for series in Kpis.of(home.settings).series("bad_share", by=["topic"], last=10)
    }
    assert Kpis.of(home.settings).goodness(found["baggage"]) == -1
