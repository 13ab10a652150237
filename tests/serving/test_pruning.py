"""One record with events of several people: hers are taken out, those of others stay as they were sent."""

from __future__ import annotations

from typing import Any

from serving.pruning import without


def span(number: int, who: str) -> dict[str, Any]:
    return {"spanId": number, "attributes": [{"key": "user.id", "value": {"stringValue": who}}]}


def is_hers(value: Any) -> bool:
    return "anna" in repr(value)


def test_of_a_list_what_is_of_others_is_left() -> None:
    assert without([{"person": "anna"}, {"person": "ben"}, {"person": "anna"}], is_hers) == [{"person": "ben"}]


def test_a_thing_by_itself_goes_whole_or_stays() -> None:
    assert without({"person": "anna", "turns": [1, 2]}, is_hers) is None
    assert without({"person": "ben"}, is_hers) == {"person": "ben"}
    assert without([{"person": "anna"}], is_hers) is None


def test_spans_are_told_apart_within_their_resources_and_scopes() -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "desk"}}]}
    spans = [span(1, "anna"), span(2, "ben"), span(3, "anna")]
    given = {"resourceSpans": [
        {"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]},
        {"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans[:1]}]},
    ]}  # fmt: skip
    left = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": [spans[1]]}]}]}
    assert without(given, is_hers) == left


def test_each_event_is_judged_with_all_that_is_around_it() -> None:
    seen: list[Any] = []

    def remembered(value: Any) -> bool:
        seen.append(value)
        return False

    given = {"resourceLogs": [{"resource": 1, "scopeLogs": [{"logRecords": [2, 3]}]}]}
    assert without(given, remembered) == given
    around = [{"resourceLogs": [{"resource": 1, "scopeLogs": [{"logRecords": [number]}]}]} for number in (2, 3)]
    assert seen == around


def test_a_batch_of_an_sdk_loses_its_events_only() -> None:
    given = {"batch": [{"body": {"userId": "anna"}}, {"body": {"userId": "ben"}}], "metadata": {"sdk": "x"}}
    assert without(given, is_hers) == {"batch": [{"body": {"userId": "ben"}}], "metadata": {"sdk": "x"}}
