"""Compressions of Kafka, by the numbers that batches call them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any

from stores.log.kafka.explain import no_codec

NUMBERS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""Numbers of compressions in the attributes of a batch."""

MOST_BYTES = 2**28
"""What a batch may be when it is unpacked: far more than producers put into one, and far less than memory."""

_PART_BYTES = 2**20
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
    :raises ValueError: When there is no such compression, or more comes out than `MOST_BYTES`; other errors when the
        bytes are damaged.
    """
    from kafka import codec

    name = _NAMES.get(number, "")
    if name == "gzip":
        return _bounded(gzip.GzipFile(fileobj=io.BytesIO(body)).read)
    present = {"snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}.get(name)
    if present is None:
        message = f"no compression has the number {number}"
        raise ValueError(message)
    if not present():
        raise no_codec(name)
    if name == "zstd":
        return _unpacked_zstd(body)
    return bytes(codec.snappy_decode(body) if name == "snappy" else codec.lz4_decode(body))


def _unpacked_zstd(body: bytes) -> bytes:
    # Who compresses as it writes cannot say in the frame's head how much it will be; the library takes 1 MiB then.
    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
            return _bounded(reader.read)
    except zstandard.ZstdError as error:
        message = "its zstd frame is damaged"
        raise ValueError(message) from error


def _bounded(read: Callable[[int], bytes]) -> bytes:
    """Read to the end.

    :raises ValueError: When that is further than `MOST_BYTES`.
    """
    parts: list[bytes] = []
    size = 0
    while part := read(_PART_BYTES):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            message = f"it unpacks to more than {MOST_BYTES} bytes"
            raise ValueError(message)
    return b"".join(parts)
