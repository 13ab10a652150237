"""Metrics are for whoever asks from this machine; that they cannot be served stops nothing."""

from __future__ import annotations

import os
import socket
import struct
import threading
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import pytest

from fixtures.servers import free_port
from serving.cluster.endpoint import Endpoint, serving_metrics
from stores.settings import Settings, load
from tests.integration.live import wait_until


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


def answering() -> bool:
    """Tell whether a request is under way."""
    return any("process_request_thread" in thread.name for thread in threading.enumerate())


def test_of_a_client_that_leaves_nothing_is_said(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with serving_metrics("tables", settings, port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHo")
            wait_until(answering, "the request to be listened to")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
        wait_until(lambda: not answering(), "the end of the request")
        assert ask(port, "/health", "localhost")[0] == 200
    assert capsys.readouterr().err == ""


def test_a_request_that_cannot_be_answered_is_one_line(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(_: Endpoint) -> None:
        detail = "odd,\nand more"
        raise ValueError(detail)

    monkeypatch.setattr(Endpoint, "state", odd)
    port = free_port()
    with serving_metrics("tables", settings, port):
        with pytest.raises(RemoteDisconnected):
            ask(port, "/health", "localhost")
        wait_until(lambda: not answering(), "the end of the request")
    assert capsys.readouterr().err == "WARNING a request for metrics was not answered: ValueError: odd, and more\n"
