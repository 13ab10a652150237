"""A flow in several processes: other numbers of them go on where the last ones were, and what is wrong is said once."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from events.log import LogRecord
from fixtures.generator_source import Scale
from tests.integration.clusters import STREAM, Place
from tests.integration.live import SECONDS

SCALE = Scale(seed=5, rows=300, events=4_000)


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ask(place: str, number: int, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{number}/{place}", headers=headers)  # ours
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(number: int) -> dict[tuple[Any, ...], float]:
    """Return the metrics that are served at a port, by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(ask("metrics", number)[1])
        for sample in family.samples
    }


def test_two_then_three_then_one_go_on_where_the_last_ones_were(tmp_path: Path) -> None:
    place = Place(tmp_path, SCALE, parts=6)
    chance = random.Random(2)
    for processes in (2, 3):
        with place.running("--processes", str(processes)) as running:
            place.append_part()
            running.kill_one(chance)
            place.append_part()
            running.wait_until(lambda: place.health()["restarts"] == 1, "all to be started again")
            running.wait_until(place.is_taken_in, "everything to be taken in")
            assert len(place.engines()) == processes
            assert running.stop() == 0
    with place.running("--processes", "1") as running:
        place.append_part()
        place.append_part()
        running.wait_until(place.is_taken_in, "everything to be taken in")
        assert not (place.data / "tables.cluster.json").exists()
        assert running.stop() == 0
    place.assert_equals_source()
    assert len(list((place.data / "recovery" / "tables").glob("part-*.sqlite3"))) == 64


def test_one_that_hangs_is_told_and_one_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    place.append_part()
    number = port()
    with place.running("--processes", "2", "--metrics-port", str(number)) as running:
        running.wait_until(place.is_taken_in, "everything to be taken in")
        running.wait_until(lambda: place.health()["state"] == "running", "it to run")
        hanging = place.engines()[1]
        hanging.suspend()
        try:
            running.wait_until(lambda: place.health()["state"] == "stuck", "that to be noticed")
            assert ask("health", number)[0] == 503
            assert "but have finished nothing" in running.said()
            assert "the processes of tables run, but finish nothing" in headrace(place, "status", "--check").stderr
        finally:
            hanging.resume()
        running.wait_until(lambda: place.health()["state"] == "running", "it to go on")
        assert ask("health", number) == (200, "running\n")

        hanging.send_signal(signal.SIGINT)
        place.append_part()
        running.wait_until(place.is_taken_in, "everything to be taken in")
        assert place.health()["restarts"] == 0
        assert running.stop() == 0


def test_its_metrics_tell_lag_and_commits_and_nothing_listens_beyond_this_machine(tmp_path: Path) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    place.append_part()
    place.more["BYTEWAX_DATAFLOW_API_ENABLED"] = "1"
    number = port()
    with place.running("--processes", "2", "--no-recovery", "--metrics-port", str(number)) as running:
        running.wait_until(place.health, "its processes")
        running.wait_until(place.is_taken_in, "everything to be taken in")
        listening = [
            connection.laddr.ip
            for process in place.processes()
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert "127.0.0.1" in listening
        assert set(listening) == {"127.0.0.1"}

        running.wait_until(lambda: samples(number)["headrace_source_backlog", STREAM, "tables"] == 0, "no backlog")
        told = samples(number)

        def of_partition(*key: str) -> float:
            return told[key]

        assert told["headrace_cluster_running",] == told["headrace_cluster_processes",] == 2
        assert told["headrace_cluster_restarts",] == 0
        for partition, offset in place.applied().items():
            labels = (partition.rpartition("/")[2], STREAM, "tables")
            assert of_partition("headrace_partition_offset", *labels) == offset
            assert of_partition("headrace_partition_lag_seconds", *labels) < 30
            assert abs(of_partition("headrace_partition_commit_timestamp_seconds", *labels) - time.time()) < 60
            newest = max(record.event_time for record in records_of(place, int(labels[0])))
            assert of_partition("headrace_partition_watermark_timestamp_seconds", *labels) * 1000 == pytest.approx(
                newest
            )
        assert ask("health", number) == (200, "running\n")
        assert ask("metrics", number, Host="evil.example:80")[0] == 403
        assert ask("secret", number)[0] == 404
        assert "Bytewax's own endpoint stays off" in running.said()
        assert not (place.data / "recovery").exists()

        status = headrace(place, "status")
        assert "tables runs in 2 processes" in status.stdout
        assert json.loads(headrace(place, "status", "--json").stdout)["clusters"]["tables"]["restarts"] == 0
        second = headrace(place, "run", "tables")
        assert second.returncode == 1
        assert re.fullmatch(r"headrace: .* has a writer already: process \d+ \(.*\)\n", second.stderr)
        assert running.stop(signal.SIGTERM) == 0
        assert running.said().endswith("tables stopped\n")
    logs = {path.name for path in (place.data / "logs").iterdir()}
    assert logs == {"tables-0.log", "tables-1.log"}


def records_of(place: Place, partition: int) -> list[LogRecord]:
    return place.log.read(STREAM, partition, 0, 1_000_000)[0]


def headrace(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.cli", *arguments]
    return subprocess.run(
        command, cwd=place.home, env=place.environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_a_wrong_setting_ends_it_with_one_line(tmp_path: Path) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    absent = json.dumps([{"name": "docs", "path": str(tmp_path / "absent")}])
    place.more["HEADRACE_KNOWLEDGE__FOLDERS"] = absent
    ended = headrace(place, "run", "knowledge", "--processes", "2")
    assert ended.returncode == 1
    explained = [line for line in ended.stderr.splitlines() if line.startswith("headrace: ")]
    assert len(explained) == 1
    assert str(tmp_path / "absent") in explained[0]
    assert "Traceback" not in ended.stderr
    assert place.processes() == []


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["run", "capture", "--processes", "2"], {"HEADRACE_CAPTURE__KINESIS": '[{"name":"k","kinesis_stream":"k"}]'},
         "the flow 'capture' has one reader"),
        (["run", "tables", "--processes", "2"], {"BYTEWAX_ADDRESSES": "a:1;b:1"}, "one of a cluster over machines"),
        (["run", "tables", "--processes", "0"], {}, "--processes"),
        (["run", "tables"], {"HEADRACE_CLUSTER__PROCESSES": "65"}, "cluster.processes"),
        (["run", "tables"], {"BYTEWAX_ADDRESSES": "a:1;b:1", "BYTEWAX_PROCESS_ID": "one"}, "set BYTEWAX_PROCESS_ID"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_cluster_is_refused(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    place.more |= variables
    ended = headrace(place, *arguments)
    assert ended.returncode != 0
    assert said in ended.stderr


def test_up_runs_each_flow_as_a_cluster_that_mends_itself(tmp_path: Path) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    place.append_part()
    with place.running("--flow", "tables", "--no-server", "--processes", "2", command="up") as running:
        running.wait_until(lambda: len(place.engines()) == 2, "its processes")
        running.kill_one(random.Random(3))
        running.wait_until(lambda: place.health()["restarts"] == 1, "all to be started again")
        running.wait_until(place.is_taken_in, "everything to be taken in")
        assert json.loads((place.data / "up.json").read_bytes())["processes"]["tables"]["restarts"] == 0
        assert running.stop() == 0
        assert place.processes() == []
