"""Records as lines of JSON: a value that is JSON stands there as it is, anything else is told by an object.

    {"headrace": {"stream": …, "partition": …, "offset": …, "time": …, "key" or "key_b64": …}, "value_b64": …}

`"value": null` in place of `value_b64` stands for a tombstone.
"""

from __future__ import annotations

import base64

import msgspec

from events.log import LogRecord

_check = msgspec.json.Decoder(msgspec.Raw).decode
_SPACES = bytes.maketrans(b"\r\n", b"  ")


def as_line(record: LogRecord) -> bytes:
    """Return a record as one line, with its newline."""
    value = record.value
    if value is not None and _is_json(value):
        # In JSON, line breaks stand between its parts only: a space means the same.
        return value.translate(_SPACES) + b"\n"
    told: dict[str, object] = {
        "headrace": {
            "stream": record.stream,
            "partition": record.partition,
            "offset": record.offset,
            "time": record.event_time,
            **_key(record.key),
        }
    }
    if value is None:
        told["value"] = None
    else:
        told["value_b64"] = base64.b64encode(value).decode()
    return msgspec.json.encode(told) + b"\n"


def _is_json(value: bytes) -> bool:
    try:
        _check(value)
        value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _key(key: bytes | None) -> dict[str, str]:
    if key is None:
        return {}
    try:
        return {"key": key.decode()}
    except UnicodeDecodeError:
        return {"key_b64": base64.b64encode(key).decode()}
