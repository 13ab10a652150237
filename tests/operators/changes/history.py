"""What happens to rows, whatever the format, and how an encoder puts it into a record of the log."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from events.changes import Row
from events.log import LogRecord

STREAM = "changes"


class Event(msgspec.Struct, frozen=True):
    """What was done to one row.

    :arg seq: Place in the history, from 1; no two events have the same.
    :arg time: When it was committed (ms since epoch).
    :arg unavailable: Columns of the row that are not in `after` as their value has not changed.
    """

    op: Literal["create", "update", "delete", "read", "truncate"]
    table: str
    key: Row
    before: Row | None
    after: Row | None
    seq: int
    time: int
    unavailable: tuple[str, ...] = ()

    @property
    def old_key(self) -> Row:
        """The key before: another one than `key` if the event changed it."""
        if self.before is None:
            return self.key
        return {column: self.before.get(column, value) for column, value in self.key.items()}


_encode = msgspec.json.Encoder().encode


def _json(value: Any) -> bytes:
    """Write JSON with decimals as numbers, to the last digit."""
    return _encode(_digits(value))


def _digits(value: Any) -> Any:
    if isinstance(value, Decimal):
        return msgspec.Raw(str(value).encode())
    if isinstance(value, dict):
        return {name: _digits(item) for name, item in value.items()}
    return [_digits(item) for item in value] if isinstance(value, list) else value


def record_of(event: Event, key: Any, value: Any) -> LogRecord:
    """Put key and value into a record; what is None stays None."""
    return LogRecord(
        STREAM,
        0,
        0,
        event.time,
        None if key is None else _json(key),
        None if value is None else _json(value),
    )
