"""A real MariaDB server for tests, on loopback: begun at its first use, gone with its folder when the session ends."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fixtures.servers import free_port

START_SECONDS = 30
_SCRIPTS = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
_OPTIONS = {
    "bind-address": "127.0.0.1",
    "server-id": "1",
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "innodb-buffer-pool-size": "24M",
    "innodb-log-file-size": "8M",
    # Nothing here is to survive the machine; a killed server keeps what it has written.
    "innodb-flush-log-at-trx-commit": "2",
    "sync-binlog": "0",
    "character-set-server": "utf8mb4",
    "performance-schema": "OFF",
}


class MariaServer:
    """A running server, which lets `root` in without a password."""

    def __init__(self, program: str, scripts: Path, options: dict[str, str] | None = None) -> None:
        self._program = program
        self.port = free_port()
        self.options = {**_OPTIONS, **(options or {})}
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-maria-"))
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        try:
            (self.folder / "data").mkdir()
            if self._user:
                for path in (self.folder, self.folder / "data"):
                    shutil.chown(path, self._user.pw_uid, self._user.pw_gid)
            self._make(scripts)
            self._process = self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def connect(self, **more: Any) -> Any:
        """Return a connection that commits each statement."""
        import pymysql

        given = {"host": "127.0.0.1", "port": self.port, "user": "root", "autocommit": True, "charset": "utf8mb4"}
        return pymysql.connect(**{**given, **more})

    def kill(self) -> None:
        """Kill the server (-9)."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def start(self) -> None:
        """Start the server that was killed."""
        self._process = self._start()

    def stop(self) -> None:
        """Stop the server and remove all that it has left."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self, scripts: Path) -> None:
        tables = "".join((scripts / name).read_text() for name in _SCRIPTS)
        statements = f"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n{tables}"
        command = [*self._command(), "--bootstrap", "--skip-log-bin"]
        made = subprocess.run(
            command, input=statements, capture_output=True, text=True, check=False, timeout=60, **self._as_user()
        )
        if made.returncode:
            pytest.fail(f"MariaDB's tables could not be made: {made.stderr[-2000:]}", pytrace=False)

    def _command(self) -> list[str]:
        place = ["--no-defaults", f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}"]
        return [self._program, *place, *(f"--{name}={value}" for name, value in self.options.items())]

    def _start(self) -> subprocess.Popen[bytes]:
        import pymysql

        log = self.folder / "log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*self._command(), f"--port={self.port}", f"--pid-file={self.folder / 'data' / 'pid'}"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **self._as_user(),
            )
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.connect().close()
            except pymysql.OperationalError:
                time.sleep(0.02)
            else:
                return process
        process.kill()
        process.wait()
        pytest.fail(f"MariaDB did not start: {log.read_text(errors='replace')[-2000:]}", pytrace=False)

    def _as_user(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"cwd": self.folder, "env": {"PATH": os.defpath}, "start_new_session": True}
        if self._user:
            settings |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return settings


@contextmanager
def another(options: dict[str, str] | None = None) -> Iterator[MariaServer]:
    """Give a server of one's own, to be killed or set up otherwise; skip where there is none to be had."""
    server = _made(options)
    try:
        yield server
    finally:
        server.stop()


def running(config: pytest.Config) -> MariaServer:
    """Return the server of this test session; skip the test where there is none to be had."""
    server = config.stash.get(_SERVER, None)
    if server is None:
        server = config.stash[_SERVER] = _made(None)
        config.add_cleanup(server.stop)
    return server


_SERVER = pytest.StashKey[MariaServer]()


def _made(options: dict[str, str] | None) -> MariaServer:
    pytest.importorskip("pymysqlreplication", reason="no mysql-replication here: pip install 'headrace[mysql]'")
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    program = shutil.which("mariadbd", path=path)
    scripts = glob.glob(f"/usr/share/m*/{_SCRIPTS[0]}")
    if program is None or not scripts:
        pytest.skip("no MariaDB server here: apt-get install mariadb-server-core")
    return MariaServer(program, Path(scripts[0]).parent, options)
