from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.capture.aggregated import MAGIC, UserRecord, hash_key_of, user_records
from tests.stores.aggregation import aggregate

# The same three records, as aws-kinesis-aggregation for Python writes them, and as Protocol Buffers does with tags.
WRITTEN_BY_OTHERS = (
    "f3899ac20a08666c696768742d310a08666c696768742d321201351a0b08001a077b226e223a317d1a08080110001a0200ff1a0408001a00"
    "df8db5e4aa044eccdafce74cccc46204",
    "f3899ac20a08666c696768742d310a08666c696768742d321201351a2208001a077b226e223a317d22150a076d616465206279120a612070"
    "726f64756365721a1f080110001a0200ff22150a076d616465206279120a612070726f64756365721a1b08001a0022150a076d6164652062"
    "79120a612070726f6475636572432098f78aec18cf55b104d713afcbe2",
)


@pytest.mark.parametrize("written", WRITTEN_BY_OTHERS)
def test_what_other_programs_write_is_taken_apart(written: str) -> None:
    natural = int(hashlib.md5(b"flight-1", usedforsecurity=False).hexdigest(), 16)
    assert user_records(bytes.fromhex(written)) == [
        UserRecord("flight-1", natural, b'{"n":1}'),
        UserRecord("flight-2", 5, b"\x00\xff"),
        UserRecord("flight-1", natural, b""),
    ]


record = st.tuples(st.text(min_size=1, max_size=8), st.none() | st.integers(0, 2**128 - 1), st.binary(max_size=300))


@given(st.lists(record, max_size=20))
def test_records_come_out_as_they_were_put_in(records: list[tuple[str, int | None, bytes]]) -> None:
    assert user_records(aggregate(*records)) == [
        UserRecord(key, hash_key_of(key) if hash_key is None else hash_key, data) for key, hash_key, data in records
    ]


def sealed(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"n":1}',
        MAGIC,
        MAGIC + b"x" * 16,
        aggregate(("a", None, b"1"))[:-1],
        aggregate(("a", None, b"1"))[:-16] + b"\x00" * 16,
        sealed(b"\x1a\x04\x08\x07\x1a\x00"),  # names a partition key that is not there
        sealed(b"\x0a\x01a\x1a\x02\x08\x00"),  # a record without data
        sealed(b"\x0a\x01a\x1a\x06\x08\x00\x10\x00\x1a\x00"),  # names a hash key that is not there
        sealed(b"\x12\x01x\x0a\x01a"),  # a hash key that is no number
        sealed(b"\x0a\x01\xff"),  # a partition key that is no text
        sealed(b"\x0a\x7fa"),  # cut off
        sealed(b"\x0b"),  # a kind of field that there is not any more
        sealed(b"\x08" + b"\xff" * 11),  # a number without an end
    ],
)
def test_anything_else_is_an_ordinary_record(data: bytes) -> None:
    assert user_records(data) is None


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(message: bytes) -> None:
    user_records(sealed(message))
