from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from events.capture import TypeInfo
from operators.capture.postgres_values import ENCODINGS, converter_of
from tests.operators.capture.write_pgoutput import Catalog

OIDS = {
    "bool": 16, "bytea": 17, "char": 18, "name": 19, "int8": 20, "int2": 21, "int4": 23, "text": 25, "oid": 26,
    "json": 114, "point": 600, "float4": 700, "float8": 701, "money": 790, "inet": 869, "bpchar": 1042,
    "varchar": 1043, "date": 1082, "time": 1083, "timestamp": 1114, "timestamptz": 1184, "interval": 1186,
    "timetz": 1266, "bit": 1560, "varbit": 1562, "numeric": 1700, "uuid": 2950, "jsonb": 3802,
}  # fmt: skip
"""As `pg_type.dat` of PostgreSQL has them."""
TYPES = {
    1000: TypeInfo("_bool", 1000, element=16),
    1009: TypeInfo("_text", 1009, element=25),
    1115: TypeInfo("_timestamp", 1115, element=1114),
    1007: TypeInfo("_int4", 1007, element=23),
    1231: TypeInfo("_numeric", 1231, element=1700),
    3908: TypeInfo("tstzrange", 3908),
    20_000: TypeInfo("varchar", 1043),
    20_001: TypeInfo("_int4", 1007, element=23),
    20_002: TypeInfo("vector", 20_002),
    20_003: TypeInfo("hstore", 20_003),
    20_004: TypeInfo("vector", 20_004, enum=True),
    20_005: TypeInfo("_loop", 20_005, element=20_005),
}
OIDS |= {info.name if oid < 20_000 else str(oid): oid for oid, info in TYPES.items()}


def read(type_: str, text: str | bytes, modifier: int = -1) -> Any:
    convert = converter_of(OIDS[type_], modifier, Catalog(types=TYPES))
    raw = text if isinstance(text, bytes) else text.encode()
    return json.loads(raw if convert is None else convert(raw))


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("bool", "t", True),
        ("bool", "f", False),
        ("int2", "-32768", -32768),
        ("int8", "9223372036854775807", 9223372036854775807),
        ("oid", "4294967295", 4294967295),
        ("float8", "1", 1.0),
        ("float8", "-0", 0.0),
        ("float8", "1e+300", 1e300),
        ("float4", "0.1", 0.1),
        ("float8", "NaN", "NaN"),
        ("float4", "-Infinity", "-Infinity"),
        ("numeric", "0.10", "0.10"),
        ("numeric", "NaN", "NaN"),
        ("numeric", "-12345678901234567890.123456789", "-12345678901234567890.123456789"),
        ("money", "$1,234.50", "1234.50"),
        ("money", "-$0.07", "-0.07"),
        ("money", "1.234,50 €", "1.234,50 €"),
        ("text", 'a "b" \\ \n\t☃', 'a "b" \\ \n\t☃'),
        ("bpchar", "ab  ", "ab  "),
        ("uuid", "0e37df36-f698-11e6-8dd4-cb9ced3df976", "0e37df36-f698-11e6-8dd4-cb9ced3df976"),
        ("json", '{"a": 1}', '{"a": 1}'),
        ("inet", "10.0.0.1/8", "10.0.0.1/8"),
        ("date", "2024-02-29", "2024-02-29"),
        ("date", "infinity", "infinity"),
        ("date", "-infinity", "-infinity"),
        ("date", "0044-03-15 BC", "-0043-03-15"),
        ("date", "0001-01-01 BC", "0000-01-01"),
        ("date", "12024-01-01", "+12024-01-01"),
        ("timestamp", "2024-02-29 23:59:59", "2024-02-29T23:59:59"),
        ("timestamp", "2024-02-29 23:59:59.5", "2024-02-29T23:59:59.500"),
        ("timestamp", "2024-02-29 23:59:59.123", "2024-02-29T23:59:59.123"),
        ("timestamp", "2024-02-29 23:59:59.1234", "2024-02-29T23:59:59.123400"),
        ("timestamp", "2024-02-29 23:59:59.123456", "2024-02-29T23:59:59.123456"),
        ("timestamp", "0044-03-15 12:00:00 BC", "-0043-03-15T12:00:00"),
        ("timestamp", "0044-03-15 12:00:00.001 BC", "-0043-03-15T12:00:00.001"),
        ("timestamp", "12024-03-15 12:00:00", "+12024-03-15T12:00:00"),
        ("timestamp", "infinity", "infinity"),
        ("timestamptz", "2024-02-29 23:59:59+00", "2024-02-29T23:59:59.000000Z"),
        ("timestamptz", "2024-02-29 23:59:59.25+00", "2024-02-29T23:59:59.250000Z"),
        ("timestamptz", "2024-02-29 23:59:59.123456+00", "2024-02-29T23:59:59.123456Z"),
        ("timestamptz", "2024-03-01 01:29:59.1+01:30", "2024-02-29T23:59:59.100000Z"),
        ("timestamptz", "0044-03-15 12:00:00+00 BC", "-0043-03-15T12:00:00.000000Z"),
        ("timestamptz", "-infinity", "-infinity"),
        ("time", "12:30:00", "12:30:00"),
        ("time", "12:30:00.5", "12:30:00.500"),
        ("time", "24:00:00", "24:00:00"),
        ("timetz", "12:30:00+02", "10:30:00Z"),
        ("timetz", "01:30:00.123456+02:30", "23:00:00.123456Z"),
        ("timetz", "12:30:00.5+00", "12:30:00.5Z"),
        ("interval", "P1Y2M3DT4H5M6.5S", "P1Y2M3DT4H5M6.5S"),
        ("interval", "PT0S", "P0Y0M0DT0H0M0S"),
        ("interval", "P-1DT-0.5S", "P0Y0M-1DT0H0M-0.5S"),
        ("interval", "infinity", "infinity"),
        ("bytea", "\\x00ff10", "AP8Q"),
        ("bytea", "\\x", ""),
        ("varbit", "", ""),
        ("_bool", "{t,f,NULL}", [True, False, None]),
        ("_int4", "{}", []),
        ("_int4", "{{1,2},{3,4}}", [[1, 2], [3, 4]]),
        ("_int4", "[0:1]={5,6}", [5, 6]),
        ("_int4", "[1:1][-2:-1]={{5,6}}", [[5, 6]]),
        ("_text", r'{a,"b c","d\"e","f\\g",NULL,"NULL","",null}', ["a", "b c", 'd"e', "f\\g", None, "NULL", "", None]),
        ("_text", '{"{x,y}","2024 ☃"}', ["{x,y}", "2024 ☃"]),
        ("_timestamp", '{"2024-02-29 23:59:59",infinity}', ["2024-02-29T23:59:59", "infinity"]),
        ("_numeric", "{1.10,NaN}", ["1.10", "NaN"]),
        ("tstzrange", '["2024-01-01 00:00:00+00",)', '["2024-01-01 00:00:00+00",)'),
        ("20000", "a domain", "a domain"),
        ("20001", "{1,2}", [1, 2]),
        ("20002", "[1,-2.5,1e-05]", [1.0, -2.5, 1e-05]),
        ("20003", '"a\\"b"=>"1, 2", "c"=>NULL', '{"a\\"b":"1, 2","c":null}'),
        ("20003", "", "{}"),
        ("20004", "[1]", "[1]"),
    ],
)
def test_a_value_is_written_as_its_type_says(type_: str, text: str, value: Any) -> None:
    made = read(type_, text)
    assert (made, type(made)) == (value, type(value))


def test_bits_are_a_truth_value_or_bytes_with_the_lowest_first() -> None:
    assert read("bit", "1", 1) is True
    assert read("bit", "0", 1) is False
    assert base64.b64decode(read("bit", "100000001", 9)) == bytes([0b0000_0001, 0b0000_0001])
    assert base64.b64decode(read("varbit", "1010", 64)) == bytes([0b1010])
    # Zeros above are left out, as Debezium does.
    assert base64.b64decode(read("bit", "0000000001", 10)) == bytes([1])


@pytest.mark.parametrize(("digits", "fraction"), [(0, ""), (1, ".5"), (3, ".500"), (6, ".500000"), (-1, ".500000")])
def test_a_moment_has_the_digits_of_its_column(digits: int, fraction: str) -> None:
    sent = "2024-02-29 23:59:59.5" if digits else "2024-02-29 23:59:59"
    assert read("timestamptz", f"{sent}+00", digits) == f"2024-02-29T23:59:59{fraction}Z"
    assert read("timestamptz", f"{sent}-01", digits) == f"2024-03-01T00:59:59{fraction}Z"


def test_a_point_is_its_coordinates_and_its_well_known_binary() -> None:
    made = read("point", "(1.5,-2)")
    wkb = base64.b64decode(made.pop("wkb"))
    assert made == {"x": 1.5, "y": -2.0, "srid": None}
    assert struct.unpack("<bidd", wkb) == (1, 1, 1.5, -2.0)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("bool", "maybe"),
        ("date", "yesterday"),
        ("timestamp", "2024-02-29T23:59"),
        ("timestamptz", "2024-02-31 23:59:59+01"),
        ("time", "noon"),
        ("bytea", "abc\\000"),
        ("bytea", "\\x0"),
        ("bit", "12"),
        ("float8", "many"),
        ("point", "(a,b)"),
        ("point", "1,2"),
        ("20002", "[1,,2]"),
        ("20003", "a=>b"),
        ("_int4", "{1"),
        ("_int4", "1}"),
        ("_int4", "{1},{2}"),
        ("_text", '{"a}'),
        ("_text", "{{{{{{{{{{{{{{}}}}}}}}}}}}}}"),
        ("20005", "{a"),
    ],
)
def test_a_text_that_its_type_does_not_explain_stays_text(type_: str, text: str) -> None:
    assert read(type_, text) == text


def test_bytes_that_are_no_utf_8_are_told_apart() -> None:
    assert read("text", b"a\xff") == "a\\xff"
    assert read("text", b"a\xfe") == "a\\xfe"
    assert read("_text", b"{a\xff,b}") == ["a\\xff", "b"]


def test_columns_that_are_numbers_or_json_are_said_to_be_some() -> None:
    catalog = Catalog(types=TYPES)
    said = {name: ENCODINGS.get(converter_of(oid, -1, catalog)) for name, oid in OIDS.items()}
    assert {name: encoding for name, encoding in said.items() if encoding} == {
        "numeric": "decimal",
        "money": "decimal",
        "json": "json",
        "jsonb": "json",
        "20003": "json",
    }
