"""Batches of records against kafka-python-ng's own reading and writing of them."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as murmur2_of_the_library
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from events.errors import StoreError
from events.log import LogRecord
from stores.log.kafka import compression
from stores.log.kafka.batch_writing import encode
from stores.log.kafka.batches import Reader, whole_until
from stores.log.kafka.client import Outgoing
from stores.log.kafka.placing import murmur2, partition_of

NOW = 1_760_000_000_000
CODECS = {"none": 0, "gzip": 1, "lz4": 3, "zstd": 4}
_CONTROL, _TRANSACTIONAL, _APPEND_TIME = 0x20, 0x10, 0x08

contents = st.one_of(st.none(), st.binary(max_size=300))
headers = st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.binary(max_size=200))), max_size=3)
messages = st.lists(
    st.tuples(st.integers(0, 2**42), contents, contents, headers),
    min_size=1,
    max_size=20,
)
names = st.sampled_from(sorted(CODECS))


def by_the_library(
    given: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]], base: int = 0, codec: int = 0
) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 2**30)
    for number, (timestamp, key, value, heads) in enumerate(given):
        assert builder.append(number, timestamp, key, value, heads)
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def with_attributes(batch: bytes, bits: int) -> bytes:
    """Set bits of a batch's attributes, and its checksum."""
    from google_crc32c import value as crc32c

    attributes = struct.unpack_from(">h", batch, 21)[0] | bits
    rest = struct.pack(">h", attributes) + batch[23:]
    return batch[:17] + struct.pack(">I", crc32c(rest)) + rest


def read_by_the_library(data: bytes) -> list[Any]:
    records: list[Any] = []
    batches = MemoryRecords(data)
    while batches.has_next():
        records += batches.next_batch()
    return records


def read_all(data: bytes, offset: int = 0) -> tuple[list[LogRecord], int]:
    reader = Reader(data, "topic", "stream", 3, offset)
    records: list[LogRecord] = []
    after = offset
    while (batch := reader.next()) is not None:
        records += batch[0]
        after = batch[1]
    return records, after


@given(messages, st.integers(0, 2**40), names)
def test_what_the_library_writes_is_read_as_the_library_reads_it(given: Any, base: int, codec: str) -> None:
    data = by_the_library(given, base, CODECS[codec])

    records, after = read_all(data, base)

    expected = read_by_the_library(data)
    assert [(r.offset, r.event_time, r.key, r.value) for r in records] == [
        (r.offset, r.timestamp, r.key, r.value) for r in expected
    ]
    assert [set(r.headers) for r in records] == [{name for name, _ in r.headers} for r in expected]
    assert {(r.stream, r.partition) for r in records} == {("stream", 3)}
    assert after == base + len(given) == whole_until(data)


@given(messages, names)
def test_what_is_written_is_read_by_the_library(given: Any, codec: str) -> None:
    outgoing = [
        Outgoing(0, key, value, timestamp, tuple((name, text or b"") for name, text in heads))
        for timestamp, key, value, heads in given
    ]

    data = encode(outgoing, codec)

    batch = MemoryRecords(data).next_batch()
    assert batch.validate_crc()
    found = list(batch)
    assert [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in found] == [
        (number, m.timestamp, m.key, m.value, m.headers) for number, m in enumerate(outgoing)
    ]
    assert read_all(data)[1] == len(outgoing)


@given(messages, st.data(), names)
def test_a_batch_with_one_wrong_bit_is_refused(given: Any, data: st.DataObject, codec: str) -> None:
    batch = bytearray(by_the_library(given, 7, CODECS[codec]))
    place = data.draw(st.integers(17, len(batch) - 1))  # what is before is not checked by Kafka either
    batch[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(StoreError, match="batch at offset 7 is damaged"):
        read_all(bytes(batch))


@given(messages, messages, st.data())
def test_of_a_batch_that_is_cut_off_nothing_is_read(one: Any, other: Any, data: st.DataObject) -> None:
    whole = by_the_library(one, 0)
    both = whole + by_the_library(other, len(one))
    cut = data.draw(st.integers(len(whole), len(both) - 1))

    records, after = read_all(both[:cut])

    assert (len(records), after) == (len(one), len(one))
    assert whole_until(both[:cut]) == len(one)


@given(messages, st.data())
def test_reading_begins_at_the_offset_even_inside_a_batch(given: Any, data: st.DataObject) -> None:
    begin = 40 + data.draw(st.integers(0, len(given)))
    records, after = read_all(by_the_library(given, 40), begin)
    assert [r.offset for r in records] == list(range(begin, 40 + len(given)))
    assert after == 40 + len(given)


def test_markers_of_transactions_are_passed_over_and_their_offsets_with_them() -> None:
    marker = with_attributes(by_the_library([(NOW, b"\0\0\0\1", b"\0\0\0\0\0\0", [])], 1), _CONTROL | _TRANSACTIONAL)
    data = by_the_library([(NOW, b"a", b"1", [])], 0) + marker + by_the_library([(NOW, b"b", b"2", [])], 2)

    records, after = read_all(data)

    assert [(r.offset, r.key) for r in records] == [(0, b"a"), (2, b"b")]
    assert after == 3


def test_records_in_a_transaction_are_refused_with_the_remedy() -> None:
    data = with_attributes(by_the_library([(NOW, b"a", b"1", [])]), _TRANSACTIONAL)
    with pytest.raises(StoreError, match=r"log\.kafka\.client to 'confluent'"):
        read_all(data)


def compressed(body: bytes, codec: int, count: int) -> bytes:
    """Return a batch whose records are compressed already."""
    from google_crc32c import value as crc32c

    checked = struct.pack(">hiqqqhii", codec, count - 1, NOW, NOW, -1, -1, -1, count) + body
    return struct.pack(">qiibI", 0, len(checked) + 9, -1, 2, crc32c(checked)) + checked


def streamed(body: bytes) -> bytes:
    """Compress by zstd without knowing how much it will be, as librdkafka does."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(body) + packer.flush()


def test_a_large_batch_that_was_compressed_as_it_was_written_is_read() -> None:
    given: list[Any] = [(NOW, b"k%d" % n, bytes([n]) * 200_000, []) for n in range(11)]
    records, after = read_all(compressed(streamed(by_the_library(given)[61:]), CODECS["zstd"], len(given)))
    assert [(r.key, r.value) for r in records] == [(key, value) for _, key, value, _ in given]
    assert after == 11


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_batch_that_would_fill_the_memory_is_refused(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "MOST_BYTES", 2**22)
    body = bytes(2**26)
    data = compressed(streamed(body) if codec == "zstd" else gzip.compress(body), CODECS[codec], 1)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="offset 0 is damaged: it unpacks to more than 4194304 bytes"):
            read_all(data)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_zstd_frame_that_is_none_is_refused() -> None:
    with pytest.raises(StoreError, match="offset 0 is damaged: its zstd frame is damaged"):
        read_all(compressed(b"no frame at all", CODECS["zstd"], 1))


def test_the_time_of_appending_counts_where_the_topic_says_so() -> None:
    data = with_attributes(by_the_library([(NOW - 5, b"a", b"1", []), (NOW, b"b", b"2", [])]), _APPEND_TIME)
    assert [r.event_time for r in read_all(data)[0]] == [NOW, NOW]


@pytest.mark.parametrize("codec", [0, 1])
@pytest.mark.parametrize("magic", [0, 1])
def test_sets_of_messages_in_old_formats_are_read(magic: int, codec: int) -> None:
    builder = LegacyRecordBatchBuilder(magic, codec, 2**20)
    for number in range(3):
        builder.append(number, timestamp=NOW + number if magic else None, key=b"k%d" % number, value=b"v")
    records, after = read_all(bytes(builder.build()), 1)

    assert [(r.offset, r.key, r.event_time) for r in records] == [
        (number, b"k%d" % number, NOW + number if magic else 0) for number in (1, 2)
    ]
    assert after == 3


@given(st.binary(max_size=40))
def test_keys_fall_where_the_library_puts_them(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_the_library(key)
    assert partition_of(key, 7) == (murmur2_of_the_library(key) & 0x7FFFFFFF) % 7
