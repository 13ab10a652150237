"""Strict JSON: an object with a key twice is refused, because every reader keeps another of the two.

The check is cheap where all is well. What a reader made of the event is written again: where that gives the same bytes,
nothing was lost. Otherwise members are counted. In JSON without blanks before its colons, every member writes the two
characters quote and colon once, and a text writes them only behind a backslash. Their count can therefore not be lower
than the number of members, nor that lower than the number of distinct keys: where both ends are equal, no key came
twice. Any other event is read again, slowly, with every key in view.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec

from events.errors import RejectedError

MAX_DEPTH = 100
"""Levels of objects and lists: what is deeper would harm those that write it again."""

_REMEDY = "send one JSON object per event, encoded in UTF-8"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_into = msgspec.json.Encoder().encode_into
_again = bytearray(4096)
"""Where events are written again. Threads may share it: bytes that were written here have no key twice, whoever did."""


def read_json(raw: bytes) -> Any:
    """Return what `raw` says: dicts, lists, texts, numbers, truth values and None.

    :raises RejectedError: When it is not JSON in UTF-8, cannot be read for its depth, has a lone surrogate (half a
        character) or an object with a key twice.
    """
    try:
        decoded = _decode(raw)
    except UnicodeDecodeError as error:
        message = f"not UTF-8: {error.reason}"
        raise RejectedError(message, _REMEDY) from None
    except msgspec.DecodeError as error:
        message = f"not JSON: {error}"
        if raw[:1] == b"\0":
            message = "not JSON, but the binary form of a schema registry"
            raise RejectedError(message, "set the converters of the connector to JsonConverter") from None
        raise RejectedError(message, _REMEDY) from None
    except RecursionError:
        raise _too_deep() from None
    _encode_into(decoded, _again)
    if _again != raw:
        reject_duplicate_keys(raw, decoded)
    return decoded


def reject_depth(decoded: Any) -> None:
    """Check that `decoded` has no more than `MAX_DEPTH` levels.

    :raises RejectedError: When it has.
    """
    level = [decoded]
    for _ in range(MAX_DEPTH + 1):
        level = [value for value in level if type(value) is dict or type(value) is list]
        if not level:
            return
        level = [below for value in level for below in (value.values() if type(value) is dict else value)]
    raise _too_deep()


def _too_deep() -> RejectedError:
    return RejectedError("nested too deeply", f"flatten it at its source: at most {MAX_DEPTH} levels are read")


def reject_duplicate_keys(raw: bytes, decoded: Any) -> None:
    """Check that no object in `raw` has a key twice.

    :arg raw: Valid JSON, in UTF-8.
    :arg decoded: What a reader that keeps one of each made of it, with every object whole.
    :raises RejectedError: Naming the key.
    """
    if written_members(raw) != members(decoded) and _encode(decoded) != raw:
        _read_slowly(raw)


def written_members(raw: bytes) -> int | None:
    """Count the members of all objects in `raw` as they are written; None where they cannot be counted quickly."""
    # The other blanks cannot be in a text: one search each finds none at the speed of memory.
    if b" :" in raw or b"\n" in raw or b"\t" in raw or b"\r" in raw:
        return None
    count = raw.count(b'":')
    if b'\\":' in raw:
        # A key that ends in a backslash looks like a quote in a text.
        if b'\\\\":' in raw:
            return None
        count -= raw.count(b'\\":')
    return count


def members(decoded: Any) -> int:
    """Count the keys of all objects in `decoded`, however deep."""
    count = 0
    waiting = [decoded]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            count += len(value)
            waiting.extend(value.values())
        elif type(value) is list:
            waiting.extend(value)
    return count


def _read_slowly(raw: bytes) -> None:
    try:
        json.loads(raw, object_pairs_hook=_distinct)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        message = f"not JSON: {error}"
        raise RejectedError(message, _REMEDY) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        message = f"the key {twice!r} occurs twice in one JSON object"
        raise RejectedError(message, "let the producer write each key once")
    return made
