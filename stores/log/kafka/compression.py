"""Compressions of Kafka, by the numbers that batches call them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

from stores.log.kafka.explain import no_codec

NUMBERS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""Numbers of compressions in the attributes of a batch."""

_NAMES = {number: name for name, number in NUMBERS.items()}


def packed(compression: str, body: bytes) -> bytes:
    """Compress by `gzip`, `lz4` or `zstd`.

    :raises MissingExtraError: When the package for it is not installed.
    """
    from kafka import codec

    if compression == "gzip":
        return gzip.compress(body, 6, mtime=0)
    pack: Callable[[bytes], Any] | None = codec.lz4_encode if compression == "lz4" else codec.zstd_encode
    if pack is None or not (codec.has_lz4() if compression == "lz4" else codec.has_zstd()):
        raise no_codec(compression)
    return bytes(pack(body))


def unpacked(number: int, body: bytes) -> bytes:
    """Undo the compression of that number.

    :raises HeadraceError: When the package for it is not installed.
    :raises ValueError: When there is no such compression; other errors when the bytes are damaged.
    """
    from kafka import codec

    if number == 1:
        return gzip.decompress(body)
    name = _NAMES.get(number, "")
    present = {"snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}.get(name)
    if present is None:
        message = f"no compression has the number {number}"
        raise ValueError(message)
    if not present():
        raise no_codec(name)
    unpack = {"snappy": codec.snappy_decode, "lz4": codec.lz4_decode, "zstd": codec.zstd_decode}[name]
    return bytes(unpack(body))
