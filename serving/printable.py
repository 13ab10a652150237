"""Values as text on a terminal or in a picture: a value is no command to whatever shows it."""

from __future__ import annotations

from typing import Any

import msgspec

from events.clock import to_iso

LONGEST = 300
"""Characters of a value that a terminal shows; whoever wants all of it asks for JSON."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def printable(text: str) -> str:
    """Return the text with a mark in place of each letter that cannot be seen as it is."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def shown(value: Any) -> str:
    """Write a value for people: texts as they are, nothing for null, everything else as JSON."""
    if value is None:
        return ""
    return printable(value if isinstance(value, str) else _encode(value).decode())


def in_short(value: Any) -> str:
    """Write a value for people as `shown` does, of a very long one the beginning only."""
    text = shown(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters; --json has all)"


def counted(number: int, one: str, many: str) -> str:
    """Write how many there are of something."""
    return f"{number:,} {one if number == 1 else many}"


def json_text(value: Any) -> str:
    """Write plain data as JSON; decimals stay exact, as a number in JSON has as many digits as it needs."""
    return _encode(value).decode()


def moment(millis: int) -> str:
    """Write a moment for people, to the second, in UTC; as a number if it is beyond what calendars have."""
    try:
        return to_iso(millis)[:19].replace("T", " ")
    except (ValueError, OverflowError, OSError):
        return str(millis)
