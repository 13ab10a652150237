"""What goes wrong with Kafka, as users meet it: one line that says what to do, and after that the flow goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from events.clock import system_clock
from events.errors import PASSING, HeadraceError
from events.log import LogRecord
from stores.log.kafka.log import KafkaLog
from stores.log_settings import KafkaSettings
from stores.rows.choose import open_row_reader
from tests.dataflows.tables_content import content, flight, rows_of, settings_of
from tests.integration.live import Home, wait_until
from tests.servers import broker
from tests.servers.broker import Broker

CLIENTS = ("kafka-python-ng", "confluent")
STREAM = "ops"
SECONDS = 60.0
SETTINGS = """
[[tables.streams]]
name = "ops"

[[tables.live]]
name = "flights"
table = "public.flights"
"""


@pytest.fixture(scope="module")
def server(pytestconfig: pytest.Config) -> Broker:
    return broker.running(pytestconfig)


def both(test: Any) -> Any:
    """Run a test with each client, where there is time: every start of a flow takes seconds."""
    return pytest.mark.long(pytest.mark.parametrize("client", CLIENTS)(test))


class Flow:
    """`headrace run tables` over Kafka, with its settings as variables."""

    def __init__(self, folder: Path, server: Broker, client: str) -> None:
        (folder / "headrace.toml").write_text(SETTINGS)
        self.home = Home(folder)
        self._config = folder / "headrace.toml"
        self._data = folder / ".headrace"
        given = {"servers": [server.address], "client": client, "prefix": server.prefix(), "timeout_seconds": 20}
        self.kafka = KafkaSettings.model_validate(given)
        self._variables = {
            "HEADRACE_LOG__BACKEND": "kafka",
            "HEADRACE_LOG__KAFKA__SERVERS": json.dumps([server.address]),
            "HEADRACE_LOG__KAFKA__CLIENT": client,
            "HEADRACE_LOG__KAFKA__PREFIX": self.kafka.prefix,
            "HEADRACE_LOG__KAFKA__TIMEOUT_SECONDS": "2",
            "HEADRACE_TABLES__HEARTBEAT_SECONDS": "0.2",
        }

    @contextmanager
    def log(self) -> Iterator[KafkaLog]:
        """Open the log as the flow's sources would fill it."""
        log = KafkaLog(self.kafka, partitions=1)
        try:
            yield log
        finally:
            log.close()

    def append(self, *numbers: int, fill: int = 0) -> None:
        """Append a flight for each number, with so many letters."""
        with self.log() as log:
            values = [json.dumps(flight("c", number, number, notes="." * fill)).encode() for number in numbers]
            keys = [json.dumps({"id": number}).encode() for number in numbers]
            now = system_clock()
            log.append(STREAM, [LogRecord("", 0, 0, now, *pair) for pair in zip(keys, values, strict=True)])

    def delete(self) -> None:
        """Delete the topic, and wait until it is gone."""
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=list(self.kafka.servers))
        admin.delete_topics([self.kafka.prefix + STREAM])
        admin.close()
        with self.log() as log:
            wait_until(lambda: not log.partitions(STREAM), "the topic to be gone")

    @contextmanager
    def running(self, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Run it while the block lasts."""
        command = [sys.executable, "-m", "serving.cli", "run", "tables"]
        process = subprocess.Popen(
            command,
            cwd=self.home.path,
            env={**os.environ, **self._variables, "NO_COLOR": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=SECONDS)

    def refused(self, **variables: str) -> str:
        """Run it until it gives up; return the one line that it has said of that."""
        with self.running(**variables) as process:
            said = process.communicate(timeout=SECONDS)[1].splitlines()
        assert process.returncode in {1, PASSING}, said
        lines = [line for line in said if not line.startswith("following ")]
        assert len(lines) == 1, said
        assert lines[0].startswith("headrace: ")
        return lines[0]

    def flights(self, data: Path | None = None) -> set[int] | None:
        """Return the numbers of the flights in the live table; None if there is no store yet."""
        try:
            found = content(data or self._data, self._config)
        except HeadraceError:
            return None
        return {row["id"] for row in rows_of(found, "flights").values()}

    def applied(self, data: Path) -> tuple[int, int]:
        """Return how many records have been taken in for good, and when that was said last."""
        reader = open_row_reader(settings_of(data, config=self._config))
        marks = reader.applied()
        reader.close()
        return sum(mark.offset for mark in marks), max((mark.applied_at for mark in marks), default=0)

    def reaches(self, *numbers: int, **variables: str) -> None:
        """Run it until these flights are in the table, no others, and its state knows that it has read all."""
        with self.log() as log:
            end = sum(log.bounds(STREAM, partition)[1] for partition in log.partitions(STREAM))
        data = Path(variables.get("HEADRACE_DATA_DIR", self._data))
        with self.running(**variables):
            wait_until(lambda: self.flights(data) == set(numbers), f"the flights {numbers}")
            wait_until(lambda: self.applied(data)[0] == end, "the end of the stream")
            # An epoch ends when the state of the one before it is safe.
            said_at = self.applied(data)[1]
            wait_until(lambda: self.applied(data)[1] > said_at, "the next epoch")


@pytest.fixture
def flow(server: Broker, client: str, tmp_path: Path) -> Flow:
    pytest.importorskip("confluent_kafka" if client == "confluent" else "kafka")
    return Flow(tmp_path, server, client)


def nobody() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def refused_connections(flow: Flow) -> None:
    """Check what is said of addresses and logins that are wrong."""
    said = flow.refused(HEADRACE_LOG__KAFKA__SERVERS='["no-such-host.invalid:9092"]')
    assert "there is no host of the name in 'no-such-host.invalid:9092'" in said
    assert "log.kafka.servers" in said

    address = nobody()
    said = flow.refused(HEADRACE_LOG__KAFKA__SERVERS=json.dumps([address]))
    assert f"no broker of {address} has answered for 2 s" in said
    assert "log.kafka.servers" in said

    login = {"SECURITY": "sasl_plaintext", "MECHANISM": "SCRAM-SHA-256", "USER": "ana", "PASSWORD": "pa55word"}
    said = flow.refused(**{f"HEADRACE_LOG__KAFKA__{name}": value for name, value in login.items()})
    # What the broker says first: that it does not know the user, or not even the mechanism.
    assert "log.kafka.user" in said or "log.kafka.mechanism" in said
    assert "pa55word" not in said


@pytest.mark.parametrize("client", ["confluent"])
def test_a_wrong_address_and_a_login_that_the_broker_does_not_know_are_one_line(flow: Flow) -> None:
    refused_connections(flow)


@both
def test_after_wrong_addresses_and_a_wrong_login_the_flow_goes_on_where_it_was(flow: Flow) -> None:
    flow.append(1)
    flow.reaches(1)
    flow.append(2)
    refused_connections(flow)
    flow.reaches(1, 2)


@both
def test_a_stream_that_is_not_there_yet_is_waited_for(flow: Flow) -> None:
    with flow.running() as process:
        wait_until(lambda: flow.flights() == set(), "the flow to run")
        assert process.poll() is None
        flow.append(1, 2)
        wait_until(lambda: flow.flights() == {1, 2}, "both flights")


@both
def test_a_topic_made_anew_with_fewer_partitions_is_refused_until_it_has_as_many(flow: Flow) -> None:
    with flow.log() as log:
        log.create(STREAM, 3)
    flow.append(1, 2, 3)
    flow.reaches(1, 2, 3)
    flow.delete()
    with flow.log() as log:
        log.create(STREAM, 1)

    said = flow.refused()
    assert re.search(r"'ops' has 1 partitions, but at least [23] have been read", said)
    assert f"topics create {STREAM} --partitions" in said
    assert flow.flights() == {1, 2, 3}

    with flow.log() as log:
        log.create(STREAM, 3)
    said = flow.refused()
    assert "the topic has been made anew" in said
    flow.append(4)
    flow.reaches(1, 2, 3, 4, HEADRACE_LOG__ON_EXPIRED="oldest")


@both
def test_an_offset_that_retention_has_taken_is_refused_or_passed_over_as_the_settings_say(flow: Flow) -> None:
    flow.append(1, 2)
    flow.reaches(1, 2)
    flow.append(3, 4, 5)
    with flow.log() as log:
        log.client().delete_before(flow.kafka.prefix + STREAM, {0: 4})

    said = flow.refused()
    assert "partition 0 of stream 'ops' begins at offset 4: what was at 2 has been removed" in said
    assert "log.on_expired to 'oldest'" in said
    assert flow.flights() == {1, 2}

    flow.reaches(1, 2, 5, HEADRACE_LOG__ON_EXPIRED="oldest")
    flow.append(6)
    flow.reaches(1, 2, 5, 6)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Mount a disk of that size; skip where this may not be done."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount") or "umount", "-l", str(folder)], check=True)


@both
def test_a_full_disk_is_one_line_and_with_room_the_flow_goes_on(flow: Flow, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 6) as disk:
        flow.append(1)
        flow.reaches(1, HEADRACE_DATA_DIR=str(disk))
        flow.append(*range(2, 400), fill=20_000)

        said = flow.refused(HEADRACE_DATA_DIR=str(disk))
        assert "disk" in said

        grow = [shutil.which("mount") or "mount", "-o", "remount,size=200m", str(disk)]
        subprocess.run(grow, check=True)
        flow.reaches(*range(1, 400), HEADRACE_DATA_DIR=str(disk))
