"""Who may see which live table and row: by labels, and of persons' rows the person's own alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.changes import Row, Standing
from events.errors import SettingsError
from events.persons import Member
from events.profiles import Profile
from serving.access.caller import Caller
from serving.access.rows import MOST_CONDITIONS, RowGate
from serving.errors import ForbiddenError
from stores.profiles.base import ProfileReader
from stores.profiles.choose import open_profile_reader, open_profile_writer
from stores.rows.base import LIVE, Condition, RowQuery, StoredRow
from stores.rows.choose import open_row_reader, open_row_writer
from stores.settings import Settings, load
from tests.serving import persons_sample as sample

LIVE_TABLES = ["flights", "crew", "stays", "cards", "calls"]
SERVED: list[dict[str, Any]] = [
    {"name": "crew", "audience": ["staff", "board"], "hidden": ["salary"]},
    {"name": "stays", "owner": {"column": "user", "record": "users"}, "hidden": ["note", "absent"]},
    {"name": "cards", "owner": {"column": "card", "identifier": "loyalty"}},
    {"name": "calls", "owner": {"column": "number", "identifier": "phone"}, "audience": ["staff"]},
]


def configured(path: Path, served: list[dict[str, Any]] | None = None, **changes: Any) -> Settings:
    """Return the settings of the sample's persons, all of one realm, with live tables."""
    settings = sample.configured(path)
    profiles = settings.profiles.model_dump()
    profiles["tables"] = [table for table in sample.TABLES if table["name"] != "agents"]
    profiles.update(changes.pop("profiles", {}))
    tables = {"live": [{"name": name, "table": f"public.{name}"} for name in LIVE_TABLES], **changes.pop("tables", {})}
    return load(
        data_dir=path, profiles=profiles, tables=tables, serving={"tables": SERVED if served is None else served}
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a data folder with the sample's persons in it."""
    found = configured(tmp_path_factory.mktemp("rows"))
    sample.fill(sample.configured(found.data_dir))
    return found


@pytest.fixture(scope="module")
def gate(settings: Settings) -> RowGate:
    return RowGate(settings)


@pytest.fixture(scope="module")
def profiles(settings: Settings) -> Iterator[ProfileReader]:
    reader = open_profile_reader(settings)
    yield reader
    reader.close()


def person(profiles: ProfileReader, id_: str) -> Profile:
    found = profiles.profile(id_)
    assert found is not None
    return found


def profile(**changes: Any) -> Profile:
    """Return a profile of nobody who is in the store."""
    blank = Profile("p" + "a" * 16, "default", 0, (), (), {}, {}, {})
    return msgspec.structs.replace(blank, **changes)


ANYBODY = Caller("shop", frozenset())
STAFF = Caller("shop", frozenset(), ("public", "staff"))
ANNA = Caller("shop", frozenset(), ("public",), sample.ANNA, "default")
ANNA_OF_STAFF = Caller("shop", frozenset(), ("public", "staff"), sample.ANNA, "default")
NO_LABEL = Caller("shop", frozenset(), ())


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (ANYBODY, {"flights"}),
        (NO_LABEL, {"flights"}),
        (STAFF, {"flights", "crew"}),
        (ANNA, {"flights", "stays", "cards"}),
        (ANNA_OF_STAFF, {"flights", "crew", "stays", "cards", "calls"}),
        (Caller("shop", frozenset(), ("board",)), {"flights", "crew"}),
        (Caller("shop", frozenset(), ("Staff", "staff ", "sta", "boards")), {"flights"}),
    ],
)
def test_a_table_is_for_its_labels_and_one_of_persons_for_who_asks_for_a_person(
    gate: RowGate, caller: Caller, allowed: set[str]
) -> None:
    for table in LIVE_TABLES:
        if table in allowed:
            gate.check(table, caller)
        else:
            with pytest.raises(ForbiddenError) as refused:
                gate.check(table, caller)
            assert refused.value.hint


def test_a_table_for_others_is_refused_in_the_same_words_as_one_that_there_is_not(gate: RowGate) -> None:
    said = []
    for table in ("crew", "absent"):
        with pytest.raises(ForbiddenError) as refused:
            gate.check(table, ANNA)
        said.append(str(refused.value).replace(table, "…"))
    assert said[0] == said[1]
    assert "crew" not in said[0]
    assert "calls" not in said[0]


def test_the_tables_that_a_caller_may_see_are_listed(gate: RowGate) -> None:
    assert gate.visible(ANYBODY) == ["flights", "stays", "cards"]
    assert gate.visible(STAFF) == LIVE_TABLES


def test_of_a_table_that_is_nobodys_in_particular_there_is_no_condition(gate: RowGate) -> None:
    assert gate.own("flights", None, None) is None
    assert gate.own("crew", profile(), None) is None


def test_of_a_table_that_there_is_not_nothing_is_anybodys(gate: RowGate) -> None:
    assert gate.own("absent", profile(), None) == []


def test_of_a_table_of_persons_nothing_is_seen_without_a_person(gate: RowGate) -> None:
    assert gate.own("stays", None, None) == []
    assert gate.own("cards", None, None) == []


def test_rows_are_a_persons_by_the_keys_of_its_records_of_that_table(gate: RowGate, profiles: ProfileReader) -> None:
    # Anna's records of other tables have keys 1 and 2; of users she is 7.
    assert gate.own("stays", person(profiles, sample.ANNA), profiles) == [Condition("user", "=", 7)]


def test_rows_are_a_persons_by_its_identifiers(gate: RowGate, profiles: ProfileReader) -> None:
    assert gate.own("cards", person(profiles, sample.ANNA), profiles) == [Condition("card", "=", "HR100200")]


def test_an_identifier_that_others_carry_as_well_is_nobodys(gate: RowGate, profiles: ProfileReader) -> None:
    # The switchboard's number is over its limit; Fay's and Gil's does not link them, as they would be too many.
    for id_ in (sample.ANNA, sample.MEMBERS[3].person, sample.MEMBERS[6].person, sample.MEMBERS[7].person):
        found = person(profiles, id_)
        assert found.identifiers["phone"]
        assert gate.own("calls", found, profiles) == []


def test_what_was_read_with_the_profile_tells_who_else_carries_an_identifier(
    gate: RowGate, settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(settings.data_dir, tmp_path, dirs_exist_ok=True)
    other = configured(tmp_path)
    reader = open_profile_reader(other)
    with reader.cut() as cut:
        anna = person(cut, sample.ANNA)
        writer = open_profile_writer(other, lambda: sample.NOW)
        with writer.transaction():
            writer.put_members([Member('shop/users/{"id":99}', "default", "p-other", ("loyalty:HR100200",))])
        writer.close()
        assert gate.own("cards", anna, cut) == [Condition("card", "=", "HR100200")]
    assert gate.own("cards", anna, reader) == []
    reader.close()
    assert gate.own("cards", anna, None) == [], "of no store, it is nobody's"


def test_an_identifier_in_digits_is_looked_for_as_text_and_as_number(gate: RowGate, profiles: ProfileReader) -> None:
    found = gate.own("cards", profile(identifiers={"loyalty": ("0042", "4711", "+49", "٣", "1.5")}), profiles)
    assert found == [
        Condition("card", "=", "0042"),
        Condition("card", "=", "4711"),
        Condition("card", "=", 4711),
        Condition("card", "=", "+49"),
        Condition("card", "=", "٣"),
        Condition("card", "=", "1.5"),
    ]
    assert [type(one.value) for one in found[1:3]] == [str, int]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ('{"id":7}', 7),
        ('{"id":"7"}', "7"),
        ('{"id":"a/{b"}', "a/{b"),
        ('{"id":123456789012345678901234567890}', 123456789012345678901234567890),
        ('{"id":12.5}', 12.5),
        ('{"id":true}', True),
    ],
)
def test_the_value_of_a_key_keeps_its_kind(gate: RowGate, key: str, value: object) -> None:
    found = gate.own("stays", profile(records=(f"shop/users/{key}",)), None)
    assert [(one.value, type(one.value)) for one in found or []] == [(value, type(value))]


@pytest.mark.parametrize(
    "record",
    [
        'shop/users/{"id":0.12345678901234567890123}',  # no float is that number
        'shop/users/{"a":1,"b":2}',
        "shop/users/{}",
        'shop/users/{"id":null}',
        'shop/users/{"id":[1]}',
        'other/users/{"id":1}',
        'shop/bookings/{"id":1}',
        'crm/public.customers/{"id":1}',
        "nothing",
    ],
)
def test_a_record_that_does_not_clearly_say_it_leads_to_no_row(gate: RowGate, record: str) -> None:
    assert gate.own("stays", profile(records=(record,)), None) == []


def test_of_a_key_of_several_columns_the_named_one_counts(tmp_path: Path) -> None:
    served = [{"name": "stays", "owner": {"column": "user", "record": "users", "key": "b"}}]
    gate = RowGate(configured(tmp_path, served))
    assert gate.own("stays", profile(records=('shop/users/{"a":1,"b":2}',)), None) == [Condition("user", "=", 2)]
    assert gate.own("stays", profile(records=('shop/users/{"a":1}',)), None) == []


def test_a_person_of_very_many_records_is_looked_for_by_the_first_ones(gate: RowGate) -> None:
    records = tuple(f'shop/users/{{"id":{number}}}' for number in range(1000))
    found = gate.own("stays", profile(records=records), None)
    assert found == [Condition("user", "=", number) for number in range(MOST_CONDITIONS)]


def test_hidden_columns_are_taken_out_and_everything_else_stays(gate: RowGate) -> None:
    row: Row = {"user": 7, "note": "likes quiet", "salary": 1}
    assert gate.strip("stays", row) == {"user": 7, "salary": 1}
    assert gate.strip("crew", row) == {"user": 7, "note": "likes quiet"}
    assert gate.strip("flights", row) == row
    assert row == {"user": 7, "note": "likes quiet", "salary": 1}


ROWS: dict[str, list[Row]] = {
    "stays": [{"user": 7}, {"user": 8}, {"user": "7"}, {"user": None}, {"user": 7.5}, {"user": 7}, {}, {"user": [7]}],
    "cards": [{"card": "HR100200"}, {"card": "hr100200"}, {"card": None}, {"card": "HR1002001"}, {"card": "' OR 1=1"}],
}


def test_of_the_rows_in_the_store_a_person_sees_exactly_its_own(
    gate: RowGate, settings: Settings, profiles: ProfileReader
) -> None:
    writer = open_row_writer(settings, lambda: sample.NOW)
    with writer.transaction():
        for table, rows in ROWS.items():
            stored = [
                StoredRow("ops", f'{{"id":{n}}}', {"id": n, **row}, LIVE, Standing((0, n), "ops", 0, n), 1, 2)
                for n, row in enumerate(rows)
            ]
            writer.put(table, stored)
    writer.close()
    reader = open_row_reader(settings)
    seen = {}
    for id_ in (sample.ANNA, sample.MEMBERS[4].person):
        for table in ROWS:
            own = gate.own(table, person(profiles, id_), profiles)
            assert own is not None
            found = {row.key for one in own for row in reader.select(RowQuery(table=table, where=(one,)))}
            seen[id_ == sample.ANNA, table] = found
    reader.close()
    assert seen == {
        (True, "stays"): {'{"id":0}', '{"id":5}'},
        (True, "cards"): {'{"id":0}'},
        (False, "stays"): {'{"id":1}'},
        (False, "cards"): set(),
    }


IDENTIFIERS = st.sampled_from(["loyalty:1", "loyalty:2", "loyalty:3"])


@given(carried=st.lists(st.lists(IDENTIFIERS, max_size=2, unique=True), min_size=1, max_size=6), data=st.data())
def test_no_value_ever_leads_two_persons_to_one_row(
    tmp_path_factory: pytest.TempPathFactory, carried: list[list[str]], data: st.DataObject
) -> None:
    settings = configured(tmp_path_factory.mktemp("shared"))
    writer = open_profile_writer(settings, lambda: 0)
    persons = [data.draw(st.sampled_from("abc")) for _ in carried]
    members = [
        Member(f'shop/users/{{"id":{n}}}', "default", persons[n], tuple(sorted(identifiers)))
        for n, identifiers in enumerate(carried)
    ]
    with writer.transaction():
        writer.put_members(members)
    writer.close()
    gate, reader = RowGate(settings), open_profile_reader(settings)
    seen: dict[tuple[str, object], str] = {}
    for one in set(persons):
        own = [member for member in members if member.person == one]
        values = {identifier.partition(":")[2] for member in own for identifier in member.identifiers}
        known = profile(
            person=one,
            records=tuple(member.record for member in own),
            identifiers={"loyalty": tuple(sorted(values))},
        )
        for table in ("stays", "cards"):
            for condition in gate.own(table, known, reader) or []:
                assert seen.setdefault((table, condition.value), one) == one
    reader.close()
    alone = {
        value
        for value in ("1", "2", "3")
        if len({member.person for member in members if f"loyalty:{value}" in member.identifiers}) == 1
    }
    assert {value for table, value in seen if table == "cards" and isinstance(value, str)} == alone


TWO_STREAMS = {"streams": [{"name": "crm"}, {"name": "shop"}]}
OF_RECORD = {"column": "user", "record": "users"}
ANY_SOURCE = [
    {**table, **({"source": ""} if table["name"] == "users" else {})}
    for table in sample.TABLES
    if table["name"] != "agents"
]


@pytest.mark.parametrize(
    ("served", "changes", "said"),
    [
        ({"name": "absent"}, {}, "'absent', which is no live table (there are: flights,"),
        ({"name": "stays", "owner": {"column": "user", "identifier": "passport"}}, {}, "'passport', which is no type"),
        (
            {"name": "stays", "owner": {"column": "user", "record": "absent"}},
            {},
            "'absent', which is no table of persons",
        ),
        ({"name": "stays", "owner": {"column": "user", "record": "bookings"}}, {}, "'bookings', which is no table"),
        (
            {"name": "cards", "owner": {"column": "card", "identifier": "loyalty"}},
            {"profiles": {"tables": sample.TABLES}},
            "another person's in each of the realms (name it by `record`; realms: default, partners)",
        ),
        (
            {"name": "stays", "owner": OF_RECORD},
            {"profiles": {**TWO_STREAMS, "tables": ANY_SOURCE}},
            "(give [[profiles.tables]] 'users' its `source`)",
        ),
        (
            {"name": "stays", "owner": OF_RECORD},
            {"tables": {"streams": [{"name": "operations"}, {"name": "hotels"}]}},
            "(give [[tables.live]] 'stays' its `source`)",
        ),
        (
            {"name": "stays", "owner": {**OF_RECORD, "key": "c"}},
            {"profiles": {"tables": [{**sample.TABLES[1], "key": ["a", "b"]}]}},
            "(set its `key` to one of: a, b)",
        ),
        (
            {"name": "stays", "owner": OF_RECORD},
            {"profiles": {"tables": [{**sample.TABLES[1], "key": ["a", "b"]}]}},
            "(set its `key` to one of: a, b)",
        ),
    ],
)
def test_settings_that_name_what_there_is_not_or_leave_it_open_stop_the_start_in_one_line(
    tmp_path: Path, served: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    if "profiles" in changes and "fields" not in changes["profiles"]:
        changes = {**changes, "profiles": {"fields": [], **changes["profiles"]}}
    settings = configured(tmp_path, [served], **changes)
    with pytest.raises(SettingsError) as refused:
        RowGate(settings)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_stream_is_one_database(tmp_path: Path) -> None:
    tables = {"fields": [], "tables": ANY_SOURCE}
    gate = RowGate(configured(tmp_path, [{"name": "stays", "owner": OF_RECORD}], profiles=tables))
    assert gate.own("stays", profile(records=('whatever/users/{"id":7}',)), None) == [Condition("user", "=", 7)]


def test_a_key_column_that_is_configured_needs_no_word(tmp_path: Path) -> None:
    tables = {"fields": [], "tables": [{**sample.TABLES[1], "key": ["id"]}]}
    gate = RowGate(configured(tmp_path, [{"name": "stays", "owner": OF_RECORD}], profiles=tables))
    assert gate.own("stays", profile(records=('shop/users/{"id":7}',)), None) == [Condition("user", "=", 7)]
