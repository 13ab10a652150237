"""A flow's metrics over HTTP, for this machine alone, beside the flow and not in its way.

Bytewax's own endpoint listens to the whole network and cannot be told otherwise, so that it stays off. This one listens
to loopback, knows `/metrics` and `/health`, and looks at stores and processes only when somebody asks.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import typer
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from events.clock import Clock, system_clock
from serving.cluster import health
from serving.cluster.health import State
from serving.cluster.ports import LOOPBACK
from serving.cluster.pulse import STUCK_MILLIS, last_epoch
from serving.overview import Watch
from serving.overview.gauges import gauges
from serving.supervise.process import descendants
from stores.settings import Settings

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAMES = ("127.0.0.1", "localhost")
_OWN_SECONDS = 10.0
"""Time within which a request has to be made: who holds a connection does not hold up others."""


@contextmanager
def serving_metrics(
    flow: str, settings: Settings, port: int, *, recovery: Path | None = None, clock: Clock = system_clock
) -> Iterator[None]:
    """Serve the metrics of a flow while the block lasts; a port that is taken is told, and stops nothing.

    :arg recovery: Where the flow keeps its state; None if it does not, and then nobody notices that it hangs.
    """
    try:
        server = Endpoint(flow, settings, port, clock, recovery)
    except OSError as error:
        told = f"WARNING no metrics are served: port {port} of {LOOPBACK} cannot be used: {error.strerror}"
        typer.echo(f"{told} (choose another by --metrics-port)", file=sys.stderr)
        yield
        return
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        server.close()


class Endpoint(ThreadingHTTPServer):
    """The server, listening from its making on.

    :raises OSError: When the port is taken.
    """

    daemon_threads = True

    def __init__(self, flow: str, settings: Settings, port: int, clock: Clock, recovery: Path | None) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.flow = flow
        self.settings = settings
        self._recovery = recovery
        self._clock = clock
        self._began = clock()
        self._watch = Watch(settings, clock, flows=(flow,))
        self._registry = CollectorRegistry()
        self._registry.register(_Gauges(flow, settings.data_dir, self._watch))

    def metrics(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self._registry)

    def state(self) -> State:
        """Tell how the flow's processes are at this moment."""
        found = health.read(self.flow, self.settings.data_dir)
        if found is not None:
            return found.state
        last = last_epoch(self._recovery, self._began)
        return "stuck" if last is not None and self._clock() - last >= STUCK_MILLIS else "running"

    def close(self) -> None:
        """Let go of the stores."""
        self._watch.close()

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Say in one line what kept a request from being answered, unless it is that its client has left."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            with suppress(OSError):  # whoever has left does not stop the work
                said = " ".join(f"{type(error).__name__}: {error}".split())
                typer.echo(f"WARNING a request for metrics was not answered: {said}", file=sys.stderr)


_SAID: dict[State, bytes] = {
    "running": b"running\n",
    "stuck": b"stuck: nothing was finished for %d s\n" % (STUCK_MILLIS // 1000),
    "waiting": b"waiting to be started again\n",
}


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint
    timeout = _OWN_SECONDS
    server_version = "headrace"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a request."""
        # A page in somebody's browser may be made to ask here under a name of its own.
        if self.headers.get("Host", LOOPBACK).partition(":")[0] not in _NAMES:
            self.send_error(403)
        elif self.path == "/metrics":
            self._send(200, CONTENT_TYPE, self.server.metrics())
        elif self.path == "/health":
            state = self.server.state()
            self._send(200 if state == "running" else 503, "text/plain", _SAID[state])
        else:
            self.send_error(404)

    @override
    def log_message(self, format: str, *args: object) -> None:  # the name is the library's
        """Say nothing of requests."""

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Gauges(Collector):
    """How the flow stands in its store, and how its processes are."""

    def __init__(self, flow: str, data: Path, watch: Watch) -> None:
        self._flow = flow
        self._data = data
        self._watch = watch

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from gauges(self._watch.look)
        cluster = health.read(self._flow, self._data)
        if cluster is None:
            pids = dict(enumerate(descendants(os.getpid())[:1]))
        else:
            pids = {number: pid for number, pid in enumerate(cluster.processes) if pid is not None}
            yield GaugeMetricFamily("headrace_cluster_processes", "Processes of the cluster.", len(cluster.processes))
            yield GaugeMetricFamily("headrace_cluster_running", "How many of them run.", len(pids))
            yield GaugeMetricFamily(
                "headrace_cluster_restarts", "How often all of them were started again.", cluster.restarts
            )
        seconds = GaugeMetricFamily("headrace_process_cpu_seconds", "Processor time used.", labels=["process"])
        memory = GaugeMetricFamily("headrace_process_resident_bytes", "Memory held.", labels=["process"])
        for number, pid in pids.items():
            used = _used(pid)
            if used is not None:
                seconds.add_metric([str(number)], used[0])
                memory.add_metric([str(number)], used[1])
        yield seconds
        yield memory


def _used(pid: int) -> tuple[float, int] | None:
    """Return processor time (s) and memory (bytes) of a process; None if it is gone, or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # As proc(5) numbers them: 14 and 15 are ticks in user and kernel mode, 24 is the resident set in pages.
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
