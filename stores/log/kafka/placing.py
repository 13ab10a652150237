"""Which partition a key falls into: the same as for every other producer of Kafka, in every process."""

from __future__ import annotations

import struct
from functools import lru_cache

_SEED, _FACTOR, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of `key` among so many, as Kafka's default partitioner does."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=65_536)
def murmur2(key: bytes) -> int:
    """Return the MurmurHash2 (32 bits) of `key` with the seed of Kafka (`Utils.murmur2` of its Java client)."""
    size = len(key)
    whole = size // 4
    mixed = _SEED ^ size
    for word in struct.unpack_from(f"<{whole}I", key):
        part = word * _FACTOR & _MASK
        part = (part ^ part >> 24) * _FACTOR & _MASK
        mixed = (mixed * _FACTOR & _MASK) ^ part
    rest = key[4 * whole :]
    if rest:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * _FACTOR & _MASK
    mixed = (mixed ^ mixed >> 13) * _FACTOR & _MASK
    return mixed ^ mixed >> 15
