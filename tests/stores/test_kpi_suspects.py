"""The documents behind an alert: those whose answers turned bad, by a bound that few answers cannot pass."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import pytest

from events.alerts import Alert
from events.kpis import Fact, series_of
from stores.feedback_settings import FeedbackSettings
from stores.kpis import standing
from stores.kpis.suspects import Z, explained, least_rise, wilson
from tests.stores.kpi_samples import BEGIN, MINUTE, Store, answer, fact, new

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BAGGAGE, FEES, FAQ = "company/policies/baggage.md", "company/policies/fees.md", "company/faq.md"


def alert(kpi: str = "bad_share", topic: str = "baggage", *, rule: str = "answers_turned_bad") -> Alert:
    group = (("topic", topic),)
    return Alert(
        f"{rule}/1",
        "anomaly",
        series_of(kpi, "1m", group),
        f"{kpi} is high",
        BEGIN,
        since=BEGIN,
        rule=rule,
        group=dict(group),
    )


def answers(
    time: int, *, good: int, bad: int, topic: str, documents: tuple[str, ...], rated: bool = True
) -> list[Fact]:
    return [
        answer(
            f"{topic}-{time}-{number}-{'+'.join(documents)}",
            time + number * 100,
            topic=topic,
            rated=rated,
            bad=number < bad if rated else None,
            good=number >= bad if rated else None,
            documents=documents,
        )
        for number in range(good + bad)
    ]


def history() -> list[Fact]:
    """Return an hour of good answers: baggage from its policy and the FAQ, fares from the fees and the FAQ."""
    found: list[Fact] = []
    for minute in range(1, 61):
        time = BEGIN - minute * MINUTE
        found += answers(time, good=2, bad=minute % 20 == 0, topic="baggage", documents=(FAQ, BAGGAGE))
        found += answers(time, good=2, bad=minute % 15 == 0, topic="fares", documents=(FAQ, FEES))
    return found


def test_the_document_whose_answers_turned_bad_is_named_and_others_shown_beside_it_are_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(*map(new, history()))
    collapse = answers(BEGIN, good=1, bad=6, topic="baggage", documents=(FAQ, BAGGAGE))
    elsewhere = answers(BEGIN, good=20, bad=1, topic="fares", documents=(FAQ, FEES))
    store.intake.write([*map(new, collapse + elsewhere), alert()])
    (told,) = store.told
    assert told.documents[0] == BAGGAGE
    assert FEES not in told.documents
    assert f"most often after being shown {BAGGAGE} (6 of 7 bad, before 3 of 123)" in told.text
    assert [one.alert for one in store.reader.alerts()] == [told]


def test_the_rows_behind_an_alert_are_the_bad_answers_of_its_group_and_windows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(*map(new, history()))
    collapse = answers(BEGIN, good=1, bad=6, topic="bag's", documents=(BAGGAGE,))
    after = answers(BEGIN + MINUTE, good=0, bad=5, topic="bag's", documents=(BAGGAGE,))
    store.intake.write([*map(new, collapse + after), alert(topic="bag's")])
    found = store.reader.sql(store.told[0].rows, rows=1000)
    assert sorted(row[0] for row in found.rows) == sorted(one.id for one in collapse if one.fields["bad"])


def test_few_bad_answers_name_no_document(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(*map(new, history()))
    store.intake.write([*map(new, answers(BEGIN, good=0, bad=2, topic="baggage", documents=(BAGGAGE,))), alert()])
    assert store.told[0].documents == ()
    assert store.told[0].text == "bad_share is high"


def test_a_document_that_was_as_bad_before_is_not_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(*map(new, answers(BEGIN - 10 * MINUTE, good=10, bad=40, topic="baggage", documents=(BAGGAGE,))))
    store.intake.write([*map(new, answers(BEGIN, good=2, bad=8, topic="baggage", documents=(BAGGAGE,))), alert()])
    assert store.told[0].documents == ()


def test_a_document_that_was_not_shown_before_is_compared_with_all_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(*map(new, history()))
    store.intake.write(
        [*map(new, answers(BEGIN, good=1, bad=6, topic="baggage", documents=("company/new.md",))), alert()]
    )
    assert store.told[0].documents == ("company/new.md",)
    assert "of all others" in store.told[0].text


def test_complaints_are_traced_to_the_documents_of_the_answers_that_they_are_about(tmp_path: Path) -> None:
    store = Store(tmp_path)
    said: list[Fact] = []
    for begin, count, category, document in (
        (BEGIN - 20 * MINUTE, 20, "satisfied", BAGGAGE),
        (BEGIN, 8, "dissatisfied", BAGGAGE),
        (BEGIN, 8, "satisfied", FEES),
    ):
        shown = answers(begin, good=count, bad=0, topic="baggage", documents=(document,), rated=False)
        said += shown
        said += [
            fact(
                "comments",
                f"{one.id}/k",
                one.time + 5,
                conversation=one.fields["conversation"],
                turn="a",
                topic="baggage",
                category=category,
            )
            for one in shown
        ]
    store.intake.write([*map(new, said), alert("dissatisfied_share", rule="complaints_rose")])
    assert store.told[0].documents == (BAGGAGE,)


def test_documents_that_come_to_be_known_by_the_end_of_the_epoch_are_added_without_telling_again(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    store.commit(*map(new, history()))
    store.intake.write([alert()])
    store.commit(*map(new, answers(BEGIN, good=1, bad=6, topic="baggage", documents=(BAGGAGE,))), offset=1)
    assert len(store.told) == 1
    assert store.reader.alerts()[0].alert.documents == (BAGGAGE,)


def test_in_a_storm_of_alerts_those_that_there_is_no_time_for_are_told_without_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    shown = answers(BEGIN, good=1, bad=6, topic="baggage", documents=(BAGGAGE,))
    monkeypatch.setattr(standing, "EXPLAINING_SECONDS", 0.0)
    store.intake.write([*map(new, history()), *map(new, shown), alert()])
    assert [(one.documents, one.rows != "") for one in store.told] == [((), True)]
    monkeypatch.undo()
    store.commit(offset=1)
    assert store.reader.alerts()[0].alert.documents == (BAGGAGE,)
    assert len(store.told) == 1


def test_what_was_looked_for_is_not_looked_for_again_if_nothing_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def counted(db: DuckDBPyConnection, one: Alert, settings: FeedbackSettings, *, search: bool = True) -> Alert:
        looked.append(one.id)
        return explained(db, one, settings, search=search)

    monkeypatch.setattr(standing, "explained", counted)
    store = Store(tmp_path)
    store.commit(*map(new, history()))
    store.intake.write([alert()])
    store.commit(offset=1)
    assert looked == [alert().id]


def test_an_alert_about_something_else_names_no_document(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.commit(*map(new, history()))
    bad = answers(BEGIN, good=1, bad=6, topic="baggage", documents=(BAGGAGE,))
    store.intake.write([*map(new, bad), alert("latency_p95", rule="answers_slow")])
    assert store.told[0].documents == ()
    assert len(store.reader.sql(store.told[0].rows).rows) == 7


def test_the_rows_of_a_metric_are_its_points(tmp_path: Path) -> None:
    store = Store(tmp_path)
    series = '["load",["host","h1"]]'
    store.commit(new(fact("points", "p", BEGIN, name="load", series=series, value=3.0, host="h1")))
    store.intake.write([Alert("load_high/1", "threshold", series, "high", BEGIN, rule="load_high")])
    assert [row[0] for row in store.reader.sql(store.told[0].rows).rows] == ["p"]


def test_the_bounds_are_those_of_the_published_example() -> None:
    # Newcombe (1998), example (a): 56 of 70 against 48 of 80, 95 % two-sided: 0.0524 to 0.3339; Wilson of 81 of 263
    # ("Two-sided confidence intervals for the single proportion", 1998): 0.2553 to 0.3662. Z is one-sided here.
    two_sided = NormalDist().inv_cdf(0.975)
    scale = pytest.MonkeyPatch()
    scale.setattr("stores.kpis.suspects.Z", two_sided)
    try:
        assert least_rise(56, 70, 48, 80) == pytest.approx(0.0524, abs=5e-5)
        assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    finally:
        scale.undo()
    assert pytest.approx(NormalDist().inv_cdf(0.95), abs=1e-3) == Z
