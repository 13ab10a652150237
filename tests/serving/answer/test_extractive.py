"""Answers without a model: what the sources say, in their words, and nothing else."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.context import Context, ContextItem, Superseded
from fixtures.corpus import ROOT
from fixtures.questions import questions
from operators.documents.markdown import sections
from serving.answer.extractive import BY_ITSELF, DEGRADED, MOST, NOTHING, extract
from serving.answer.passages import first_passages
from serving.answer.ranking import REMEMBERED, Ranking
from stores.embedders.base import Embedder, Model, Vectors
from tests.serving.answer.samples import BICYCLE, FARE, NOW, PETS, context, item

CITED = re.compile(r"(.+) \[(\d+)\]")


def said(asked: Context, ranking: Ranking | None = None) -> list[str]:
    """Return the lines of an answer, having checked its last one."""
    *lines, empty, closing = extract(asked, ranking or Ranking()).text.split("\n")
    assert (empty, closing) == ("", BY_ITSELF)
    return lines


def answered(question: str, *items: ContextItem) -> list[str]:
    return said(context(question, *items))


def test_the_sentence_that_says_it_is_quoted_with_its_source() -> None:
    found = extract(context("What does a bicycle cost?", BICYCLE, PETS), Ranking())
    assert found.text == f"A bicycle costs EUR 60 per flight. [2]\n\n{BY_ITSELF}"
    assert [one.id for one in found.citations] == [BICYCLE.id]


def test_where_nothing_says_anything_about_it_nothing_is_said() -> None:
    for question in ("Who won the world cup?", "hello", "", "???"):
        assert answered(question, BICYCLE, PETS) == [NOTHING]
    assert answered("What does a bicycle cost?") == [NOTHING]


def test_it_says_that_a_model_should_have_answered() -> None:
    assert extract(context("What does a bicycle cost?", BICYCLE), Ranking(), degraded=True).text.endswith(DEGRADED)


def test_a_row_that_was_looked_up_comes_first_and_tells_what_is_past() -> None:
    assert answered("What is the fare of CV 512?", PETS, FARE) == [
        "Fare of flight CV 512 to Crete: EUR 149. (price was 129.00 until 08:41 UTC) [1]"
    ]


def test_a_row_that_has_nothing_of_the_question_is_no_answer() -> None:
    assert answered("Who won the world cup?", FARE) == [NOTHING]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Superseded("gate", None, "B2", NOW - 60_000), "gate was empty until 09:00 UTC"),
        (Superseded("gate", "A[3]", "B2", NOW - 86_400_000), "gate was A(3) until 2026-10-31 09:01 UTC"),
        (Superseded("seats", 4, 0, 10**18), "seats was 4 until 1000000000000000000 UTC"),
    ],
)
def test_values_that_are_past_are_told_with_their_end(change: Superseded, told: str) -> None:
    row = item(1, "Flight CV 512", kind="row", superseded=(change,))
    assert f"({told}" in answered("When is CV 512?", row)[0]


def test_what_a_row_says_of_its_past_itself_is_told_once() -> None:
    change = Superseded("gate", "A14", "A11", NOW - 60_000)
    text = "Flight CV 512 departs 09:00, gate A11\ngate was A14 until 2026-11-01 09:00 UTC, is A11"
    (said, *_) = answered("From which gate does CV 512 depart?", item(1, text, kind="row", superseded=(change,)))
    assert said.count("A14") == 1


@pytest.mark.parametrize(
    ("lag", "told"),
    [
        (840_000, "(may be out of date: confirmed last 14 min ago)"),
        (None, "(may be out of date: it cannot be told when"),
    ],
)
def test_what_may_be_out_of_date_is_said_to_be(lag: int | None, told: str) -> None:
    assert told in answered("What does a bicycle cost?", item(1, "A bicycle costs EUR 60.", stale=True, lag=lag))[0]


def test_what_speaks_against_a_row_is_said_with_whatever_is_said_of_it() -> None:
    text = "Flight CRV204 to Lisbon: on time; gate B4\nstatus was late until 2026-11-01 08:41 UTC, is on time"
    gone = "deleted at its source; the delete waits for a decision"
    for question in ("Is CRV204 on time, and which gate?", "When was the status late?"):
        row = item(1, text, kind="row", title="flights CRV204", warning=gone)
        lines = answered(question, row)
        assert lines != [NOTHING]
        assert all(line.endswith(f" ({gone}) [1]") for line in lines)


def test_of_a_row_what_is_not_set_is_left_out_and_what_is_long_cut() -> None:
    row = item(
        1, f"gate: none; hotel: Villa; guide: {'long ' * 200}; floor: none; place: Crete; deck: none", kind="row"
    )
    (line,) = answered("Which hotel on Crete?", row)
    assert re.fullmatch(r"hotel: Villa; guide: (long )+…; place: Crete\. \[1\]", line)
    assert len(line) < 200


def test_rows_that_have_less_of_the_question_are_left_out() -> None:
    rooms = [item(number, f"Room {number} in Villa, Crete", kind="row", score=0.9) for number in range(4, 8)]
    assert answered("What is the fare of the flight to Crete?", *rooms, FARE)[0].startswith("Fare of flight CV 512")
    assert len(answered("What is the fare of the flight to Crete?", *rooms, FARE)) == 1


def test_questions_about_oneself_are_answered_from_the_profile() -> None:
    profile = item(1, "name: Noor\ntier: Gold", kind="profile", title="Noor")
    page = item(2, "A tier is reached by loyalty.", title="Tiers")
    assert "tier: Gold. [1]" in answered("What is my loyalty tier?", page, profile)
    assert answered("What is a loyalty tier?", page, profile) == ["A tier is reached by loyalty. [2]"]


def test_what_was_said_before_is_no_source() -> None:
    assert answered("What does a bicycle cost?", item(1, "A bicycle costs nothing.", kind="turn")) == [NOTHING]


def test_what_looks_like_a_citation_in_a_source_is_none() -> None:
    (line,) = answered("What does a bicycle cost?", item(4, "A bicycle costs EUR 60 [1], see [2]."))
    assert line == "A bicycle costs EUR 60 (1), see (2). [4]"


def test_the_same_is_said_once() -> None:
    twice = item(5, "A bicycle costs EUR 60 per flight!", title="Prices")
    assert len(answered("What does a bicycle cost?", BICYCLE, twice)) == 1


def test_a_sentence_that_speaks_of_the_one_before_it_comes_with_it() -> None:
    text = "Electric bicycles are not carried. This holds for bicycle batteries without a bicycle."
    assert answered("Is a bicycle without batteries fine?", item(1, text)) == [f"{text} [1]"]


TABLE = """\
| Fare | Change | Refund |
| --- | --- | --- |
| Light | EUR 60 | none |
| Classic | EUR 30 | **taxes** |
| Flex | free | [all](x.md) |
"""


def test_of_a_table_the_row_that_the_question_names_is_told_with_its_heads() -> None:
    assert answered("What is the refund of a Classic fare?", item(1, TABLE)) == [
        "Fare: Classic; Change: EUR 30; Refund: taxes. [1]"
    ]


def test_a_table_of_which_no_row_is_named_is_told_as_a_whole() -> None:
    assert answered("What is the refund of each fare?", item(1, TABLE)) == [
        "(Fare: Change, Refund) Light: EUR 60, none; Classic: EUR 30, taxes; Flex: free, all. [1]"
    ]


def test_the_headings_above_a_sentence_count() -> None:
    text = "# Baggage\n\nEUR 40 each.\n\n# Pets\n\nEUR 55 each.\n"
    assert answered("What are the prices for pets?", item(1, text, title="Prices")) == ["EUR 55 each. [1]"]


def test_entries_of_a_list_are_said_one_by_one() -> None:
    text = "What you can add:\n\n- Cabin bag: EUR 12\n- `Fast lane`: EUR 8\n"
    assert answered("fast lane", item(1, text)) == ["Fast lane: EUR 8. [1]"]


def test_a_long_answer_stops_at_so_many_sentences() -> None:
    text = " ".join(f"Bicycle number {number} is {colour}." for number, colour in enumerate(["green", "blue"] * 9))
    (line,) = answered("Which bicycle?", item(1, text))
    assert line.count("Bicycle number") == MOST


MARKED = ("bicycle", "costs", "60", "the", "pets.", "Light", "[2]", "|", "**", "#", "-\n\n", "A")
WORDS = st.lists(st.sampled_from(MARKED), max_size=20)
TEXTS = WORDS.map(" ".join) | st.text(max_size=60)
KINDS = st.sampled_from(("row", "chunk", "activity", "profile", "turn"))


@given(TEXTS, st.lists(st.tuples(TEXTS, KINDS), max_size=6), st.randoms(use_true_random=False))
def test_every_line_cites_an_item_and_has_its_words_only(
    question: str, told: list[tuple[str, str]], chance: random.Random
) -> None:
    items = [item(number, text, kind=kind) for number, (text, kind) in enumerate(told, 1)]
    found = extract(context(question, *items), Ranking())
    *lines, _, _ = found.text.split("\n")
    numbers = []
    for line in lines:
        if lines == [NOTHING]:
            break
        cited = CITED.fullmatch(line)
        assert cited is not None
        numbers.append(int(cited[2]))
        source = items[numbers[-1] - 1]
        assert source.kind != "turn"
        # Letters alone: marks of Markdown are gone, and dots and colons have come between.
        assert set(re.findall(r"[^\W_]+", cited[1])) <= set(re.findall(r"[^\W_]+", source.text))
    assert [one.number for one in found.citations] == numbers == list(dict.fromkeys(numbers))
    shuffled = [*items]
    chance.shuffle(shuffled)
    assert extract(context(question, *shuffled), Ranking()).text == found.text


class Pairs(Embedder):
    """Knows one meaning: travel by bicycle, whatever it is called. Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def model(self) -> Model:
        return Model("pairs", "1", 2, 100)

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        means = [[1.0, 0.0] if re.search("bicycle|two wheels", text) else [0.0, 1.0] for text in texts]
        return np.array(means, dtype=np.float32).reshape(-1, 2)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return []


def test_with_an_embedder_meaning_counts_without_a_word_in_common() -> None:
    embedder = Pairs()
    ranking = Ranking(embedder)
    asked = context("May I come on two wheels?", BICYCLE, PETS)
    assert said(asked) == [NOTHING]
    assert said(asked, ranking) == ["A bicycle costs EUR 60 per flight. [2]"]
    number = len(embedder.asked)
    assert said(asked, ranking) == ["A bicycle costs EUR 60 per flight. [2]"]
    assert len(embedder.asked) == number, "what it knows is not asked again"


def test_no_more_vectors_are_kept_than_agreed() -> None:
    embedder = Pairs()
    ranking = Ranking(embedder)
    for number in range(REMEMBERED + 1):
        ranking.weigh(f"question {number}", [])
    assert embedder.asked == []
    for first in range(0, REMEMBERED + 100, 40):
        text = "\n\n".join(f"bicycle {number}" for number in range(first, first + 40))
        extract(context("bicycle", item(1, text)), ranking)
    number = len(embedder.asked)
    extract(context("bicycle", item(1, "bicycle 0")), ranking)
    assert len(embedder.asked) > number, "the oldest have gone"


def test_of_what_is_remembered_no_text_can_be_read() -> None:
    ranking = Ranking(Pairs())
    extract(
        context("Who is Inês Carvalho?", item(1, "name: Inês Carvalho; phone: +351 912 345 678", kind="profile")),
        ranking,
    )
    kept = repr(vars(ranking))
    assert not re.search("Carvalho|912|name", kept)


def test_only_so_much_of_a_huge_context_is_looked_at() -> None:
    text = " ".join(f"Bicycle {number} is green." for number in range(300))
    items = [item(number, text) for number in range(1, 6)]
    assert [one.number for one in first_passages(items)] == [1] * 300 + [2] * 300 + [3] * 300 + [4] * 100


def test_the_customers_questions_are_answered_from_the_right_page() -> None:
    hits, asked = 0, 0
    for question in questions():
        if question.hard or not question.uri.endswith(".md"):
            continue
        asked += 1
        items = _sections_of(ROOT / "documents" / question.uri)
        answer = extract(context(question.ask, *items), Ranking()).text
        hits += _words(question.phrase) <= _words(answer)
    assert asked >= 20
    assert hits / asked >= 0.6


def _sections_of(path: Path) -> list[ContextItem]:
    text = path.read_text(encoding="utf-8").partition("\n---\n")[2]
    found = [section for section in sections(text) if section.blocks]
    return [
        item(
            number,
            "\n\n".join(block.text for block in section.blocks),
            title=" > ".join(heading.text for heading in section.path),
        )
        for number, section in enumerate(found, 1)
    ]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
