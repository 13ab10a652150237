"""Records of Kinesis that the Kinesis Producer Library has put together into one.

Read with its document "KPL aggregated record format": four magic bytes, a message of Protocol Buffers, the MD5 of that
message. Invariant: what is not exactly that is an ordinary record, and stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\xf3\x89\x9a\xc2"

_DIGEST_BYTES = 16
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_SHIFT = 63
_PARTITION_KEYS, _HASH_KEYS, _RECORDS = 1, 2, 3
_PARTITION_KEY_INDEX, _HASH_KEY_INDEX, _DATA = 1, 2, 3


class UserRecord(NamedTuple):
    """One of the records within.

    :arg hash_key: Where it belongs among the shards' ranges: its explicit hash key, else that of its partition key.
    """

    partition_key: str
    hash_key: int
    data: bytes


def hash_key_of(partition_key: str) -> int:
    """Return the place of a partition key among the shards' ranges: its MD5, as a number of 128 bits."""
    return int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")


def user_records(data: bytes) -> list[UserRecord] | None:
    """Return the records within an aggregated one; None if it is an ordinary record."""
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + _DIGEST_BYTES:
        return None
    message, digest = data[len(MAGIC) : -_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        return None
    try:
        return _records_of(message)
    except ValueError:
        return None


def _records_of(message: bytes) -> list[UserRecord]:
    partition_keys: list[str] = []
    hash_keys: list[int] = []
    records: list[bytes] = []
    for field, value in _fields(message):
        if field == _PARTITION_KEYS:
            partition_keys.append(_bytes(value).decode())
        elif field == _HASH_KEYS:
            hash_keys.append(int(_bytes(value)))
        elif field == _RECORDS:
            records.append(_bytes(value))
    # Most records of one aggregate share a few keys.
    natural = [hash_key_of(key) for key in partition_keys]
    return [_record_of(record, partition_keys, natural, hash_keys) for record in records]


def _record_of(message: bytes, partition_keys: list[str], natural: list[int], hash_keys: list[int]) -> UserRecord:
    key, hash_key, data = -1, -1, None
    for field, value in _fields(message):
        if field == _PARTITION_KEY_INDEX:
            key = _number(value)
        elif field == _HASH_KEY_INDEX:
            hash_key = _number(value)
        elif field == _DATA:
            data = _bytes(value)
    if data is None or not 0 <= key < len(partition_keys) or hash_key >= len(hash_keys):
        raise ValueError(message)
    return UserRecord(partition_keys[key], natural[key] if hash_key < 0 else hash_keys[hash_key], data)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError(value)


def _number(value: int | bytes) -> int:
    if isinstance(value, int):
        return value
    raise ValueError(value)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Read the fields of a message; those that nobody here knows are among them.

    :raises ValueError: When it is no message.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(kind)
        if at + size > end:
            raise ValueError(size)
        yield field, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift <= _MAX_SHIFT and at < len(message):
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the eighth bit says that another byte follows
            return number, at
        shift += 7
    raise ValueError(at)
