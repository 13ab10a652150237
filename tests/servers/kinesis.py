"""A server that speaks as Kinesis does, shards that close among it: `kinesis-local` of npm, in a process of its own.

It listens on this machine only, on free ports, in a folder of its own; it ends with the test session, and with the
process that runs the tests, however that ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

REGION = "eu-central-1"
_PACKAGE = "kinesis-local@0.6.2"
_INSTALL_SECONDS = 60
_PLAIN, _TLS = "1", "2"
# The package listens on all addresses and cannot be told otherwise.
_BEFORE = """
const net = require("net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
  const wanted = typeof given[0] === "object" ? given[0].port : given[0];
  const done = given.find((one) => typeof one === "function");
  this.once("listening", () => console.log("PORT", wanted, this.address().port));
  return listen.call(this, { port: 0, host: "127.0.0.1" }, done);
};
process.stdin.on("end", () => process.exit()).resume();
"""
_SHORTLY = ("CREATE_STREAM", "DELETE_STREAM", "MERGE_SHARDS", "SPLIT_SHARD", "UPDATE_SHARD_COUNT")


class Kinesis:
    """The running server. Whatever keys are shown to it are right."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-kinesis-"))
        try:
            package = self._install()
            (self.folder / "before.cjs").write_text(_BEFORE)
            self._process = subprocess.Popen(
                [shutil.which("node") or "node", "-r", self.folder / "before.cjs", "main.js"],
                cwd=package,
                env={
                    "PATH": os.environ["PATH"],
                    "LOG_LEVEL": "ERROR",
                    "AWS_REGION": REGION,
                    "KINESIS_MOCK_PLAIN_PORT": _PLAIN,
                    "KINESIS_MOCK_TLS_PORT": _TLS,
                    **{f"{what}_DURATION": "10ms" for what in _SHORTLY},
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self.endpoint = f"http://127.0.0.1:{self._port()}"
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def client(self) -> Any:
        """Return a client of boto3; whoever asks closes it."""
        import boto3

        return boto3.session.Session().client(
            "kinesis",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106  # any is right
        )

    def stop(self) -> None:
        """Stop the server and remove all that it has left."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _install(self) -> Path:
        npm = shutil.which("npm") or "npm"
        command: list[str | Path] = [
            npm,
            "install",
            "--prefix",
            self.folder,
            "--prefer-offline",
            "--no-audit",
            "--no-fund",
            _PACKAGE,
        ]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=_INSTALL_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            done = None
        package = self.folder / "node_modules" / "kinesis-local"
        if done is None or done.returncode or not package.is_dir():
            pytest.skip(f"no server that speaks as Kinesis here: npm cannot install {_PACKAGE}")
        return package

    def _port(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = line.decode().split()
            if words[:2] == ["PORT", _PLAIN]:
                return words[2]
        self.stop()
        pytest.fail(f"{_PACKAGE} did not start", pytrace=False)


def running(config: pytest.Config) -> Kinesis:
    """Return the server of this test session; skip the test where there is none to be had."""
    server = config.stash.get(_SERVER, None)
    if server is None:
        pytest.importorskip("boto3", reason="boto3 is not installed")
        if not shutil.which("node") or not shutil.which("npm"):
            pytest.skip("no server that speaks as Kinesis here: install Node.js with npm")
        server = config.stash[_SERVER] = Kinesis()
        config.add_cleanup(server.stop)
    return server


_SERVER = pytest.StashKey[Kinesis]()
