"""What the settings of feedback take and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from events.errors import SettingsError
from stores.alert_settings import AlertSettings
from stores.feedback_settings import FeedbackSettings, FeedbackStreamSettings, SentimentSettings
from stores.kpi_settings import KpiSettings, Window, window_of
from stores.settings import load

MINUTE, HOUR = 60_000, 3_600_000


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("1m", Window("1m", MINUTE, MINUTE)),
        ("1h/5m", Window("1h/5m", HOUR, 5 * MINUTE)),
        ("session:30m", Window("session:30m", 0, 0, 30 * MINUTE)),
        ("1d/1m", Window("1d/1m", 24 * HOUR, MINUTE)),
    ],
)
def test_windows_are_read(text: str, window: Window) -> None:
    assert window_of(text) == window


@pytest.mark.parametrize("text", ["", "1", "m", "0m", "1m/0s", "1h/7m", "2d/1m", "session:0s", "1m ", "1M", "-1m"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"window|step|gap"):
        window_of(text)


@pytest.mark.parametrize(
    ("kpi", "said"),
    [
        ({"aggregate": "mean"}, "does not say `of` which field"),
        ({"aggregate": "share"}, "`hits` belongs to the aggregate `share`"),
        ({"hits": {"bad": True}}, "`hits` belongs to the aggregate `share`"),
        ({"aggregate": "sql"}, "`sql` to `sql`"),
        ({"sql": "SELECT 1"}, "`sql` to `sql`"),
        ({"aggregate": "sql", "sql": "SELECT 1 AS value", "windows": ["session:1m"]}, "windows of a fixed size"),
        ({"aggregate": "sql", "sql": "SELECT 1 AS value", "by": [[], ["topic"]]}, "one grouping"),
        ({"by": [["topic"], ["topic"]]}, "a grouping twice"),
        ({"where": {"topick": "refund"}}, "answers have no field 'topick'"),
        ({"by": [["lattency"]]}, "answers have no field 'lattency'"),
        ({"windows": ["1 minute"]}, "is no window"),
        ({"facts": "points", "where": {"Host; --": "a"}}, "points have no field"),
        (
            {"aggregate": "mean", "of": "topic"},
            "'topic' of answers is not a number, which 'mean' needs; use one of lat",
        ),
        ({"facts": "questions", "aggregate": "top", "of": "topic"}, "use `count`, `share` or `distinct`"),
        ({"facts": "points", "aggregate": "max", "of": "host"}, "use one of value"),
        ({"where": {"latency": "slow"}}, "'latency' is a number, which 'slow' is not"),
        ({"where": {"latency": {"above": "slow"}}}, "'latency' is a number, which 'slow' is not"),
        ({"where": {"topic": {"at_least": 1}}}, "'topic' is text, so nothing is at least anything of it"),
        ({"where": {"rated": 1}}, "'rated' is true or false, which 1 is not"),
        ({"where": {"documents": ["a", 5]}}, "'documents' is a list of texts, which 5 is not"),
        ({"aggregate": "share", "hits": {"score": True}}, "'score' is a number, which True is not"),
        ({"facts": "points", "where": {"host": {"not": 5}}}, "'host' is text, which 5 is not"),
        ({"by": ["topic", "model"]}, 'write by = [["topic"]]'),
        ({"by": "model"}, 'write by = [["model"]]'),
    ],
)
def test_a_kpi_that_cannot_be_is_refused_with_what_is_wrong(kpi: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KpiSettings.model_validate({"name": "mine", **kpi})
    assert said in caught.value.errors()[0]["msg"]


def test_points_have_the_fields_that_their_labels_give_them() -> None:
    kpi = KpiSettings.model_validate(
        {"name": "load", "facts": "points", "aggregate": "mean", "of": "value", "by": [["host"]]}
    )
    assert kpi.by == (("host",),)


@pytest.mark.parametrize(
    "kpi",
    [
        {"aggregate": "mean", "of": "bad"},
        {"aggregate": "distinct", "of": "documents"},
        {"where": {"latency": {"above": 2000}, "score": 1, "documents": "docs/a.md", "topic": ["a", "b"], "bad": True}},
        {"where": {"person": {"known": True}, "tokens": {"not": [0, 1]}}},
        {"facts": "points", "where": {"host": ["a", "b"], "value": {"below": 0.5}}},
    ],
)
def test_conditions_and_aggregates_that_fit_their_fields_are_taken(kpi: dict[str, Any]) -> None:
    assert KpiSettings.model_validate({"name": "mine", **kpi}).aggregate == kpi.get("aggregate", "count")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ({"kpis": [{"name": "mine", "facts": "answer"}]}, "correct it in headrace.toml; `headrace settings` lists all"),
        ({"by": ["topic"]}, "correct it in headrace.toml or by HEADRACE_FEEDBACK__BY; `headrace settings` lists all"),
    ],
)
def test_a_variable_is_named_only_where_there_is_one(tmp_path: Path, said: dict[str, Any], hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(data_dir=tmp_path, feedback=said)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        ({}, "either `kpi` or `metric`"),
        ({"kpi": "csat", "metric": "load"}, "either `kpi` or `metric`"),
        ({"kpi": "csat", "detector": "threshold"}, "neither `above` nor `below`"),
        ({"metric": "load", "by": ["host"]}, "neither windows nor groupings"),
    ],
)
def test_an_alert_that_cannot_be_is_refused_with_what_is_wrong(alert: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AlertSettings.model_validate({"name": "mine", **alert})
    assert said in caught.value.errors()[0]["msg"]


def test_an_alert_of_a_kpi_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="the KPI 'csatt', which is not there"):
        FeedbackSettings.model_validate({"alerts": [{"name": "mine", "kpi": "csatt"}]})


def test_a_kpi_of_the_settings_takes_the_place_of_the_one_that_comes_with_headrace() -> None:
    settings = FeedbackSettings.model_validate({"kpis": [{"name": "csat", "aggregate": "mean", "of": "score"}]})
    found = [kpi for kpi in settings.all_kpis() if kpi.name == "csat"]
    assert [kpi.aggregate for kpi in found] == ["mean"]
    assert not FeedbackSettings(builtin=False).all_kpis()


@pytest.mark.parametrize("name", ["alerts", "identity", "control.feedback", "replay.lake", "Feed back"])
def test_a_stream_on_which_flows_tell_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        FeedbackStreamSettings(name=name)


def test_an_address_of_a_webhook_that_is_none_is_refused_without_repeating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"webhook\.url.*is no address") as told:
        load(feedback={"webhook": {"url": "hooks.example.org/T0123-untold"}})
    assert "untold" not in str(told.value)


def test_an_endpoint_needs_its_address_and_a_model() -> None:
    with pytest.raises(ValidationError, match="needs `url`"):
        SentimentSettings(backend="endpoint", url="ftp://example.org", model="m")
    with pytest.raises(ValidationError, match="needs `url`"):
        SentimentSettings(backend="endpoint", url="https://example.org/v1")


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("[feedback.webhook]\nkey = 'abc'", "HEADRACE_FEEDBACK__WEBHOOK__KEY"),
        ("[feedback.sentiment]\nkey = 'abc'", "HEADRACE_FEEDBACK__SENTIMENT__KEY"),
        ("[rows]\ndsn = 'abc'", "HEADRACE_ROWS__DSN"),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variable: str
) -> None:
    path = tmp_path / "headrace.toml"
    path.write_text(text)
    monkeypatch.setenv("HEADRACE_CONFIG", str(path))
    with pytest.raises(SettingsError) as caught:
        load()
    assert variable in str(caught.value)
    assert "abc" not in str(caught.value)
