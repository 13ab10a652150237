"""What the settings of the profiles flow refuse."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stores.profile_settings import FieldSettings, ProfileTableSettings
from stores.sections import ChangeStreamSettings

PEOPLE: dict[str, Any] = {"name": "people", "table": "people", "identifiers": {"email": ["email"]}}
BOOKINGS: dict[str, Any] = {"name": "bookings", "table": "bookings", "references": "people", "by": {"person": "id"}}


@pytest.mark.parametrize(
    ("table", "setting", "value"),
    [
        (PEOPLE, "sums", ["price"]),
        (PEOPLE, "open", {"status": ["open"]}),
        (PEOPLE, "time", "at"),
        (PEOPLE, "last", 5),
        (PEOPLE, "show", []),
        (PEOPLE, "by", {"person": "id"}),
        (BOOKINGS, "created", "made_at"),
        (BOOKINGS, "region", "PT"),
    ],
)
def test_a_setting_without_effect_is_refused_in_one_line_that_names_it(
    table: dict[str, Any], setting: str, value: object
) -> None:
    with pytest.raises(ValidationError) as caught:
        ProfileTableSettings.model_validate({**table, setting: value})
    (error,) = caught.value.errors()
    role = "identifiers" if table is PEOPLE else "references"
    assert f"the table {table['name']!r}: `{setting}` has no effect beside `{role}`; leave it out" in error["msg"]
    assert "\n" not in error["msg"]


@pytest.mark.parametrize(
    ("table", "more"),
    [
        (PEOPLE, {"created": "made_at", "region": "PT", "realm": "north"}),
        (BOOKINGS, {"time": "at", "show": ["at"], "last": 3, "open": {"a": [1]}, "sums": ["price"], "realm": "north"}),
    ],
)
def test_settings_that_fit_what_a_table_is_are_taken(table: dict[str, Any], more: dict[str, Any]) -> None:
    taken = ProfileTableSettings.model_validate({**table, **more}).model_dump(mode="json", exclude_unset=True)
    assert taken == {**table, **more}


@pytest.mark.parametrize(("rule", "priority"), [("priority", []), ("newest", ["people"])])
def test_a_rule_and_its_tables_need_each_other(rule: str, priority: list[str]) -> None:
    field = {"name": "city", "columns": {"people": "city"}, "rule": rule, "priority": priority}
    with pytest.raises(ValidationError, match="need each other"):
        FieldSettings.model_validate(field)


@pytest.mark.parametrize("name", ["identity", "alerts", "control.profiles", "replay.tables"])
def test_a_flow_does_not_follow_what_flows_tell(name: str) -> None:
    with pytest.raises(ValidationError, match="give the events another one"):
        ChangeStreamSettings(name=name)
