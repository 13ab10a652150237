"""Near-duplicates, beside the comparison of each with each."""

from __future__ import annotations

import random

import pytest

from serving.finetune.near import Near, normalised


def _pairs(text: str) -> set[tuple[str, str]]:
    words = ["", *text.split(), ""]
    return {(words[at], words[at + 1]) for at in range(len(words) - 1)}


def _jaccard(one: str, other: str) -> float:
    a, b = _pairs(one), _pairs(other)
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_texts_are_near_as_comparing_each_with_each_says(threshold: float) -> None:
    chance = random.Random(7)
    words = [f"w{number}" for number in range(400)]
    texts: list[str] = []
    near, missed = Near(threshold), 0
    kept: list[str] = []
    for _ in range(400):
        if texts and chance.random() < 0.6:
            changed = chance.choice(texts).split()
            for _ in range(chance.randrange(6)):
                changed[chance.randrange(len(changed))] = chance.choice(words)
            texts.append(" ".join(changed))
        else:
            texts.append(" ".join(chance.choices(words, k=chance.randrange(5, 40))))
        closest = max((_jaccard(texts[-1], other) for other in kept), default=0.0)
        found = near.has(texts[-1])
        if found:
            assert closest >= threshold
        else:
            missed += closest >= threshold
            near.add(texts[-1])
            kept.append(texts[-1])
    assert missed == 0
    assert len(kept) < len(texts)


def test_case_signs_and_forms_of_letters_do_not_count() -> None:
    assert normalised("Hé, \uff37ORLD!  x") == normalised("hé world X")
    near = Near(1)
    near.add("Hello, World")
    assert near.has("hello world!") == "duplicate"
    assert near.has("hello there world") == ""


def test_texts_without_words_are_equal() -> None:
    near = Near(0.8)
    near.add("!?")
    assert near.has("…") == "duplicate"
    assert near.has("a") == ""
