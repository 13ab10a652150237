"""One line of the log on files: the bytes that went in come back exactly, or the line says what is wrong with it.

A line is a JSON object: `time` (ms since 1970-01-01 UTC; ISO 8601 is read too), `key` or `key_b64` (or none),
`value` or `value_b64`, `headers`. A value that is JSON stands in it as it is; `"value":null` is a tombstone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from events.clock import to_millis
from events.erasure import ERASED
from events.errors import RejectedError
from events.log import BROKEN, LogRecord

KEPT_BYTES = 64 * 2**10
"""How much of a line that is too long its broken record carries."""

_EARLIEST = -62_135_596_800_000  # year 1
_LATEST = 253_402_300_799_999  # year 9999
_DATE_CHARACTERS = 10
_SPACE = frozenset(b" \t\n\r")
_MANY_BRACKETS = 100
_HEADROOM = 400
_CUT_OFF = "Input data was truncated"
_TORN = "the line ends midway, as if what wrote it had been stopped"
_DAMAGE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)


class _Timed(msgspec.Struct):
    time: Annotated[int, msgspec.Meta(ge=_EARLIEST, le=_LATEST)] | str


class _Line(_Timed, omit_defaults=True):
    key: str | None = None
    key_b64: bytes | None = None
    value: msgspec.Raw = msgspec.Raw()
    value_b64: bytes | None = None
    headers: dict[str, str] = {}


_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(_Line).decode
_read_time = msgspec.json.Decoder(_Timed).decode
_check = msgspec.json.Decoder(msgspec.Raw).decode
_ABSENT = b""
_NULL = b"null"
_ERASED_HEAD = f'{{"headers":{{"{ERASED}":""}},'.encode()


def encode(record: LogRecord) -> bytes:
    """Write `record` as one line, with its newline.

    :raises RejectedError: When its time or a header cannot be written.
    """
    if not _EARLIEST <= record.event_time <= _LATEST:
        detail = f"the event time {record.event_time} is not between the years 1 and 9999"
        raise RejectedError(detail, "event times are milliseconds since 1970-01-01 UTC")
    line = _Line(record.event_time, headers=record.headers)
    if record.key is not None:
        try:
            line.key = record.key.decode()
        except UnicodeDecodeError:
            line.key_b64 = record.key
    if record.value is None:
        line.value = msgspec.Raw(_NULL)
    elif _embeds(record.value):
        line.value = msgspec.Raw(record.value)
    else:
        line.value_b64 = record.value
    try:
        return _write(line) + b"\n"
    except UnicodeEncodeError:
        detail = "a header is not valid Unicode"
        raise RejectedError(detail, "remove the unpaired surrogates from the header") from None


def decode(line: bytes, stream: str, partition: int, offset: int) -> LogRecord | None:
    """Read a line without its newline; None if it is blank. A broken one keeps its bytes and names its fault."""
    try:
        fields = _read(line)
        value = bytes(fields.value)
        if value == _NULL:
            final = None
        elif value != _ABSENT:
            final = value
        elif fields.value_b64 is not None:
            final = fields.value_b64
        else:
            return broken(line, stream, partition, offset, "Object missing required field `value`")
        key = fields.key_b64 if fields.key is None else fields.key.encode()
        time = fields.time if isinstance(fields.time, int) else _millis(fields.time)
        return LogRecord(stream, partition, offset, time, key, final, fields.headers)
    except _DAMAGE as error:
        # A line that is being erased at this moment, its end not yet blank, says nothing any more.
        if line.startswith(_ERASED_HEAD) or not line.strip():
            return None
        return broken(line, stream, partition, offset, _TORN if str(error) == _CUT_OFF else str(error))


def erased(time: int | None, length: int) -> tuple[bytes, bytes]:
    """Return the two parts of what stands for an erased line of so many bytes, its newline not counted.

    Once the first part is in its place, readers pass over the line, whatever follows. A line too short for it is blank.

    :arg time: Its event time (ms since epoch), which stays; None if it had none.
    """
    head = _ERASED_HEAD + f'"time":{time or 0},"value":null}}'.encode()
    if len(head) > length:
        return b" " * length, b""
    return head, b" " * (length - len(head))


def broken(line: bytes, stream: str, partition: int, offset: int, fault: str) -> LogRecord:
    """Return the record that stands for a line which cannot be read; its event time is 0, for it has none."""
    return LogRecord(stream, partition, offset, 0, None, line, {BROKEN: fault})


def event_time(line: bytes) -> int | None:
    """Read the time of a line and nothing else; None if it is blank or broken."""
    try:
        time = _read_time(line).time
        return time if isinstance(time, int) else _millis(time)
    except _DAMAGE:
        return None


def _embeds(value: bytes) -> bool:
    """Whether `value` can stand in a line as it is and be cut out of it again, byte for byte."""
    if value == _NULL or not value or value[0] in _SPACE or value[-1] in _SPACE or b"\n" in value or b"\r" in value:
        return False
    try:
        _check(value)
        value.decode()  # the check of the structure leaves text unread
        if value.count(b"[") + value.count(b"{") > _MANY_BRACKETS:
            # The parser's depth is limited by the caller's stack: leave a reader with a deeper one some room.
            _check(b"[" * _HEADROOM + value + b"]" * _HEADROOM)
    except _DAMAGE:
        return False
    return True


def _millis(text: str) -> int:
    """Read ISO 8601; a time without a zone is UTC, a date is its first moment."""
    if len(text) == _DATE_CHARACTERS:
        text += "T00:00:00Z"
    return to_millis(msgspec.convert(text, datetime))
