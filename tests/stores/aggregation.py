"""Aggregated records as the Kinesis Producer Library writes them, for tests."""

from __future__ import annotations

import hashlib


def aggregate(*records: tuple[str, int | None, bytes]) -> bytes:
    """Return the aggregated record of partition keys, explicit hash keys and data."""
    keys = sorted({key for key, _, _ in records})
    hashes = sorted({str(hash_key) for _, hash_key, _ in records if hash_key is not None})
    message = b"".join(_bytes(1, key.encode()) for key in keys) + b"".join(_bytes(2, each.encode()) for each in hashes)
    for key, hash_key, data in records:
        place = b"" if hash_key is None else _number(2, hashes.index(str(hash_key)))
        message += _bytes(3, _number(1, keys.index(key)) + place + _bytes(3, data))
    return bytes([0xF3, 0x89, 0x9A, 0xC2]) + message + hashlib.md5(message, usedforsecurity=False).digest()


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    rest, low = divmod(value, 128)
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
