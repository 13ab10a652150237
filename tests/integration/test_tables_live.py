"""A day with the tables flow: fed by events, asked, kept waiting, frightened by a mass delete, started again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.live import Home, Running, wait_until

NOON = 1_793_534_400_000

SETTINGS = """
[tables.guard]
rows = 10

[[tables.streams]]
name = "ops"
format = "headrace"

[[tables.live]]
name = "flights"
table = "flights"
initiator = "changed_by"

[[tables.live]]
name = "prices"
table = "prices"
ttl_seconds = 0.001
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    return Home(tmp_path)


def append(home: Home, *events: dict[str, Any]) -> None:
    lines = "".join(json.dumps(event) + "\n" for event in events)
    done = home.headrace("log", "append", "ops", stdin=lines)
    assert done.returncode == 0, done.stderr


def change(
    id_: int, position: int, *, op: str = "update", table: str = "flights", time: int = 0, **columns: Any
) -> dict[str, Any]:
    event = {"table": table, "key": {"id": id_}, "op": op, "position": position, **({"time": time} if time else {})}
    return event if op == "delete" else {**event, "after": {"id": id_, **columns}}


def table(home: Home, *arguments: str) -> list[dict[str, Any]]:
    answer = home.headrace("table", *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def rows(home: Home, *arguments: str) -> dict[int, Any]:
    return {found["key"]["id"]: found["row"] for found in table(home, *arguments)}


def test_changes_are_answered_with_their_position_and_age(home: Home) -> None:
    with Running(home, "tables"):
        append(home, change(1, 10, number="204", status="planned", changed_by="ana"), change(2, 11, status="planned"))
        wait_until(lambda: len(rows(home, "flights")) == 2, "both flights")
        append(home, change(1, 30, number="204", status="cancelled", changed_by="bo"), change(1, 20, status="late"))
        wait_until(lambda: rows(home, "flights", "--where", "status=cancelled"), "the cancellation")
        (found,) = table(home, "flights", "--where", "number=204", "--max-age", "5s", "--min-position", "30")
        assert found["row"]["status"] == "cancelled"
        assert (found["position"], found["initiator"], found["source"]) == ("30", "bo", "ops")
        assert found["age_ms"] < 60_000

        late = home.headrace("table", "flights", "--min-position", "31", "--wait", "300ms")
        assert late.returncode == 1
        assert "'ops' is at 30, 31 has not been reached" in late.stderr

        answer = home.headrace("sql", "SELECT status, count(*) AS n FROM flights GROUP BY status ORDER BY 1", "--json")
        assert [json.loads(line) for line in answer.stdout.splitlines()] == [
            {"status": "cancelled", "n": 1},
            {"status": "planned", "n": 1},
        ]
        refused = home.headrace("sql", "DELETE FROM flights")
        assert refused.returncode == 1
        assert refused.stderr.startswith("headrace: ")
        assert len(rows(home, "flights")) == 2

    stale = home.headrace("table", "flights", "--max-age", "1ms", "--wait", "100ms")
    assert stale.returncode == 1
    assert "older than the 0.001 s asked for" in stale.stderr


def test_past_its_time_to_live_a_row_says_since_when_it_is_unknown(home: Home) -> None:
    append(home, change(7, 1, table="prices", amount=99))
    with Running(home, "tables"):
        wait_until(lambda: table(home, "prices"), "the price")
        (found,) = table(home, "prices", "--where", "id=7")
        assert found["row"] is None
        assert found["unknown_since"] is not None
        assert table(home, "prices", "--where", "amount=99") == []
        assert "unknown since" in home.headrace("table", "prices").stdout
        answer = home.headrace("sql", "SELECT id, amount, _unknown_since IS NOT NULL AS old FROM prices", "--json")
        assert json.loads(answer.stdout) == {"id": 7, "amount": None, "old": 1}


def test_a_mass_delete_waits_for_its_users_word(home: Home) -> None:
    append(home, *(change(number, number, time=NOON, status="planned") for number in range(1, 31)))
    with Running(home, "tables"):
        wait_until(lambda: len(rows(home, "flights", "--limit", "100")) == 30, "all flights")
        append(home, *(change(number, 100 + number, op="delete", time=NOON) for number in range(1, 26)))
        wait_until(lambda: "25" in home.headrace("held", "list").stdout, "the hold")
        assert len(rows(home, "flights", "--limit", "100")) == 30
        assert "mass-delete/flights/" in home.headrace("log", "show", "alerts").stdout
        assert "held list" in home.headrace("status").stdout
        assert home.headrace("held", "release", "fligts").returncode == 1

        assert "25 deletes" in home.headrace("held", "release", "flights").stdout
        wait_until(lambda: len(rows(home, "flights", "--limit", "100")) == 5, "the release")
        assert "No deletes" in home.headrace("held", "list").stdout


def test_discarded_deletes_leave_the_rows_as_they_were(home: Home) -> None:
    append(home, *(change(number, number, time=NOON, status="planned") for number in range(1, 31)))
    with Running(home, "tables"):
        wait_until(lambda: len(rows(home, "flights", "--limit", "100")) == 30, "all flights")
        append(home, *(change(number, 100 + number, op="delete", time=NOON) for number in range(1, 31)))
        wait_until(lambda: "30" in home.headrace("held", "list").stdout, "the hold")
        assert home.headrace("held", "discard", "flights").returncode == 0
        wait_until(lambda: "No deletes" in home.headrace("held", "list").stdout, "the decision")
        assert len(rows(home, "flights", "--limit", "100")) == 30
        assert all(not found["held"] for found in table(home, "flights"))
        append(home, change(1, 101, op="delete", time=NOON), change(2, 200, op="delete", time=NOON + 120_000))
        wait_until(lambda: 2 not in rows(home, "flights", "--limit", "100"), "a delete that is meant")
        assert 1 in rows(home, "flights", "--limit", "100")


def test_whole_records_are_appended_as_they_are(home: Home) -> None:
    row = {"key": {"id": 9}, "value": change(9, 1, fare=0.1), "time": NOON, "headers": {"trace": "7"}}
    deletion = {"key": {"table": "flights", "key": {"id": 9}}, "value": None}
    lines = json.dumps(row) + "\n" + json.dumps({**row, "key": {"id": 8}, "value": change(8, 2)}) + "\n"
    assert "2 events" in home.headrace("log", "append", "ops", "--records", stdin=lines).stdout
    with Running(home, "tables"):
        wait_until(lambda: set(rows(home, "flights")) == {8, 9}, "both flights")
        assert "1 events" in home.headrace("log", "append", "ops", "--records", stdin=json.dumps(deletion)).stdout
        wait_until(lambda: set(rows(home, "flights")) == {8}, "the delete by a tombstone")
    for line in ("{}", "flight;9", '{"key": 1}'):
        refused = home.headrace("log", "append", "ops", "--records", stdin=line)
        assert refused.returncode == 1
        assert "line 1 is not a JSON object with" in refused.stderr


def test_a_second_run_is_refused_and_spoils_nothing(home: Home) -> None:
    append(home, change(1, 1, status="planned"))
    with Running(home, "tables"):
        wait_until(lambda: rows(home, "flights"), "the flight")
        second = home.headrace("run", "tables")
        assert second.returncode == 1
        assert "has a writer already" in second.stderr
        assert "Traceback" not in second.stderr
    append(home, change(1, 2, status="late"))
    with Running(home, "tables"):
        wait_until(lambda: rows(home, "flights", "--where", "status=late"), "the change after the restart")


def test_the_history_of_the_columns_is_listed(home: Home) -> None:
    append(home, change(1, 1, gate=4), change(2, 2, gate="B4"), change(3, 3, gate=None, notes="late"))
    with Running(home, "tables"):
        wait_until(lambda: len(rows(home, "flights")) == 3, "all flights")
    kinds = {found["column"]: (found["kind"], set(found["seen"])) for found in table(home, "flights", "--schema")}
    assert kinds == {"id": ("int", {"int"}), "gate": ("mixed", {"int", "text", "null"}), "notes": ("text", {"text"})}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("table", "fligts"), "there is no live table 'fligts'"),
        (("table", "flights", "--where", "status"), "'status' is not a condition"),
        (("table", "flights", "--min-position", ""), "'' is not a position"),
        (("table", "flights", "--max-age", ""), "'' is not a time span"),
        (("table", "flights", "--max-age", "soon"), "'soon' is not a time span"),
        (("table", "flights", "--min-position", "x/y"), "'x/y' is not a position"),
        (("run", "tables", "--folder", "docs"), "reads no folders"),
        (("held", "release", "flights"), "no deletes of 'flights' are held back"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(home: Home, arguments: tuple[str, ...], said: str) -> None:
    answer = home.headrace(*arguments)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_without_settings_the_flow_says_what_it_needs(tmp_path: Path) -> None:
    answer = Home(tmp_path).headrace("run", "tables")
    assert answer.returncode == 1
    assert "[[tables.streams]]" in answer.stderr
