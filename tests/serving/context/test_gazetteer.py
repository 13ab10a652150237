"""Names in a text: whole words, the longest first, however they are written."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.context.gazetteer import LONGEST_NAME, MOST_ALIKE, Gazetteer, words

HOTELS = Gazetteer(["Porto", "Porto Santo", "Hotel Norðurbakki", "Bahía Calmada", "L'Aquila", "京都", "São Tomé"])


def named(text: str, gazetteer: Gazetteer = HOTELS) -> list[str]:
    return [found.value for found in gazetteer.find(words(text))]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("What is new in PORTO?", ["Porto"]),
        ("From Porto to Porto Santo", ["Porto", "Porto Santo"]),
        ("porto-santo, please", ["Porto Santo"]),
        ("the portobello road", []),
        ("hotel nordurbakki", ["Hotel Norðurbakki"]),
        ("Hotel Norðurbakki's breakfast", ["Hotel Norðurbakki"]),
        ("BAHIA calmada", ["Bahía Calmada"]),
        (unicodedata.normalize("NFD", "Bahía Calmada"), ["Bahía Calmada"]),
        ("l’aquila", ["L'Aquila"]),  # noqa: RUF001  # as telephones write it
        ("我想去京都旅行", ["京都"]),
        ("Sao\nTome", ["São Tomé"]),
        ("", []),
        ("?!", []),
    ],
)
def test_a_name_is_found_as_whole_words_however_it_is_written(text: str, wanted: list[str]) -> None:
    assert named(text) == wanted


def test_a_name_says_where_it_stands() -> None:
    text = "Is Hotel Norðurbakki open?"
    said = words(text)
    (found,) = HOTELS.find(said)
    assert text[said[found.first].begin : said[found.after - 1].end] == "Hotel Norðurbakki"


def test_names_that_read_the_same_are_all_found() -> None:
    assert named("sao tome", Gazetteer(["São Tomé", "Sao Tome", "SAO-TOME"])) == ["São Tomé", "Sao Tome", "SAO-TOME"]
    assert len(named("a", Gazetteer("a" + "!" * times for times in range(100)))) == MOST_ALIKE


def test_a_shorter_name_is_found_where_the_longer_one_does_not_go_on() -> None:
    gazetteer = Gazetteer(["New York City", "New York", "York"])
    assert named("New York City", gazetteer) == ["New York City"]
    assert named("New York pity", gazetteer) == ["New York"]
    assert named("new new york", gazetteer) == ["New York"]


def test_whole_texts_and_what_has_no_word_are_no_names() -> None:
    long = " ".join(["word"] * (LONGEST_NAME + 1))
    assert named(long, Gazetteer([long, "", "…", "🙂"])) == []


@given(st.lists(st.text("ab ", max_size=6), max_size=6), st.text("ab ", max_size=20))
def test_what_is_found_is_what_trying_all_names_finds(values: list[str], text: str) -> None:
    split = text.split()
    names = {tuple(value.split()): value for value in reversed(values) if value.split()}
    wanted, at = [], 0
    while at < len(split):
        fitting = [name for name in names if tuple(split[at : at + len(name)]) == name]
        longest = max(fitting, key=len, default=())
        wanted += [value for value in values if tuple(value.split()) == longest and longest]
        at += len(longest) or 1
    assert named(text, Gazetteer(values)) == wanted


@given(st.text())
def test_words_lie_in_the_text_in_their_order(text: str) -> None:
    end = 0
    for word in words(text):
        assert end <= word.begin < word.end <= len(text)
        assert word.plain.isalnum()
        end = word.end
