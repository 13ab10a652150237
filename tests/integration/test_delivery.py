"""The delivery flow into files, killed in the middle: every record is in exactly one file."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from events.log import LogRecord
from stores.delivery.outbox import read_applied
from stores.log.files import FileLog
from tests.integration.live import wait_until
from tests.servers import aws

NOW = 1_795_000_000_000
CONFIG = """
[delivery]
batch_size = 100
[[delivery.files]]
name = "lake"
streams = ["clicks"]
endpoint = "{endpoint}"
bucket = "{bucket}"
megabytes = 0.005
"""


class World:
    """A log, a bucket, and the flow between them."""

    def __init__(self, server: aws.Aws, folder: Path) -> None:
        self.s3 = server.client("s3")
        self.bucket = f"lake-{uuid4().hex}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
        self.folder = folder
        (folder / "headrace.toml").write_text(CONFIG.format(endpoint=server.endpoint, bucket=self.bucket))
        self.log = FileLog(folder / "data" / "log", partitions=3)
        self.appended = 0

    def append(self, count: int) -> None:
        numbers = range(self.appended, self.appended + count)
        made = [LogRecord("clicks", 0, 0, NOW + n, b"%d" % (n % 50), json.dumps({"n": n}).encode()) for n in numbers]
        self.log.append("clicks", made)
        self.appended += count

    def start(self, mode: str = "live", *, recovery: bool = True) -> subprocess.Popen[bytes]:
        """Start the flow as a process."""
        arguments = ["-m", "bytewax.run", "dataflows.delivery", "-s", "1"]
        if recovery:
            store = self.folder / "recovery"
            if not store.exists():
                from bytewax.recovery import init_db_dir

                store.mkdir()
                init_db_dir(store, 2)
            arguments += ["-r", str(store), "-b", "0"]
        variables = {
            "HEADRACE_CONFIG": str(self.folder / "headrace.toml"),
            "HEADRACE_DATA_DIR": str(self.folder / "data"),
            "HEADRACE_LOG__DIR": str(self.folder / "data" / "log"),
            "HEADRACE_MODE": mode,
        }
        with (self.folder / "flow.log").open("ab") as out:
            return subprocess.Popen(
                [sys.executable, *arguments], env={**os.environ, **variables}, stdout=out, stderr=out
            )

    def names(self) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def delivered(self) -> Counter[int]:
        found: Counter[int] = Counter()
        for name in self.names():
            body: Any = self.s3.get_object(Bucket=self.bucket, Key=name)["Body"]
            found.update(json.loads(line)["n"] for line in gzip.decompress(body.read()).splitlines())
        return found

    def kill_when_more_than(self, files: int, process: subprocess.Popen[bytes]) -> None:
        try:
            wait_until(lambda: process.poll() is not None or len(self.names()) > files, "files in the bucket")
        finally:
            process.send_signal(signal.SIGKILL)
            assert process.wait(30) == -signal.SIGKILL, (self.folder / "flow.log").read_text()

    def finish(self, *, recovery: bool = True) -> None:
        """Let the flow read everything to its end, and deliver it."""
        process = self.start("replay", recovery=recovery)
        assert process.wait(60) == 0, (self.folder / "flow.log").read_text()


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(aws.running(request.config), tmp_path)
    yield made
    made.s3.close()


def test_killed_in_the_middle_with_and_without_its_recovery_state_each_record_is_in_one_file(world: World) -> None:
    world.append(6000)
    world.kill_when_more_than(2, world.start())
    world.append(3000)
    world.kill_when_more_than(len(world.names()) + 2, world.start())
    world.append(100)
    world.finish(recovery=False)
    assert world.delivered() == Counter(range(9100))
    ends = {str(partition): world.log.bounds("clicks", partition)[1] for partition in world.log.partitions("clicks")}
    noted = read_applied(world.folder / "data" / "delivery" / "lake.sqlite3")
    assert {mark.partition: mark.offset for mark in noted} == ends


def test_a_bucket_that_is_not_there_stops_the_flow_with_one_line(world: World) -> None:
    world.append(10)
    world.s3.delete_bucket(Bucket=world.bucket)
    assert world.start("replay").wait(60) != 0
    said = (world.folder / "flow.log").read_text()
    assert f"the bucket '{world.bucket}' does not exist" in said
