"""Metrics are for whoever asks from this machine; that they cannot be served stops nothing."""

from __future__ import annotations

import os
import socket
from http.client import HTTPConnection
from pathlib import Path

import pytest

from fixtures.servers import free_port
from serving.cluster.endpoint import serving_metrics
from stores.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(data_dir=tmp_path / "data")


def ask(port: int, path: str, host: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("flow", ["capture", "knowledge", "tables", "profiles", "feedback", "lake", "delivery"])
def test_before_there_is_anything_each_flow_says_that_it_does_not_run(settings: Settings, flow: str) -> None:
    port = free_port()
    with serving_metrics(flow, settings, port):
        code, text = ask(port, "/metrics", f"localhost:{port}")
    assert code == 200
    assert "headrace_overview_up 1.0" in text
    assert "headrace_partition_lag_seconds{" not in text


def test_a_page_that_calls_itself_otherwise_gets_nothing(settings: Settings) -> None:
    port = free_port()
    with serving_metrics("tables", settings, port):
        assert ask(port, "/metrics", "rebound.example")[0] == 403
        assert ask(port, "/metrics", f"rebound.example:{port}")[0] == 403
        assert ask(port, "/metrics", f"127.0.0.1:{port}")[0] == 200
        assert ask(port, "/metrics", "127.0.0.1")[0] == 200
        assert ask(port, "/", "127.0.0.1")[0] == 404


def test_a_flow_that_has_finished_nothing_for_a_minute_is_not_well(settings: Settings) -> None:
    port, now = free_port(), [1_700_000_000_000]
    recovery = settings.data_dir / "recovery" / "tables"
    recovery.mkdir(parents=True)
    noted = recovery / "part-0.sqlite3"
    noted.touch()
    os.utime(noted, ns=(0, 0))
    with serving_metrics("tables", settings, port, recovery=recovery, clock=lambda: now[0]):
        now[0] += 59_999
        assert ask(port, "/health", "localhost") == (200, "running\n")
        now[0] += 1
        assert ask(port, "/health", "localhost") == (503, "stuck: nothing was finished for 60 s\n")
        os.utime(noted, ns=(now[0] * 1_000_000,) * 2)
        assert ask(port, "/health", "localhost")[0] == 200


def test_a_port_that_is_taken_is_told_and_stops_nothing(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = []
        with serving_metrics("tables", settings, port):
            done.append(True)
    assert done
    assert f"no metrics are served: port {port} of 127.0.0.1 cannot be used" in capsys.readouterr().err
