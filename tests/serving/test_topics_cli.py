"""`headrace topics` on a real broker: what is listed is there, and making topics twice is making them once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from events.clock import system_clock
from events.errors import HeadraceError, StoreError
from events.log import LogRecord
from serving.commands.topics import app
from stores.log.kafka.log import KafkaLog
from stores.log_settings import KafkaSettings
from tests.servers import broker

DAY = 86_400_000


@pytest.fixture
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaLog]:
    """Return the log that the settings of the commands name."""
    server = broker.running(request.config)
    prefix = server.prefix()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headrace.toml").write_text(
        f"""
        [log]
        backend = "kafka"
        partitions = 2
        [log.kafka]
        servers = ["{server.address}"]
        prefix = "{prefix}"
        group = "{prefix}flows"
        [[tables.streams]]
        name = "flights"
        [[capture.postgres]]
        name = "shop"
        dsn = "host=db"
        tables = ["public.orders"]
        """
    )
    opened = KafkaLog(KafkaSettings(servers=(server.address,), prefix=prefix, group=f"{prefix}flows"))
    yield opened
    opened.close()


def said(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def listed() -> dict[str, dict[str, Any]]:
    return {found["stream"]: found for found in map(json.loads, said("list", "--json"))}


def test_all_streams_that_the_settings_name_are_made_once(log: KafkaLog) -> None:
    assert said("list") == ["there are no streams; `headrace topics create` makes those that the settings name"]
    assert said("create") == [f"{name}: made with 2 partitions" for name in ("flights", "shop")]
    assert said("create") == [f"{name}: was there with 2 partitions" for name in ("flights", "shop")]
    assert {name: found["partitions"] for name, found in listed().items()} == dict.fromkeys(("flights", "shop"), 2)


def test_a_topic_is_made_as_it_is_wanted_and_grows(log: KafkaLog) -> None:
    assert said("create", "a", "--partitions", "1", "--retention", "7d") == ["a: made with 1 partition"]
    assert said("create", "b", "--compacted") == ["b: made with 2 partitions"]
    assert said("create", "c", "--compacted", "--retention", "1d") == ["c: made with 2 partitions"]
    assert said("create", "d", "--retention", "forever", "--replication", "1") == ["d: made with 2 partitions"]
    assert said("create", "a", "b", "--partitions", "3") == [
        "a: grown from 1 to 3 partitions",
        "b: grown from 2 to 3 partitions",
    ]
    assert said("create", "a", "--partitions", "1") == ["a: was there with 3 partitions; it cannot have 1"]

    found = listed()

    assert {name: (one["partitions"], one["compacted"]) for name, one in found.items()} == {
        "a": (3, False),
        "b": (3, True),
        "c": (2, True),
        "d": (2, False),
    }
    assert [found[name]["retention_ms"] for name in "acd"] == [7 * DAY, DAY, None]
    assert found["a"]["topic"].endswith(".a")
    assert found["a"]["replication"] == 1


def test_records_and_what_flows_have_to_read_of_them_are_shown(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.create("flights", 2)
    log.create("idle", 1)
    log.append("flights", [LogRecord("", 0, 0, system_clock(), None, b"%d" % n) for n in range(10)])
    log.mirror("tables", {("flights", 0): 4, ("flights", 1): 2})
    log.mirror("profiles", {("flights", 0): 5, ("flights", 1): 5})
    log.close()

    found = listed()

    assert (found["flights"]["records"], found["flights"]["lag"]) == (10, {"tables": 4, "profiles": 0})
    assert (found["idle"]["records"], found["idle"]["lag"]) == (0, {})
    monkeypatch.setenv("COLUMNS", "200")
    table = said("list")
    assert "tables 4, profiles 0" in next(line for line in table if "flights" in line)


def test_what_cannot_be_made_is_said_in_one_line(log: KafkaLog) -> None:
    with pytest.raises(StoreError, match="not so many brokers"):
        said("create", "a", "--replication", "7")
    with pytest.raises(StoreError, match=r"'\.\./a' is not a name"):
        said("create", "../a")
    with pytest.raises(HeadraceError, match="nothing is kept for '0d'"):
        said("create", "a", "--retention", "0d")
    with pytest.raises(HeadraceError, match="'soon' is not a time span"):
        said("create", "a", "--retention", "soon")
    assert log.streams() == []


def test_a_log_in_files_has_no_topics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = "the log is kept in files: there are no topics; `headrace log streams` lists its streams"
    for command in (["list", "--json"], ["create"]):
        told = CliRunner().invoke(app, command)
        # Programs that read JSON get none.
        assert (told.stdout, told.stderr, told.exit_code) == ("", f"{line}\n", 0)
