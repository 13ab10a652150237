"""Personal data of texts, replaced by placeholders: `[EMAIL_1]` is the same address throughout a conversation.

Found are e-mail addresses, telephone numbers with a country (of the region of the settings also without), bank accounts
and payment cards by their checksums, addresses of machines, what the patterns of the settings match, and the names and
identifiers that are known of the conversation's persons. Not found are names of other people, postal addresses, dates
of birth and everything else that is written freely: who needs that adds patterns, or has people look at it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from serving.finetune.mails import mails
from serving.finetune.numbers import Hit, addresses, cards, ibans, phones
from serving.finetune.seen import Seen, seen
from stores.bounded_patterns import bounded
from stores.export_settings import ExportSettings

Finder: TypeAlias = "Callable[[str], Iterable[Hit]]"

_PLACEHOLDER = re.compile(r"\[([A-Z][A-Z0-9_]{0,30})_(\d{1,9})\]", re.ASCII)
_SHORTEST_ANY_CASE = 4


class Known(msgspec.Struct, frozen=True):
    """A text that is known to name somebody.

    :arg kind: NAME or ID.
    :arg of: What it is a part or another way of, such as the whole name: they get the same placeholder.
    """

    kind: str
    text: str
    of: str


class Scrubber:
    """Scrubs texts by the rules of the settings.

    :arg region: Country of telephone numbers that have none; empty: they are not found.
    """

    def __init__(self, rules: ExportSettings, region: str) -> None:
        self._finders: list[tuple[str, Finder]] = [
            (one.name, _matching(bounded(one.pattern, ignore_case=one.ignore_case))) for one in rules.patterns
        ]
        own: dict[str, Finder] = {
            "email": mails,
            "iban": ibans,
            "card": cards,
            "ip": addresses,
            "phone": lambda text: phones(text, region),
        }
        self._finders += [(kind.upper(), find) for kind, find in own.items() if kind in rules.scrub]
        self._knows = "known" in rules.scrub
        self.counts: Counter[str] = Counter()

    def conversation(self, known: Sequence[Known] = ()) -> Callable[[str], str]:
        """Return what scrubs the texts of one conversation, in their order.

        :arg known: What is known to name its persons.
        """
        finders = [*self._finders]
        if self._knows:
            # What is found by itself goes first: a name within an address is part of it.
            longest_first = sorted(set(known), key=lambda one: (-len(one.text), one.text, one.kind, one.of))
            finders += [(one.kind, _naming(one)) for one in longest_first]
        numbers: dict[tuple[str, str], int] = {}
        done: dict[str, str] = {}

        def scrubbed(text: str) -> str:
            # What was said first stands before every later answer again.
            if text not in done:
                done[text] = replaced(text)
            return done[text]

        def replaced(text: str) -> str:
            looked = seen(text)
            parts: list[str] = []
            end = 0
            for begin, until, kind, value in _apart(text, looked, finders):
                number = numbers.setdefault((kind, value), 1 + sum(one == kind for one, _ in numbers))
                parts += [text[end:begin], f"[{kind}_{number}]"]
                end = until
                self.counts[kind] += 1
            return "".join([*parts, text[end:]])

        return scrubbed


def renumbered(texts: Sequence[str]) -> list[str]:
    """Return texts with their placeholders counted anew from 1 on, so that those of two conversations compare."""
    numbers: dict[tuple[str, str], int] = {}

    def anew(match: re.Match[str]) -> str:
        kind = match[1]
        number = numbers.setdefault((kind, match[2]), 1 + sum(one == kind for one, _ in numbers))
        return f"[{kind}_{number}]"

    return [_PLACEHOLDER.sub(anew, text) for text in texts]


def _apart(text: str, looked: Seen, finders: Iterable[tuple[str, Finder]]) -> Iterator[tuple[int, int, str, str]]:
    """Yield what was found, in its order in the original; what overlaps is one, called as what goes first.

    So is what stands beside itself, such as the two words of a name.
    """
    found = [
        (*looked.original(begin, end), rank, kind, value)
        for rank, (kind, find) in enumerate(finders)
        for begin, end, value in find(looked.text)
    ]
    found.sort()
    at = 0
    while at < len(found):
        begin, end, rank, kind, value = found[at]
        at += 1
        while at < len(found):
            next_, later, other, called, what = found[at]
            beside = (called, what) == (kind, value) and text[end:next_].isspace()
            if next_ >= end and not beside:
                break
            if other < rank:
                rank, kind, value = other, called, what
            end = max(end, later)
            at += 1
        yield begin, end, kind, value


def _matching(pattern: re.Pattern[str]) -> Finder:
    def find(text: str) -> Iterator[Hit]:
        for match in pattern.finditer(text):
            if match[0]:
                yield match.start(), match.end(), match[0].casefold()

    return find


def _naming(known: Known) -> Finder:
    words = [re.escape(word) for word in seen(known.text).text.split()]
    flags = re.IGNORECASE if len(known.text) >= _SHORTEST_ANY_CASE else 0
    pattern = re.compile(r"(?<!\w)" + r"\s{1,3}".join(words) + r"(?!\w)" if words else r"(?!)", flags)
    return lambda text: ((found.start(), found.end(), known.of) for found in pattern.finditer(text))
