"""Labelled lines that the classifier learns from: those that come with Headrace, and the user's own.

A line is `{"text": …, "category": …, "topics": […]}`. A bad one stops the start with its file, its number and the fix.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from events.errors import SettingsError
from stores.sections import checked_name

SHIPPED = Path(__file__).with_name("examples.jsonl")
MOST_CHARACTERS = 10_000
_SHAPE = 'a line is {"text": "…", "category": "…", "topics": ["…"]}'


class Example(msgspec.Struct, frozen=True):
    """One labelled text.

    :arg topics: What it is about; may be empty.
    :arg path: The file that it stands in.
    :arg line: Its number there, from 1.
    """

    text: str
    category: str
    topics: tuple[str, ...]
    path: Path
    line: int

    @property
    def place(self) -> str:
        """File and line, for people."""
        return f"{self.path.name}:{self.line}"


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    category: str
    topics: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(_Line)


def read_examples(path: Path) -> list[Example]:
    """Read one file of labelled lines; empty lines count as none.

    :raises SettingsError: When the file cannot be read, or with the number of the first line that is no example.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        detail = f"the examples {path} cannot be read: {error.strerror}"
        raise SettingsError(detail, "correct feedback.sentiment.examples") from None
    return [_example(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]


def _example(line: bytes, path: Path, number: int) -> Example:
    try:
        found = _decoder.decode(line)
        if not found.text.strip():
            message = "the text is empty"
            raise ValueError(message)
        if len(found.text) > MOST_CHARACTERS:
            message = f"the text has more than {MOST_CHARACTERS} characters"
            raise ValueError(message)
        for name in (found.category, *found.topics):
            checked_name(name)
    except ValueError as error:  # msgspec's errors and those of Unicode are such
        detail = f"{path}, line {number}: {' '.join(str(error).split())}"
        raise SettingsError(detail, _SHAPE) from None
    return Example(found.text, found.category, tuple(dict.fromkeys(found.topics)), path, number)


def gather_examples(own: Sequence[Path], categories: Sequence[str], *, shipped: bool = True) -> list[Example]:
    """Read all examples of `categories`: a line of one's own stands in for an earlier one with the same text.

    Lines that come with Headrace are left out where their category is not wanted.

    :arg shipped: Whether those that come with Headrace count.
    :raises SettingsError: When a line is bad, is of another category, or a category has fewer than two lines.
    """
    examples: dict[str, Example] = {}
    if shipped:
        examples = {_same(one.text): one for one in read_examples(SHIPPED) if one.category in categories}
    for path in own:
        for one in read_examples(path):
            if one.category not in categories:
                detail = f"{path}, line {one.line}: {one.category!r} is none of {', '.join(categories)}"
                raise SettingsError(detail, "correct it, or add it to feedback.sentiment.categories")
            examples[_same(one.text)] = one
    count = dict.fromkeys(categories, 0)
    for one in examples.values():
        count[one.category] += 1
    scarce = [name for name, lines in count.items() if lines < 2]  # noqa: PLR2004  # one is no class to learn from
    if scarce:
        detail = f"the category {scarce[0]!r} of feedback.sentiment has {count[scarce[0]]} labelled lines"
        raise SettingsError(detail, "name a file with lines of it in feedback.sentiment.examples; 50 are a good begin")
    return list(examples.values())


def topics_of(examples: Sequence[Example], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the topics to be told: `wanted`, or all that the examples name, sorted.

    :raises SettingsError: When no example names a topic that is wanted.
    """
    named = {topic for one in examples for topic in one.topics}
    unknown = [topic for topic in wanted if topic not in named]
    if unknown:
        detail = f"no labelled line names the topic {unknown[0]!r} of feedback.sentiment.topics"
        raise SettingsError(detail, "add lines that do, in a file that feedback.sentiment.examples names")
    return tuple(wanted) or tuple(sorted(named))


def _same(text: str) -> str:
    return " ".join(text.casefold().split())
