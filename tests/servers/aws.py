"""A server that speaks as AWS does, for tests: moto's, in a process of its own, on a free port of this machine.

It ends with the test session, and with the process that runs the tests, however that ends.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

REGION = "eu-central-1"
_PROGRAM = """
import sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_OTHERS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")


class Aws:
    """The running server. Its keys are in the environment, where boto3 and the flows of tests find them."""

    def __init__(self) -> None:
        self._before = {name: os.environ.get(name) for name in (*_VARIABLES, *_OTHERS)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip().decode()
        if not port:
            self.stop()
            pytest.fail("moto did not start", pytrace=False)
        self.endpoint = f"http://127.0.0.1:{port}"
        for name in _OTHERS:
            os.environ.pop(name, None)
        os.environ.update(_VARIABLES)

    def client(self, service: str) -> Any:
        """Return a client of boto3 for `service`; whoever asks closes it."""
        import boto3

        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION)

    def reset(self) -> None:
        """Let the server forget everything."""
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")  # noqa: S310  # our own address
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310  # our own address
            pass

    def stop(self) -> None:
        """Stop the server; the environment is as before."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def running(config: pytest.Config) -> Aws:
    """Return the server of this test session; skip the test where there is none to be had."""
    server = config.stash.get(_SERVER, None)
    if server is None:
        if not all(map(importlib.util.find_spec, ("boto3", "moto", "flask"))):
            pytest.skip("no server that speaks as AWS here: pip install 'moto[server]' boto3")
        server = config.stash[_SERVER] = Aws()
        config.add_cleanup(server.stop)
    return server


_SERVER = pytest.StashKey[Aws]()
