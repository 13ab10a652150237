"""A text as it would be typed by hand: what hides personal data from a search is taken away, with the way back.

Full-width letters, the digits of other scripts, dashes and blanks of all kinds become plain ones, and characters that
nobody sees are left out. Every character knows its place in the text that it was made of.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec


class Seen(msgspec.Struct, frozen=True):
    """A text as it is searched.

    :arg places: For each character where it begins in the original.
    """

    text: str
    places: Sequence[int]

    def original(self, begin: int, end: int) -> tuple[int, int]:
        """Return from where to where a part of it lies in the original."""
        return self.places[begin], self.places[end - 1] + 1


def seen(text: str) -> Seen:
    """Return a text as it is searched."""
    if text.isascii():
        return Seen(text, range(len(text)))
    letters: list[str] = []
    places: list[int] = []
    for place, letter in enumerate(text):
        plain = letter if letter.isascii() else _plain(letter)
        if plain:
            letters.append(plain)
            places.append(place)
    return Seen("".join(letters), places)


def _plain(letter: str) -> str:
    category = unicodedata.category(letter)
    if category == "Cf" or "\ufe00" <= letter <= "\ufe0f":
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(letter))
    if category[0] == "Z":
        return " "
    if category == "Pd" or letter == "\u2212":
        return "-"
    alike = unicodedata.normalize("NFKC", letter)
    return alike if len(alike) == 1 else letter
