from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from events.errors import RejectedError
from operators.changes.mongo import document_key, key_value, read_document, read_value


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ({"$oid": "596e275826f08b2730779e1f"}, "596e275826f08b2730779e1f"),
        ({"$numberLong": "1735934393769"}, 1735934393769),
        ({"$numberInt": "-7"}, -7),
        ({"$numberDouble": "121.4737"}, 121.4737),
        ({"$numberDouble": "NaN"}, "NaN"),
        ({"$numberDouble": "-Infinity"}, "-Infinity"),
        ({"$numberDecimal": "3.140"}, Decimal("3.140")),
        ({"$numberDecimal": "NaN"}, "NaN"),
        ({"$date": 1735934393769}, "2025-01-03T19:59:53.769Z"),
        ({"$date": {"$numberLong": "-1000"}}, "1969-12-31T23:59:59Z"),
        ({"$date": "2025-01-03T20:59:53.769+01:00"}, "2025-01-03T19:59:53.769Z"),
        ({"$binary": "uE2/4v5MSVOiJZkOo3APKQ==", "$type": "0"}, "uE2/4v5MSVOiJZkOo3APKQ=="),
        ({"$binary": "uE2/4v5MSVOiJZkOo3APKQ==", "$type": "4"}, "b84dbfe2-fe4c-4953-a225-990ea3700f29"),
        (
            {"$binary": {"base64": "uE2/4v5MSVOiJZkOo3APKQ==", "subType": "04"}},
            "b84dbfe2-fe4c-4953-a225-990ea3700f29",
        ),
        ({"$uuid": "B84DBFE2-FE4C-4953-A225-990EA3700F29"}, "b84dbfe2-fe4c-4953-a225-990ea3700f29"),
        ({"$timestamp": {"t": 1736997330, "i": 2}}, {"t": 1736997330, "i": 2}),
        ({"$regularExpression": {"pattern": "^pass$", "options": "i"}}, "/^pass$/i"),
        ({"$regex": "^pass$", "$options": "i"}, "/^pass$/i"),
        ({"$symbol": "symbol"}, "symbol"),
        ({"$code": "function(){}"}, "function(){}"),
        ({"$minKey": 1}, "MinKey"),
        ({"$maxKey": 1}, "MaxKey"),
        ({"$undefined": True}, None),
        ({"a": [{"b": {"$numberLong": "1"}}, 2.5, None, True]}, {"a": [{"b": 1}, 2.5, None, True]}),
        ({"$ref": "c", "$id": {"$oid": "596e275826f08b2730779e1f"}}, {"$ref": "c", "$id": "596e275826f08b2730779e1f"}),
    ],
)
def test_special_forms_become_plain_values(form: dict[str, Any], value: Any) -> None:
    row = read_document(msgspec.json.encode({"field": form}).decode())
    assert row == {"field": value}
    assert type(row["field"]) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a":1,"a":2}',
        '{"a":{"$oid":5}}',
        '{"a":{"$numberLong":"x"}}',
        '{"a":{"$numberDouble":"1e999"}}',
        '{"a":{"$numberDecimal":"x"}}',
        '{"a":{"$date":{"no":1}}}',
        '{"a":{"$date":"yesterday"}}',
        '{"a":{"$binary":"?","$type":"0"}}',
        '{"a":{"$binary":{"subType":"0"}}}',
        '{"a":{"$timestamp":5}}',
        '{"a":' * 300 + "1" + "}" * 300,
    ],
)
def test_what_is_no_document_is_rejected(text: str) -> None:
    with pytest.raises(RejectedError) as caught:
        read_document(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("identifier", "key"),
    [
        ('{"$oid":"67ab25755c0d5ac87eb8c632"}', "67ab25755c0d5ac87eb8c632"),
        ('"67ab"', "67ab"),
        ("1004", 1004),
        ('{"$numberLong":"1004"}', 1004),
        ('{"b":1,"a":{"$numberLong":"2"}}', '{"a":2,"b":1}'),
        (1004, 1004),
    ],
)
def test_the_key_of_a_record_is_the_documents_own(identifier: Any, key: Any) -> None:
    assert document_key({"id": identifier}) == {"_id": key}


def test_an_identifier_that_is_a_document_has_one_text() -> None:
    assert key_value({"b": Decimal("1.5"), "a": 1}) == key_value({"a": 1, "b": Decimal("1.5")}) == '{"a":1,"b":1.5}'
    assert read_value("null") is None
