"""Numbers in square brackets, in all the ways in which models write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answer.citations import cited, numbers, unmarked
from tests.serving.answer.samples import BICYCLE, FARE, PETS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("EUR 60 [2].", [2]),
        ("EUR 60[2][1], boxed [2].", [2, 1]),
        ("[1, 3] and [1,3] and [3;2]", [1, 3, 2]),
        ("[1-3] [5\u20136]", [1, 2, 3, 5, 6]),
        ("[^1] and 【2】 and 【3†source】", [1, 2, 3]),
        ("[1 and 2]", [1, 2]),
        ("[link](http://a.example) [x1] [1.5] [] [a] (1) list[i]", []),
        ("[12345] [\u0661]", []),
        ("[9000-1] [1-9000]", [9000, 1]),
        ("[1", []),
    ],
)
def test_numbers_are_found_in_order_each_once(text: str, found: list[int]) -> None:
    assert numbers(text) == found


def test_numbers_of_no_item_are_told_apart() -> None:
    there, unknown = cited("[3] [4, 1] [2026]", (FARE, BICYCLE, PETS))
    assert [one.number for one in there] == [3, 1]
    assert (there[0].id, there[0].place, there[0].title) == (PETS.id, PETS.place, PETS.title)
    assert unknown == (4, 2026)


@given(st.text(st.sampled_from("[]^12, -【】†ab"), max_size=30))
def test_what_is_unmarked_cites_nothing(text: str) -> None:
    assert numbers(unmarked(text)) == []


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert all(0 <= number < 10_000 for number in numbers(text))


def test_long_texts_take_no_time() -> None:
    assert numbers("[1" * 100_000 + ", 1" * 100_000) == []
