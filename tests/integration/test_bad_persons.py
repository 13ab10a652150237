"""Events of customers that nobody should have to fear, and identifiers that would bring everybody together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from events.clock import system_clock
from events.log import LogRecord
from fixtures import customers_broken
from stores.dead_letters import DeadLetters, KeptLetter
from stores.log.files import FileLog
from stores.profiles.choose import open_profile_reader
from tests.dataflows.profiles_content import CONFIG, STREAMS, replay, settings_of

Outcome = tuple[dict[str, Any], list[KeptLetter], Path]
SHARED, OTHERS = 100_000, 40


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run over the recorded bad events; return the content, the dead letters and the data folder."""
    home = tmp_path_factory.mktemp("broken")
    config = home / "headrace.toml"
    config.write_text(CONFIG.read_text().replace('name = "crm"\nformat', 'name = "customers-broken"\nformat', 1))
    found = replay(STREAMS, home / "data", config=config)
    return found, DeadLetters(home / "data" / "dead_letters.sqlite3", system_clock).list(), home


def test_every_bad_event_is_one_dead_letter(broken: Outcome) -> None:
    bad = [case for case in customers_broken.cases() if case.reason]
    reasons = [kept.letter.reason for kept in broken[1]]
    assert len(reasons) == len(bad)
    assert not [reason for reason in reasons if reason.startswith("unexpected") or "\n" in reason]


def test_the_good_events_between_them_are_taken_in(broken: Outcome) -> None:
    reader = open_profile_reader(settings_of(broken[2] / "data", broken[2] / "headrace.toml"))
    for key, row in customers_broken.rows().items():
        stored = reader.row("customers", "crm", key)
        assert stored is not None
        assert stored.image == row
    reader.close()


def test_an_identifier_that_a_hundred_thousand_share_links_nobody_and_is_reported(tmp_path: Path) -> None:
    config = tmp_path / "headrace.toml"
    config.write_text(
        '[[profiles.streams]]\nname = "crm"\n[[profiles.tables]]\nname = "c"\ntable = "customers"\n'
        'identifiers = { email = ["email"], loyalty = ["card"] }\n'
    )
    log = FileLog(tmp_path / "log", partitions=1)
    rows = [{"id": id_, "email": "desk@agency.example", "card": f"CARD{id_ // 2:08d}"} for id_ in range(SHARED)]
    rows += [{"id": SHARED + id_, "email": f"own{id_ // 2}@x.example", "card": None} for id_ in range(OTHERS)]
    log.append("crm", [event(row) for row in rows])
    found = replay(tmp_path / "log", tmp_path / "data", config=config)
    assert found["shared"] == [("default", "email:desk@agency.example", SHARED, 10)]
    sizes = {len(members) for _, members in found["profiles"].values()}
    assert (sizes, len(found["profiles"])) == ({2}, (SHARED + OTHERS) // 2)


def event(row: dict[str, Any]) -> LogRecord:
    value = {"source": "crm", "table": "customers", "key": {"id": row["id"]}, "op": "create", "after": row}
    return LogRecord("crm", 0, 0, 1_000 + row["id"], str(row["id"]).encode(), json.dumps(value).encode())
