"""How values are written in events, by name: what `columns` of a live table may say of a column.

An encoding is a function from the value that the JSON had to the value that a row has (`events.changes.Row`). It is
never called with None, raises ValueError with what is wrong, and leaves alone what already is what it would return, so
that a change of the connector's modes does not break a setting. The names, and the mode of Debezium that they are for:

    decimal             text or number: decimal.handling.mode=string, double
    decimal-base64:N    base64 of the unscaled number, with N digits behind the point: precise, where the column has a
                        scale; `decimal-base64:0` is bigint.unsigned.handling.mode=precise
    decimal-variable    an object of scale and value: precise, where the column has no scale
    date-days           days since 1970-01-01: time.precision.mode=adaptive, connect and others
    time-millis, time-micros, time-nanos                 since midnight
    timestamp-millis, timestamp-micros, timestamp-nanos  since 1970-01-01T00:00:00, without a zone
    instant-millis, instant-micros, instant-nanos        the same in UTC
    zoned-timestamp, zoned-time                          ISO 8601 with an offset; becomes UTC
    iso-date, iso-time, iso-timestamp                    time.precision.mode=isostring: their Z says nothing, and goes
    micro-duration, nano-duration                        interval.handling.mode=numeric
    bytes-base64, bytes-base64url, bytes-hex             binary.handling.mode=bytes or base64, base64-url-safe, hex
    json                JSON within a text: hstore.handling.mode=json, columns of type json
    uuid, text, bool    what they say; for `bool`, numbers 0 and 1 too
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from functools import partial
from typing import Any

from events.changes import Row
from events.errors import RejectedError, SettingsError
from operators.changes.duplicate_keys import read_json, reject_depth
from operators.changes.rules import TableRules
from operators.changes.temporal import date_text, duration_text, time_text, timestamp_text, utc_text, utc_time_text

Read = Callable[[Any], Any]
"""Makes of a value in an event, other than None, the value of a row; raises ValueError."""

MILLIS, MICROS, NANOS = 10**3, 10**6, 10**9

MAX_UNSCALED = 65_536
"""Bytes of the longest number that is read: more digits than any database's widest."""
MAX_SCALE = 200_000

_EXACT = Context(prec=MAX_SCALE, Emax=MAX_EMAX, Emin=MIN_EMIN)
_SHOWN = 80
_NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})


def encoding(name: str) -> Read:
    """Return the encoding of that name.

    :raises ValueError: When there is none; lists the names.
    """
    found = _ENCODINGS.get(name)
    if found is not None:
        return found
    base, _, scale = name.partition(":")
    if base == "decimal-base64" and re.fullmatch(r"-?\d{1,5}", scale):
        return partial(decimal_of_base64, int(scale))
    message = f"{name!r} is no encoding; the encodings are {', '.join([*_ENCODINGS, 'decimal-base64:SCALE'])}"
    raise ValueError(message)


def readers_of(rules: TableRules) -> dict[str, Read]:
    """Return the encodings that a table's rules name, by column.

    :raises SettingsError: When there is no such encoding.
    """
    try:
        return {column: encoding(name) for column, name in rules.columns.items()}
    except ValueError as error:
        message = f"tables.live.columns: {error}"
        raise SettingsError(message, "correct the name") from None


def read_columns(row: Row, readers: Mapping[str, Read]) -> None:
    """Decode, in place, the columns of `row` that have a reader.

    :raises RejectedError: When a value does not fit; names the column.
    """
    for column, read in readers.items():
        value = row.get(column)
        if value is None:
            continue
        try:
            row[column] = read(value)
        except (ValueError, OverflowError) as error:
            message = f"the column {column!r} does not fit its type: {error}"
            raise RejectedError(message, "correct the column's encoding in [[tables.live]], or the event") from None


def whole(value: Any) -> int:
    """Return `value` if it is a whole number."""
    if type(value) is not int:
        raise ValueError(_unfit(value, "a whole number"))
    return value


def text(value: Any) -> str:
    """Return `value` if it is text."""
    if type(value) is not str:
        raise ValueError(_unfit(value, "text"))
    return value


def truth(value: Any) -> bool:
    """Return True and False for themselves, and for 1 and 0."""
    if type(value) is bool or (type(value) is int and value in {0, 1}):
        return bool(value)
    raise ValueError(_unfit(value, "true or false"))


def decimal_of_text(value: Any) -> Decimal | str:
    """Read a number that is written as text or as a number; NaN and the infinities stay texts."""
    if type(value) is Decimal:
        return value
    if type(value) is str and value in _NO_NUMBERS:
        return str(value)
    if type(value) is float:
        # The shortest text of a float is what was written, where it had 15 digits or fewer.
        return Decimal(repr(value))
    if type(value) is int or (type(value) is str and value.isascii()):
        try:
            made = Decimal(value)
        except InvalidOperation:
            raise ValueError(_unfit(value, "a number")) from None
        if made.is_finite():
            return made
    raise ValueError(_unfit(value, "a number"))


def decimal_of_base64(scale: int, value: Any) -> Decimal | str:
    """Read the unscaled number, two's complement, highest byte first; what is a number already is taken as it is."""
    if type(value) is not str or value in _NO_NUMBERS:
        return decimal_of_text(value)
    return decimal_of_bytes(unbase64(value), scale)


def decimal_of_parts(value: Any) -> Decimal | str:
    """Read `{"scale": 2, "value": base64}`, Debezium's VariableScaleDecimal."""
    if type(value) is not dict:
        return decimal_of_text(value)
    scale, unscaled = value.get("scale"), value.get("value")
    if type(scale) is not int or type(unscaled) is not str:
        raise ValueError(_unfit(value, "an object of a scale and a value"))
    return decimal_of_bytes(unbase64(unscaled), scale)


def decimal_of_bytes(unscaled: bytes, scale: int) -> Decimal:
    """Return the number whose digits `unscaled` holds, `scale` of them behind the point."""
    if len(unscaled) > MAX_UNSCALED or not -MAX_SCALE <= scale <= MAX_SCALE:
        message = f"a number of {len(unscaled)} bytes and scale {scale} is too long"
        raise ValueError(message)
    return _EXACT.scaleb(Decimal(int.from_bytes(unscaled, "big", signed=True)), -scale)


def unbase64(value: str) -> bytes:
    """Return the bytes that `value` holds."""
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise ValueError(_unfit(value, "base64")) from None


def _days(value: Any) -> str:
    return value if type(value) is str else date_text(whole(value))


def _time(per_second: int, value: Any) -> str:
    return value if type(value) is str else time_text(whole(value), per_second)


def _timestamp(per_second: int, value: Any) -> str:
    return value if type(value) is str else timestamp_text(whole(value), per_second)


def _instant(per_second: int, value: Any) -> str:
    if type(value) is str:
        return utc_text(value)
    made = timestamp_text(whole(value), per_second)
    return made if made.endswith("y") else f"{made}Z"


def _duration(per_second: int, value: Any) -> str:
    return value if type(value) is str else duration_text(whole(value), per_second)


def _zoned(value: Any) -> str:
    return utc_text(text(value))


def _zoned_time(value: Any) -> str:
    return utc_time_text(text(value))


def _zoneless(value: Any) -> str:
    return text(value).removesuffix("Z")


def _base64(value: Any) -> str:
    return base64.b64encode(unbase64(text(value))).decode()


def _base64url(value: Any) -> str:
    return _base64(text(value).replace("-", "+").replace("_", "/"))


def _hex(value: Any) -> str:
    try:
        return base64.b64encode(binascii.unhexlify(text(value))).decode()
    except ValueError:
        raise ValueError(_unfit(value, "hexadecimal")) from None


def _json(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        made = read_json(value.encode())
        reject_depth(made)
    except RejectedError as error:
        message = f"the JSON in it: {error.detail}"
        raise ValueError(message) from None
    return made


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(text(value)))
    except ValueError:
        raise ValueError(_unfit(value, "a UUID")) from None


def _unfit(value: Any, wanted: str) -> str:
    # repr() of a long text is as long again.
    shown = repr(value[:_SHOWN] if type(value) is str else value)
    return f"{shown[:_SHOWN]} is not {wanted}"


_ENCODINGS: dict[str, Read] = {
    "decimal": decimal_of_text,
    "decimal-variable": decimal_of_parts,
    "date-days": _days,
    "time-millis": partial(_time, MILLIS),
    "time-micros": partial(_time, MICROS),
    "time-nanos": partial(_time, NANOS),
    "timestamp-millis": partial(_timestamp, MILLIS),
    "timestamp-micros": partial(_timestamp, MICROS),
    "timestamp-nanos": partial(_timestamp, NANOS),
    "instant-millis": partial(_instant, MILLIS),
    "instant-micros": partial(_instant, MICROS),
    "instant-nanos": partial(_instant, NANOS),
    "zoned-timestamp": _zoned,
    "zoned-time": _zoned_time,
    "iso-date": _zoneless,
    "iso-time": _zoneless,
    "iso-timestamp": _zoneless,
    "micro-duration": partial(_duration, MICROS),
    "nano-duration": partial(_duration, NANOS),
    "bytes-base64": _base64,
    "bytes-base64url": _base64url,
    "bytes-hex": _hex,
    "json": _json,
    "uuid": _uuid,
    "text": text,
    "bool": truth,
}
