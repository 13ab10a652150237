"""Record batches of Kafka, to bytes: those that `batches` reads, and every other client too.

The format is "Record Batch" and "Record" in the protocol guide of Apache Kafka (magic 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from google_crc32c import value as crc32c

from stores.log.kafka.client import Outgoing
from stores.log.kafka.compression import NUMBERS, packed

_UNCHECKED = 9
"""Bytes of a batch that its length counts and its checksum does not: leader epoch, magic and the checksum itself."""


def encode(messages: Sequence[Outgoing], compression: str) -> bytes:
    """Return one batch of messages, in their order.

    :arg compression: `none`, `gzip`, `lz4` or `zstd`.
    :raises MissingExtraError: When the package for it is not installed.
    """
    first = messages[0].timestamp
    body = b"".join(_encoded(messages, first))
    codec = NUMBERS[compression]
    if codec:
        body = packed(compression, body)
    last = len(messages) - 1
    newest = max(message.timestamp for message in messages)
    # Producer, epoch and sequence: none, as the broker does not look for repeats.
    checked = struct.pack(">hiqqqhii", codec, last, first, newest, -1, -1, -1, len(messages)) + body
    head = struct.pack(">qiibI", 0, len(checked) + _UNCHECKED, -1, 2, crc32c(checked))
    return head + checked


def _encoded(messages: Sequence[Outgoing], first: int) -> Iterable[bytes]:
    number = _number
    for delta, (_, key, value, timestamp, headers) in enumerate(messages):
        parts = [b"\x00", number(timestamp - first), number(delta)]
        if key is None:
            parts.append(b"\x01")
        else:
            parts += (number(len(key)), key)
        if value is None:
            parts.append(b"\x01")
        else:
            parts += (number(len(value)), value)
        parts.append(number(len(headers)))
        for name, text in headers:
            raw = name.encode()
            parts += (number(len(raw)), raw, number(len(text)), text)
        record = b"".join(parts)
        yield number(len(record))
        yield record


def _write_number(number: int) -> bytes:
    """Return a varint in zigzag: small numbers of either sign are short."""
    number = (number << 1) ^ (number >> 63)
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


_SMALL = [_write_number(number) for number in range(4096)]


def _number(number: int) -> bytes:
    return _SMALL[number] if 0 <= number < len(_SMALL) else _write_number(number)
