"""Which value of a field survives."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.profiles import Field, RecordRow, Value
from operators.profiles.fields import field_of, key_columns, plain_fields, statement
from operators.profiles.rules import FieldRules, Survivorship
from tests.operators.profiles.profile_oracle import Said, expected_field


def row(number: int, as_of: int, table: str = "people", **columns: Any) -> RecordRow:
    return RecordRow(f'crm/public.{table}/{{"id":{number}}}', table, {"id": number, **columns}, (0, as_of), as_of, 77)


def rules(rule: Survivorship, **more: Any) -> FieldRules:
    return FieldRules("name", {"people": ("name",), "users": ("name",)}, rule, **more)


def value(field: Field | None) -> Any:
    return None if field is None else field.value


def test_a_value_says_where_it_comes_from() -> None:
    field = field_of(rules("newest"), [row(1, 10, name="Ana"), row(2, 20, name="Anna"), row(3, 30)])
    assert field == Field(
        "Anna",
        (Value("Anna", 'crm/public.people/{"id":2}', "20", 20, 77),),
        (Value("Ana", 'crm/public.people/{"id":1}', "10", 10, 77),),
    )


def test_null_and_blank_values_are_none() -> None:
    rows = [row(1, 10, name=None), row(2, 20, name=" \t"), row(3, 30, name=""), row(4, 40, name=float("nan"))]
    for rule in get_args(Survivorship):
        assert field_of(rules(rule), rows) is None
    assert plain_fields(rows) == {}


def test_columns_that_make_one_value_are_joined_without_the_missing_ones() -> None:
    field = FieldRules("name", {"people": ("first", "middle", "last")})
    assert value(field_of(field, [row(1, 1, first=" Ana ", middle=None, last="Silva")])) == "Ana Silva"
    assert value(field_of(field, [row(1, 1, first="", last=Decimal("4.50"))])) == "4.50"
    assert field_of(field, [row(1, 1, middle=" ")]) is None


def test_a_table_that_is_not_named_has_no_say() -> None:
    assert field_of(FieldRules("name", {"users": ("name",)}), [row(1, 1, name="Ana")]) is None


def test_what_a_row_says_of_the_time_counts_and_else_the_time_of_its_change() -> None:
    said = rules("newest", said_at={"people": "at"})
    rows = [row(1, 100, name="a", at="1970-01-01T00:00:00.300Z"), row(2, 200, name="b", at="nonsense")]
    field = field_of(said, rows)
    assert field is not None
    assert [(one.value, one.as_of) for one in (*field.of, *field.others)] == [("a", 300), ("b", 200)]


def test_the_first_table_that_has_a_value_has_priority_and_those_not_named_are_the_last() -> None:
    by = rules("priority", priority=("users",))
    assert value(field_of(by, [row(1, 9, name="new"), row(2, 1, "users", name="old"), row(3, 2, "users")])) == "old"
    assert value(field_of(by, [row(1, 9, name="new"), row(2, 1, "users", name=None)])) == "new"


def test_the_most_frequent_value_is_shown_as_it_was_written_last() -> None:
    rows = [
        row(1, 1, name="ana  silva"),
        row(2, 2, name="Ana Silva"),
        row(3, 3, name="Bo"),
        row(4, 0, name="ANA SILVA"),
    ]
    field = field_of(rules("frequent"), rows)
    assert field is not None
    assert (field.value, [one.value for one in field.others]) == ("Ana Silva", ["Bo"])


def test_a_union_has_every_value_once_newest_first() -> None:
    field = field_of(rules("union"), [row(1, 1, name="a@x"), row(2, 3, name="A@X"), row(3, 2, name="b@x")])
    assert field is not None
    assert field.value == ["A@X", "b@x"]
    assert [one.record[-2:-1] for one in field.of] == ["2", "3"]
    assert field.others == ()
    assert value(field_of(rules("union"), [row(1, 1, name="a@x")])) == ["a@x"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("YES", True),
        (" granted ", True),
        (1, True),
        ("opted_in", True),
        (Decimal("1.0"), True),
        ("n", False),
        ("Withdrawn", False),
        (0, False),
        (False, False),
        ("maybe", None),
        (2, None),
        ("", None),
        (["yes"], None),
    ],
)
def test_what_is_a_statement_of_consent(said: object, expected: bool | None) -> None:
    assert statement(said) is expected


def test_of_two_statements_from_one_time_the_denial_counts() -> None:
    rows = [row(1, 5, name="yes"), row(2, 5, name="no"), row(3, 4, name="yes"), row(4, 9, name="maybe")]
    assert value(field_of(rules("consent"), rows)) is False
    assert value(field_of(rules("consent"), [*rows, row(5, 6, name="granted")])) is True


def test_one_denial_is_enough_for_the_strictest() -> None:
    assert value(field_of(rules("strictest"), [row(1, 1, name="no"), row(2, 9, name="yes")])) is False
    assert value(field_of(rules("strictest"), [row(1, 1, name="true"), row(2, 9, name=1)])) is True


def test_truth_values_numbers_and_texts_are_different_values() -> None:
    rows = [row(1, 5, name=1), row(2, 4, name=True), row(3, 3, name="1"), row(4, 2, name=1.0), row(5, 1, name={"a": 1})]
    field = field_of(rules("newest"), rows)
    assert field is not None
    assert [one.value for one in field.others] == [True, "1", {"a": 1}]


def test_no_more_than_twenty_other_values_are_kept() -> None:
    field = field_of(rules("newest"), [row(number, number, name=f"n{number}") for number in range(100)])
    assert field is not None
    assert [one.value for one in field.others] == [f"n{number}" for number in range(98, 78, -1)]


def test_without_fields_every_column_but_the_key_is_one() -> None:
    fields = plain_fields([row(1, 1, name="a", city="Bonn"), row(2, 2, name="b", city=None)])
    assert {name: field.value for name, field in fields.items()} == {"city": "Bonn", "name": "b"}


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        ('crm/public.people/{"id":1}', {"id"}),
        ('crm/odd/{table/{"a":"x/{","b":2}', {"a", "b"}),
        ("no key at all", set()),
        ("crm/people/{broken", set()),
    ],
)
def test_key_columns_are_read_from_the_record_key(record: str, columns: set[str]) -> None:
    assert key_columns(record) == columns


values = st.sampled_from(["Ana", "ana ", "ANA  B", "Ana b", "yes", "no", "withdrawn", "granted", "", None, True, False])


@given(
    rule=st.sampled_from(get_args(Survivorship)),
    said=st.lists(st.tuples(values, st.integers(0, 4), st.sampled_from(["people", "users", "guests"])), max_size=30),
    seed=st.integers(0, 2**32),
)
def test_every_rule_is_what_comparing_rows_two_by_two_says_in_any_order(
    rule: Survivorship, said: list[tuple[Any, int, str]], seed: int
) -> None:
    rows = [row(number, as_of, table, name=value) for number, (value, as_of, table) in enumerate(said)]
    columns: dict[str, tuple[str, ...]] = {"people": ("name",), "users": ("name",), "guests": ("name",)}
    field = FieldRules("name", columns, rule, priority=("guests", "users"))
    there = [
        Said(one.row["name"], one.as_of, one) for one in rows if one.row["name"] is not None and one.row["name"] != ""
    ]
    expected = expected_field(field, there)
    Random(seed).shuffle(rows)
    assert field_of(field, rows) == expected
