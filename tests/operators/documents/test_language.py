from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from operators.documents.language import detect

# The first article of the Universal Declaration of Human Rights, United Nations.
TEXTS = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft begabt.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są obdarzeni rozumem.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられている。",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand.",
}


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_a_sentence_is_told_by_its_language(language: str) -> None:
    assert detect(TEXTS[language]) == language


@pytest.mark.parametrize(
    "text",
    ["", "Gate B12", "   \n", "12345 67890 " * 50, "https://example.com/einige/deutsche/woerter/in/einer/adresse/" * 3],
)
def test_what_is_too_short_or_no_prose_has_no_language(text: str) -> None:
    assert detect(text) == ""


def test_letters_that_are_no_language_have_no_language() -> None:
    assert detect("xq zvv kkp qqw rrt ppl mmn bbv ccx llk jjh ggf dds aaz qqwe rty uio") == ""


def test_code_and_tags_do_not_hide_the_language_of_the_prose() -> None:
    code = "```python\nfor item in items: return the_value_of_this_thing(item)\n```\n" * 40
    assert detect(f'<div class="some english words here">\n{code}{TEXTS["de"]}') == "de"


def test_only_the_first_letters_count() -> None:
    assert detect(TEXTS["fr"] * 30 + TEXTS["en"] * 1000) == "fr"


def test_threads_that_begin_at_once_agree() -> None:
    names = sorted(TEXTS) * 8
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: detect(TEXTS[name]), names)) == names


@pytest.mark.parametrize("text", ["<" * 2_000_000, "`" * 2_000_000, "a" * 2_000_000, "http://" * 300_000])
def test_no_text_takes_long(text: str) -> None:
    detect("to load the model, which takes a moment, before anything is measured here")
    started = time.perf_counter()
    detect(text)
    assert time.perf_counter() - started < 5
