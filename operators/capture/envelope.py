"""The parts of Debezium's change events that do not depend on what database they are of, as JSON in bytes.

Objects are written by templates: what all rows of a table share is put together once, and a row fills in its values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

import msgspec

NULL = b"null"
UNAVAILABLE = b'"__debezium_unavailable_value"'
"""Stands for a value that the database did not send because it has not changed."""

to_json = msgspec.json.Encoder().encode

Convert = Callable[[bytes], bytes]
"""Makes of a database's text of a value, other than null, its JSON. Never raises."""


def text(raw: bytes) -> bytes:
    r"""Write a text. Bytes that are no UTF-8, which a database in SQL_ASCII may hold, are written as `\xff`."""
    try:
        return to_json(raw.decode())
    except UnicodeDecodeError:
        return to_json(raw.decode(errors="backslashreplace"))


def object_template(names: Iterable[str]) -> bytes:
    """Return the object whose members are `names`, with a place for the JSON of each value: `template % values`."""
    return b"{%b}" % b",".join(to_json(name).replace(b"%", b"%%") + b":%b" for name in names)


def members(named: Sequence[tuple[str, object]]) -> bytes:
    """Return the members of an object, without its braces."""
    return b",".join(b"%b:%b" % (to_json(name), to_json(value)) for name, value in named)


def times(micros: int) -> bytes:
    """Return the three members by which an event says when it was (µs since 1970-01-01 UTC)."""
    return b'"ts_ms":%d,"ts_us":%d,"ts_ns":%d' % (micros // 1000, micros, micros * 1000)


@functools.cache
def connector_version() -> str:
    """Return what events say as the version of what made them."""
    try:
        return version("headrace")
    except PackageNotFoundError:
        return "0"
