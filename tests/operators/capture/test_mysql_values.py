"""Values in a binlog, written by hand from MySQL's description of their bytes."""

from __future__ import annotations

import json
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.binlog import BinlogColumn, BinlogPoint, BinlogTable
from events.errors import StoreError
from operators.capture.mysql import MysqlDecoder
from operators.capture.mysql_binlog import HEADER, Described
from operators.capture.mysql_json import converter_of, decoder_of, single
from operators.capture.mysql_values import reader_of
from operators.changes.debezium import debezium
from operators.changes.rules import StreamRules


def column(type_: int, *meta: int, unsigned: bool = False) -> Described:
    return Described("a", type_, bytes(meta), unsigned, 0, (), -1)


def read(column_: Described, raw: bytes, type_: str = "") -> object:
    text, at = reader_of(column_, type_, "utf8mb4")(raw + b"rest", 0)
    assert at == len(raw)
    return json.loads(text)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_of_single_precision_is_written_so_that_it_is_the_same_again(value: float) -> None:
    written = single(value)
    assert struct.pack("<f", float(written)) == struct.pack("<f", value)
    assert len(written.lstrip(b"-").replace(b".", b"").partition(b"e")[0].strip(b"0")) <= 9


def packed(value: Decimal, precision: int, scale: int) -> bytes:
    """Pack a decimal as MySQL does: groups of nine digits from the point outwards, four bytes each."""
    sizes = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
    digits = f"{value.copy_abs():0{precision + 1}.{scale}f}".replace(".", "")[-precision:]
    whole, parts = digits[: precision - scale], digits[precision - scale :]
    first = len(whole) % 9
    groups = [whole[:first]] * bool(first) + [whole[at : at + 9] for at in range(first, len(whole), 9)]
    groups += [parts[at : at + 9] for at in range(0, len(parts), 9)]
    raw = b"".join(int(group).to_bytes(sizes[len(group)], "big") for group in groups)
    if value < 0:
        raw = bytes(byte ^ 0xFF for byte in raw)
    return bytes((raw[0] ^ 0x80,)) + raw[1:]


@given(st.data())
def test_decimals_keep_every_digit(data: st.DataObject) -> None:
    scale = data.draw(st.integers(0, 30))
    precision = data.draw(st.integers(max(1, scale), 65))
    unscaled = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    value = Decimal(f"{unscaled}e-{scale}")
    assert read(column(246, precision, scale), packed(value, precision, scale)) == f"{value:.{scale}f}"


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        (column(1), b"\xff", -1),
        (column(1, unsigned=True), b"\xff", 255),
        (column(9), b"\x00\x00\x80", -(2**23)),
        (column(13), b"\x00", 0),
        (column(10), (2024 << 9 | 2 << 5 | 29).to_bytes(3, "little"), "2024-02-29"),
        (column(7), (1_709_208_000).to_bytes(4, "little"), "2024-02-29T12:00:00Z"),
        (column(12), (20240229120000).to_bytes(8, "little"), "2024-02-29T12:00:00"),
        (column(11), (-8385959).to_bytes(3, "little", signed=True), "-838:59:59"),
        (column(16, 0, 8), b"\0\0\0\0\0\0\1\2", "AgEAAAAAAAA="),
        (column(245, 4), b"\x03\0\0\0\x05\x07\0", "7"),
    ],
)
def test_values_are_what_their_bytes_say(kind: Described, raw: bytes, expected: object) -> None:
    assert read(kind, raw) == expected


def test_texts_of_character_sets_and_bytes_that_are_none_of_theirs_are_texts() -> None:
    assert decoder_of("latin1")(b"\x80\x81") == "€\x81"
    assert decoder_of("utf8mb4")(b"a\xff") == "a\\xff"
    assert decoder_of("utf16")("a😀".encode("utf-16-be")) == "a😀"


def test_a_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="not known here"):
        reader_of(column(242, 4), "", "")


@pytest.mark.parametrize(
    ("type_", "declared", "value", "expected"),
    [
        ("decimal", "decimal(8,2) zerofill", "000007.00", "7.00"),
        ("timestamp", "timestamp(6)", "2024-02-29 12:00:00.123400", "2024-02-29T12:00:00.123400Z"),
        ("datetime", "datetime(6)", "2024-02-29 12:00:00.000000", "2024-02-29T12:00:00"),
        ("bit", "bit(1)", b"\0", False),
        ("year", "year(4)", "0000", 0),
    ],
)
def test_what_select_gives_is_written_as_what_is_streamed(
    type_: str, declared: str, value: object, expected: object
) -> None:
    assert json.loads(converter_of(BinlogColumn("a", type_, declared))(value)) == expected


TABLE = BinlogTable("shop", "t", (BinlogColumn("id", "decimal", "decimal(4,1)"), BinlogColumn("v", "json")), ("id",))


def test_a_read_row_has_a_position_and_its_key_is_a_number() -> None:
    (record,) = MysqlDecoder("shop", "shop").read(TABLE, [("1.5", "[1]")], BinlogPoint("b.000012", 400), 9000, "table")
    assert record.key == b'{"id":1.5}'
    (change,) = debezium(StreamRules("shop"))(record)
    assert change.position == (0, 12, 400, 0)
    assert change.op == "read"  # type: ignore[union-attr]  # no truncation


def test_a_truncation_before_a_snapshot_is_older_than_its_reads() -> None:
    decoder, point = MysqlDecoder("shop", "shop"), BinlogPoint("b.000012", 400)
    (gone,) = debezium(StreamRules("shop"))(decoder.truncate("shop.t", point, 9000))
    (read_,) = debezium(StreamRules("shop"))(decoder.read(TABLE, [("1.5", None)], point, 9000)[0])
    assert (gone.table, read_.table) == ("shop.t", "shop.t")
    assert gone.position < read_.position


@pytest.mark.parametrize("kind", [19, 23, 31, 162, 2])
def test_an_event_that_is_cut_off_stops_the_capture_in_one_line(kind: int) -> None:
    event = HEADER.pack(1, kind, 1, 30, 300, 0) + b"\1\2\3"
    with pytest.raises(StoreError, match="the binlog cannot be followed") as raised:
        MysqlDecoder("shop", "shop").decode([event])
    assert "\n" not in str(raised.value)
