"""Everything at once: the flows that have work and the server, each a process of its own, until Ctrl-C.

Invariants: one supervisor a data folder; a process that dies is started again, the others go on meanwhile; when the
supervisor ends, however that happens, nothing of it is left running.
"""

from __future__ import annotations

import os
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from events.clock import system_clock
from events.errors import HeadraceError
from serving.access.keys import new_key
from serving.commands.serve import PAGE_KEY
from serving.runs import ALONE, UP, folders_of, lock_path, make_folder, missing, streams_of, with_work
from serving.supervise import health
from serving.supervise.log_file import LogFile, share_of
from serving.supervise.process import Process, headrace
from serving.supervise.restarts import ticks
from serving.supervise.stopping import Stopping, stopping_by_signals
from serving.supervise.team import SERVER, Member, Team
from serving.supervise.told import Told
from stores.settings import FLOWS, Settings

STOP_SECONDS = 9.0
"""Time to stop by themselves; then they are ended."""
_KILL_SECONDS = 1.0
_TURN_SECONDS = 0.05


def run(
    settings: Settings,
    *,
    flows: Sequence[str] = (),
    server: bool = True,
    open_page: bool = False,
    console: Console | None = None,
) -> int:
    """Run everything until SIGINT, SIGTERM or SIGHUP; return the exit code. Only the main thread can.

    What the processes run with are the variables and the file that `settings` were read from; the server's address is
    taken from `settings` itself.

    :arg flows: Only these; default: all that the settings give work to.
    :arg server: Whether the server runs as well.
    :arg open_page: Open its page in the user's browser.
    :arg console: Where it is shown what happens; default: standard output.
    :raises HeadraceError: When there is nothing to run, or everything runs already over these data.
    """
    names = _checked(settings, flows)
    if not (names or server):
        detail = "there is nothing to run"
        raise HeadraceError(detail, "name folders and streams in headrace.toml; see the README")
    with _only_one(settings.data_dir), _lifeline() as alive, stopping_by_signals() as stopping:
        supervisor = Supervisor(settings, names, alive, console or Console(), server=server, open_page=open_page)
        try:
            return supervisor.run(stopping)
        finally:
            supervisor.end(stopping)


class Supervisor:
    """Runs the processes.

    :arg alive: Reading end of a pipe that closes when this process ends.
    """

    def __init__(
        self,
        settings: Settings,
        flows: Sequence[str],
        alive: int,
        console: Console,
        *,
        server: bool,
        open_page: bool,
    ) -> None:
        self._settings = settings
        self._open_page = open_page
        self._key = new_key() if server else ""
        self._address = ""
        self._since = system_clock()
        self._health: health.Health | None = None
        environment = {name: value for name, value in os.environ.items() if name != PAGE_KEY}
        self._alive = alive
        processes = {
            flow: Process(headrace(alive, "run", flow, *_processes_of(flow, settings)), environment, [alive])
            for flow in flows
        }
        if server:
            command = self._serve(settings.serving.port)
            self._server = processes[SERVER] = Process(command, environment | {PAGE_KEY: self._key}, [alive])
        self._told = Told(console, [*processes])
        logs = settings.data_dir / "logs"
        most = share_of(settings.cluster.log_megabytes)
        members = [
            Member(name, process, LogFile(logs / f"{name}.log", system_clock, most), ticks, system_clock)
            for name, process in processes.items()
        ]
        self._team = Team(members, self._told, self._key, self._announce)
        what = ", ".join(processes)
        self._told.say(f"headrace up: {what}, over {settings.data_dir}; what they say is kept in {logs}")
        if "knowledge" in flows and not folders_of("knowledge", settings):
            only = ", ".join(streams_of("knowledge", settings))
            self._told.say(f"no folder is named in headrace.toml: knowledge follows the stream {only} only")

    def run(self, stopping: Stopping) -> int:
        """Look after them until it is asked to stop."""
        while not stopping.asked:
            self._team.turn()
            self._tell_health()
            if self._team.is_lost:
                self._told.say("nothing is left to run", "red")
                return 1
            self._told.status(self._team.status(ticking=self._told.is_terminal))
            time.sleep(_TURN_SECONDS)
        return 0

    def end(self, stopping: Stopping) -> None:
        """Stop all of them: at first asked to, then, or when asked again, ended."""
        asked = stopping.asked
        self._told.status("stopping")
        self._team.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while not self._team.is_gone and time.monotonic() < deadline and stopping.asked <= max(asked, 1):
            self._team.await_end()
            time.sleep(_TURN_SECONDS)
        self._team.kill()
        deadline = time.monotonic() + _KILL_SECONDS
        while not self._team.is_gone and time.monotonic() < deadline:
            self._team.await_end()
            time.sleep(_TURN_SECONDS)
        self._team.close()
        with suppress(OSError):
            health.remove(self._settings.data_dir)
        self._told.close()
        self._told.say("stopped")

    def _announce(self, address: str) -> None:
        if self._address:
            return  # the server is back, at the same address
        self._address = address
        page = f"{address}#key={self._key}"
        self._told.say(f"the page: {page}", "bold")
        # A port that was chosen by the system stays the server's own.
        port = address.rstrip("/").rpartition(":")[2]
        self._server.command = self._serve(int(port))
        if self._open_page:
            webbrowser.open(page)

    def _serve(self, port: int) -> list[str]:
        return headrace(self._alive, "serve", "--host", self._settings.serving.host, "--port", str(port))

    def _tell_health(self) -> None:
        now = health.Health(os.getpid(), self._since, self._address, dict(self._team.health()))
        if now != self._health:
            self._health = now
            with suppress(OSError):
                health.write(self._settings.data_dir, now)


def _processes_of(flow: str, settings: Settings) -> list[str]:
    return [] if flow in ALONE else ["--processes", str(settings.cluster.processes)]


def _checked(settings: Settings, flows: Sequence[str]) -> list[str]:
    if settings.mode == "replay":
        detail = "a replay ends by itself, and is not to be started again"
        raise HeadraceError(detail, "leave `mode` out, or use `headrace replay`")
    for flow in flows:
        if flow not in FLOWS:
            detail = f"there is no flow {flow!r}"
            raise HeadraceError(detail, f"the flows are: {', '.join(FLOWS)}")
        if sections := missing(flow, settings):
            detail = f"there is nothing to do for the flow {flow!r}"
            raise HeadraceError(detail, f"headrace.toml needs {' and '.join(sections)}; see the README")
    return [flow for flow in with_work(settings) if not flows or flow in flows]


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    import fcntl

    make_folder(data)
    lock = os.open(lock_path(UP, data), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        detail = f"`headrace up` runs already over {data}"
        raise HeadraceError(detail, "stop it first, or name another data folder by HEADRACE_DATA_DIR") from None
    finally:
        os.close(lock)


@contextmanager
def _lifeline() -> Iterator[int]:
    """Give the reading end of a pipe that closes when this process ends: nobody else has the other end."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(writing)
        os.close(reading)
