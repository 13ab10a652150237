"""The classifier: what it learns from, what it says, and how often it is right on what it has not seen."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from events.errors import SettingsError
from events.feedback import Verdict
from stores.embedders.choose import choose_embedder
from stores.embedders.hashing import HashingEmbedder
from stores.sentiment.choose import open_classifier, open_judge
from stores.sentiment.classifier import LogisticClassifier, fit
from stores.sentiment.endpoint import Endpoint
from stores.sentiment.examples import SHIPPED, Example, gather_examples, read_examples, topics_of
from stores.sentiment.trial import groups_of, held_out
from stores.settings import Settings

CATEGORIES = ("satisfied", "dissatisfied", "neutral")


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def line(text: str, category: str, *topics: str) -> dict[str, Any]:
    return {"text": text, "category": category, "topics": topics}


def example(text: str, category: str, *topics: str) -> Example:
    return Example(text, category, topics, Path("mine.jsonl"), 1)


def small(*, topics: tuple[str, ...] = ("bags", "rooms")) -> LogisticClassifier:
    """Return a classifier of twelve lines whose words tell the category."""
    examples = []
    for number, thing in enumerate(["suitcase", "trunk", "kitchen", "balcony"]):
        topic = "bags" if number < 2 else "rooms"
        examples += [example(f"lovely {thing} indeed", "satisfied", topic)]
        examples += [example(f"dreadful {thing} indeed", "dissatisfied", topic)]
        examples += [example(f"which {thing} is it", "neutral", topic)]
    return LogisticClassifier(HashingEmbedder(), examples, categories=CATEGORIES, topics=topics)


def test_the_lines_that_come_with_headrace_are_many_balanced_and_all_different() -> None:
    examples = gather_examples([], CATEGORIES)
    assert len(examples) == len(read_examples(SHIPPED)) >= 400
    for category in CATEGORIES:
        assert sum(one.category == category for one in examples) > 0.3 * len(examples)
    topics = topics_of(examples, ())
    assert len(topics) >= 12
    assert all(sum(topic in one.topics for one in examples) >= 20 for topic in topics)


def test_a_text_like_the_examples_gets_their_category_and_topic() -> None:
    verdicts = small().classify(["lovely balcony", "dreadful trunk", "which kitchen"])
    assert [verdict.category for verdict in verdicts] == list(CATEGORIES)
    assert [verdict.topics for verdict in verdicts] == [("rooms",), ("bags",), ("rooms",)]
    assert all(1 / 3 < verdict.confidence <= 1 for verdict in verdicts)


def test_verdicts_are_those_of_the_library_that_learnt_the_weights() -> None:
    from sklearn.linear_model import LogisticRegression

    examples = gather_examples([], CATEGORIES)[::5]
    embedder = HashingEmbedder()
    texts = [one.text for one in examples]
    vectors = embedder.embed(texts).astype(np.float64)
    theirs = LogisticRegression(C=2.0, class_weight="balanced", max_iter=5000)
    theirs.fit(vectors, [one.category for one in examples])
    asked = ["the room was lovely", "no refund, no answer", "how much is a bag?"]
    said = theirs.predict_proba(embedder.embed(asked).astype(np.float64))
    ours = LogisticClassifier(embedder, examples, categories=CATEGORIES).classify(asked)
    for verdict, row in zip(ours, said, strict=True):
        sure = dict(zip(theirs.classes_, row, strict=True))
        assert verdict.category == max(sure, key=lambda name: sure[name])
        assert verdict.confidence == pytest.approx(sure[verdict.category], abs=2e-3)


def test_a_verdict_depends_on_its_text_alone() -> None:
    texts = [one.text for one in read_examples(SHIPPED)[::10]] + ["", " ", "😐", "\ud83d", "x" * 100_000, "שלום"]
    together = small().classify(texts)
    assert small().classify(texts[::-1]) == together[::-1]
    assert [small_one for text in texts[:5] for small_one in small().classify([text])] == together[:5]
    assert small().classify([]) == []


def test_a_topic_that_is_not_sure_enough_is_none() -> None:
    texts = ["lovely suitcase"]
    assert small().classify(texts)[0].topics == ("bags",)
    examples = [example(f"{thing} {number}", "neutral", thing) for thing in ("bags", "rooms") for number in range(4)]
    examples += [example(f"fine {number}", "satisfied") for number in range(4)]
    strict = LogisticClassifier(
        HashingEmbedder(), examples, categories=("neutral", "satisfied"), topics=("bags",), least_confidence=1.0
    )
    assert strict.classify(["bags"])[0].topics == ()


def test_two_categories_are_enough_and_a_topic_of_every_line_is_always_told() -> None:
    examples = [example(f"good {number}", "yes", "all") for number in range(3)]
    examples += [example(f"bad {number}", "no", "all") for number in range(3)]
    classifier = LogisticClassifier(HashingEmbedder(), examples, categories=("yes", "no"), topics=("all",))
    verdicts = classifier.classify(["good", "bad", "whatever"])
    assert [verdict.category for verdict in verdicts[:2]] == ["yes", "no"]
    assert all(verdict.confidence >= 0.5 and verdict.topics == ("all",) for verdict in verdicts)


def test_it_learns_once_whoever_asks_first() -> None:
    embedder = HashingEmbedder()
    examples = gather_examples([], CATEGORIES)[::8]
    classifier = LogisticClassifier(embedder, examples, categories=CATEGORIES)
    assert embedder.embedded == 0
    start = threading.Barrier(4)

    def ask(text: str) -> list[Verdict]:
        start.wait(20)
        return classifier.classify([text])

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(ask, ["good"] * 4))
    assert all(verdicts == said[0] for verdicts in said)
    assert embedder.embedded == len(examples) + 4


def test_the_order_of_the_lines_does_not_change_what_is_learnt() -> None:
    examples = gather_examples([], CATEGORIES)[::6]
    vectors = HashingEmbedder().embed([one.text for one in examples])
    forwards = fit(vectors, examples, CATEGORIES, ("refund",))
    backwards = fit(vectors[::-1], examples[::-1], CATEGORIES, ("refund",))
    assert np.array_equal(forwards.categories, backwards.categories)
    assert np.array_equal(forwards.topics, backwards.topics)


def test_the_model_is_named_after_everything_that_a_verdict_depends_on() -> None:
    examples = gather_examples([], CATEGORIES)[:60:2] + gather_examples([], CATEGORIES)[-60::2]
    embedder = HashingEmbedder()
    usual: dict[str, Any] = {"categories": ("satisfied", "neutral"), "topics": ("room",)}
    models = [
        LogisticClassifier(embedder, examples, **usual).model,
        LogisticClassifier(embedder, examples[:-1], **usual).model,
        LogisticClassifier(choose_embedder("sentence-transformers"), examples, **usual).model,
        LogisticClassifier(embedder, examples, **{**usual, "topics": ()}).model,
        LogisticClassifier(embedder, examples, **usual, least_confidence=0.9).model,
    ]
    assert len(set(models)) == 5
    assert LogisticClassifier(embedder, examples[::-1], **usual).model == models[0]


def test_own_lines_stand_in_for_the_same_text_and_add_categories(tmp_path: Path) -> None:
    shipped = read_examples(SHIPPED)[0]
    own = write(
        tmp_path / "own.jsonl",
        line(f"  {shipped.text.upper()} ", "neutral"),
        "",
        line("call me back", "callback", "phone"),
        line("please ring me", "callback", "phone"),
    )
    examples = gather_examples([own], (*CATEGORIES, "callback"))
    assert len(examples) == len(read_examples(SHIPPED)) + 2
    assert [one.category for one in examples if one.text.strip().lower() == shipped.text.lower()] == ["neutral"]
    assert "phone" in topics_of(examples, ())
    assert [one.line for one in examples if one.category == "callback"] == [3, 4]


def test_categories_of_ones_own_leave_the_other_lines_out(tmp_path: Path) -> None:
    own = write(
        tmp_path / "own.jsonl", line("a", "urgent"), line("b", "urgent"), line("c", "later"), line("d", "later")
    )
    assert {one.category for one in gather_examples([own], ("urgent", "later"))} == {"urgent", "later"}
    assert len(gather_examples([own], ("urgent", "later"), shipped=False)) == 4


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("nonsense", "line 2: "),
        ('{"text": "a"}', "line 2: Object missing required field `category`"),
        ('{"text": " ", "category": "neutral"}', "line 2: the text is empty"),
        ('{"text": "a", "category": "neutral", "topic": "x"}', "line 2: Object contains unknown field `topic`"),
        ('{"text": "a", "category": "neutral", "topics": "x"}', "line 2: Expected `array`, got `str`"),
        ('{"text": "a", "category": "neutral", "topics": ["No Name"]}', "line 2: 'No Name' is not a name"),
        ('{"text": "a", "category": "Neutral!"}', "line 2: 'Neutral!' is not a name"),
        ('{"text": "' + "x" * 10_001 + '", "category": "neutral"}', "line 2: the text has more than 10000 characters"),
        ('{"text": "a", "category": "angry"}', "line 2: 'angry' is none of satisfied, dissatisfied, neutral"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, bad: str, said: str) -> None:
    own = write(tmp_path / "own.jsonl", line("fine", "satisfied"), bad)
    with pytest.raises(SettingsError) as told:
        gather_examples([own], CATEGORIES)
    assert said in str(told.value)
    assert "own.jsonl" in told.value.detail
    assert told.value.hint
    assert "\n" not in str(told.value)


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a", "category": "neutral"}\r\n{"text": "\xff", "category": "neutral"}\n')
    with pytest.raises(SettingsError, match="line 2"):
        read_examples(path)


def test_what_cannot_be_learnt_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        gather_examples([tmp_path / "absent.jsonl"], CATEGORIES)
    with pytest.raises(SettingsError, match=r"'callback' of feedback\.sentiment has 0 labelled lines"):
        gather_examples([], (*CATEGORIES, "callback"))
    with pytest.raises(SettingsError, match="no labelled line names the topic 'submarines'"):
        topics_of(gather_examples([], CATEGORIES), ("room", "submarines"))


def test_the_settings_choose_vocabulary_and_lines(tmp_path: Path) -> None:
    own = write(tmp_path / "own.jsonl", line("a", "yes"), line("b", "yes"), line("c", "no"), line("d", "no"))
    sentiment = {"examples": [own], "categories": ["yes", "no"], "own_examples_only": True}
    settings = Settings(data_dir=tmp_path, feedback={"sentiment": sentiment})
    classifier = open_classifier(settings, HashingEmbedder())
    assert (classifier.categories, classifier.topics) == (("yes", "no"), ())
    shipped = open_classifier(Settings(data_dir=tmp_path), HashingEmbedder())
    assert shipped.categories == CATEGORIES
    assert "refund" in shipped.topics


def test_an_endpoint_needs_no_examples_of_its_categories() -> None:
    sentiment = {"backend": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "m", "key": SecretStr("k")}
    judge = open_judge(Settings(feedback={"sentiment": {**sentiment, "categories": ["a", "b"]}}))
    assert isinstance(judge, Endpoint)
    assert judge.model.startswith("m@")
    judge.close()


def test_lines_that_say_nearly_the_same_are_judged_together() -> None:
    vectors = np.array([[1, 0, 0], [0.96, 0.28, 0], [0, 0, 1], [0.8, 0.6, 0], [0, 1, 0]], dtype=np.float32)
    groups = groups_of(vectors).tolist()
    # The first and the fourth are alike by way of the second only.
    assert groups[0] == groups[1] == groups[3]
    assert len(set(groups)) == 3


def test_no_line_is_judged_by_its_own_double() -> None:
    # Each text stands there twice, with one word for the category that is found in no other line.
    lines = [("satisfied", f"joy{number}") for number in range(10)]
    lines += [("neutral", f"fact{number}") for number in range(10)]
    examples = [example(f"{word} {word}{end}", category) for category, word in lines for end in ("", " ")]
    report = held_out(HashingEmbedder(), examples, categories=("satisfied", "neutral"), topics=(), least_confidence=0.5)
    assert len(report.judged) == 40
    assert report.accuracy < 0.8


def test_the_report_adds_up(tmp_path: Path) -> None:
    examples = gather_examples([], CATEGORIES)[::4]
    topics = ("refund", "room")
    report = held_out(HashingEmbedder(), examples, categories=CATEGORIES, topics=topics, least_confidence=0.5)
    assert [one.example for one in report.judged] == examples
    assert sum(report.confusion(true, said) for true in CATEGORIES for said in CATEGORIES) == len(examples)
    right = sum(report.confusion(name, name) for name in CATEGORIES)
    assert report.accuracy == right / len(examples)
    for name in CATEGORIES:
        tally = report.category(name)
        assert tally.recall == report.confusion(name, name) / tally.true
    assert report.topic("room").true == sum("room" in one.topics for one in examples)


def test_the_shipped_lines_teach_the_real_model_what_it_is_there_for() -> None:
    examples = gather_examples([], CATEGORIES)
    embedder = choose_embedder(threads=1)
    topics = topics_of(examples, ())
    report = held_out(embedder, examples, categories=CATEGORIES, topics=topics, least_confidence=0.5)
    assert report.accuracy >= 0.72
    about = [one for one in report.judged if one.example.topics]
    first = [bool(set(one.verdict.topics[:1]) & set(one.example.topics)) for one in about]
    assert sum(first) / len(first) >= 0.75
