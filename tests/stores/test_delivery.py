"""Delivery into files on moto's S3: every record in one file, whatever breaks off in between."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from events.dead_letters import DeadLetter
from events.erasure import ERASED
from events.errors import StoreError
from events.log import LogRecord, Mark, as_replay
from stores.delivery.file_names import object_name
from stores.delivery.files import FilesDeliverer
from stores.delivery.intake import DeliveryIntake
from stores.delivery.lines import as_line
from stores.delivery.outbox import Outbox, read_applied
from stores.delivery_settings import FilesDeliverySettings
from tests.servers import aws

NOW = 1_795_000_000_000
HOUR = 3_600_000


class World:
    """A bucket, and a delivery into it that can be left and opened again at any moment."""

    def __init__(self, server: aws.Aws, s3: Any, folder: Path) -> None:
        self.server = server
        self.s3 = s3
        self.bucket = f"lake-{uuid4().hex}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
        self.folder = folder
        self.now = NOW
        self.dead: list[DeadLetter] = []
        self.newest: dict[tuple[str, int], int] = {}

    @property
    def path(self) -> Path:
        return self.folder / "lake.sqlite3"

    def settings(self, **more: Any) -> FilesDeliverySettings:
        said = {"name": "lake", "streams": ("clicks",), "bucket": self.bucket, "endpoint": self.server.endpoint}
        return FilesDeliverySettings(**{**said, "region": aws.REGION, "prefix": "raw/", **more})

    def open(self, *, finish: bool = False, **more: Any) -> DeliveryIntake:
        outbox = Outbox(self.path)
        try:
            deliverer = FilesDeliverer(self.settings(**more), outbox, lambda: self.now)
        except BaseException:
            outbox.close()
            raise
        return DeliveryIntake(
            "delivery.lake",
            "deliver",
            outbox,
            deliverer,
            bury=self.dead.extend,
            ends=lambda stream, partition: self.newest.get((stream, partition), 2**62),
            clock=lambda: self.now,
            batch_size=50,
            finish=finish,
        )

    def objects(self) -> dict[str, bytes]:
        """Return what the bucket holds, unpacked."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        found = {one["Key"]: self.s3.get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read() for one in listed}
        return {name: gzip.decompress(body) if name.endswith(".gz") else body for name, body in found.items()}

    def lines(self) -> list[Any]:
        return [json.loads(line) for body in self.objects().values() for line in body.splitlines()]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> aws.Aws:
    return aws.running(request.config)


@pytest.fixture(scope="module")
def s3(server: aws.Aws) -> Iterator[Any]:
    # Made once: to make a client takes longer than what most tests do with it.
    made = server.client("s3")
    yield made
    made.close()


@pytest.fixture
def world(server: aws.Aws, s3: Any, tmp_path: Path) -> World:
    return World(server, s3, tmp_path)


def record(number: int, *, partition: int = 0, time: int = NOW, value: bytes | None = None) -> LogRecord:
    said = value or json.dumps({"n": number, "partition": partition}).encode()
    return LogRecord("clicks", partition, 10 * number, time, b"k", said)


def records(count: int, partition: int = 0) -> tuple[LogRecord, ...]:
    return tuple(record(number, partition=partition) for number in range(count))


def said(found: Sequence[LogRecord]) -> Counter[bytes]:
    return Counter((one.value or b"").strip() for one in found)


def test_files_go_when_they_are_large_enough_and_are_named_as_firehose_names_them(world: World) -> None:
    intake = world.open(megabytes=0.001)
    intake.write([records(100)])
    intake.close_epoch([])
    before = world.objects()
    intake.close()
    assert len(before) >= 2
    for name, body in before.items():
        assert re.fullmatch(r"raw/2026/11/18/11/lake-1-2026-11-18-11-06-40-[0-9a-f]{32}\.gz", name), name
        assert len(body) >= 0.001 * 2**20
    delivered = [json.loads(line)["n"] for name in before for line in before[name].splitlines()]
    assert len(set(delivered)) == len(delivered) < 100

    again = world.open(megabytes=0.001, finish=True)
    again.close()
    assert sorted(line["n"] for line in world.lines()) == list(range(100))


def test_a_file_goes_when_it_is_old_enough_and_not_before(world: World) -> None:
    intake = world.open(seconds=60, compression="none")
    intake.write([records(3)])
    world.now += 59_999
    intake.close_epoch([])
    assert world.objects() == {}
    world.now += 1
    intake.close_epoch([])
    [(name, body)] = world.objects().items()
    assert name.startswith("raw/2026/11/18/11/lake-1-")
    assert body == b"".join((one.value or b"") + b"\n" for one in records(3))
    intake.close()


def test_records_are_filed_under_the_hour_of_their_own_time_each_stream_apart(world: World) -> None:
    intake = world.open(prefix="raw/{stream}/", finish=True)
    late = record(2, time=NOW - 24 * HOUR)
    other = msgspec.structs.replace(record(3), stream="orders")
    odd = record(4, time=-5)
    intake.write([(record(1), late, other, odd)])
    intake.close()
    folders = {
        name.rpartition("/")[0]: [json.loads(line)["n"] for line in body.splitlines()]
        for name, body in world.objects().items()
    }
    assert folders == {
        "raw/clicks/2026/11/18/11": [1],
        "raw/clicks/2026/11/17/11": [2],
        "raw/orders/2026/11/18/11": [3],
        "raw/clicks/1970/01/01/00": [4],
    }


def test_what_comes_again_after_a_crash_is_passed_over(world: World) -> None:
    whole = records(40) + records(40, partition=1)
    first = world.open()
    first.write([whole[:50]])
    first._outbox.close()  # as a killed process leaves it
    second = world.open(finish=True)
    second.write([whole])
    second.close()
    assert Counter(json.dumps(line).encode() for line in world.lines()) == said(whole)


def test_a_crash_between_the_delivery_of_a_file_and_the_note_of_it_makes_no_second_file(world: World) -> None:
    intake = world.open(seconds=1)
    intake.write([records(40)])
    intake._outbox.close()
    kept = world.folder / "kept"
    shutil.copy(world.path, kept)
    for _ in range(2):
        shutil.copy(kept, world.path)
        world.now += 2000
        again = world.open(seconds=1)
        again.close_epoch([])
        again.close()
        assert len(world.objects()) == 1
    assert Counter(json.dumps(line).encode() for line in world.lines()) == said(records(40))


def test_broken_records_become_dead_letters_and_erased_ones_are_passed_over(world: World) -> None:
    broken = msgspec.structs.replace(record(1), headers={"headrace-broken": "the line is no JSON"})
    erased = LogRecord("clicks", 0, 20, NOW, None, None, {ERASED: ""})
    intake = world.open(finish=True)
    intake.write([(record(0), broken, erased, record(3))])
    mended = as_replay(msgspec.structs.replace(record(1), headers={}))
    intake.write([(msgspec.structs.replace(mended, stream="replay.delivery.lake", partition=0, offset=0),)])
    intake.close()
    assert [(letter.flow, letter.record) for letter in world.dead] == [("delivery.lake", broken)]
    assert sorted(line["n"] for line in world.lines()) == [0, 1, 3]


def test_marks_are_kept_and_a_log_that_was_made_anew_is_read(world: World) -> None:
    intake = world.open()
    intake.write([records(5)])
    intake.close_epoch([Mark("clicks", "0", 50, NOW, NOW, caught_up=True)])
    identity, progress = intake.identity(), intake.progress()
    intake.close()
    assert [(mark.source, mark.partition, mark.offset) for mark in read_applied(world.path)] == [("clicks", "0", 50)]
    world.newest["clicks", 0] = 20  # it ends before what was taken of it
    again = world.open(finish=True)
    assert (again.identity(), again.progress()) == (identity, progress)
    anew = record(1, value=b'{"n": "anew"}')
    again.write([(anew,)])
    again.close()
    assert [line["n"] for line in world.lines()] == [0, 1, 2, 3, 4, "anew"]


def test_files_wait_while_the_bucket_cannot_be_reached(world: World) -> None:
    other = aws.Aws()
    try:
        client = other.client("s3")
        client.create_bucket(Bucket=world.bucket, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
        client.close()
        intake = world.open(endpoint=other.endpoint, seconds=1)
    finally:
        other.stop()
    intake.write([records(10)])
    world.now += 2000
    intake.close_epoch([])
    intake.close_epoch([])
    assert world.objects() == {}
    intake.close()
    again = world.open(seconds=1)
    again.close_epoch([])
    again.close()
    assert len(world.lines()) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bucket": "no-such-bucket"}, "the bucket 'no-such-bucket' does not exist"),
        ({"endpoint": "http://127.0.0.1:1"}, "cannot be reached"),
    ],
)
def test_a_bucket_that_cannot_be_had_is_said_in_one_line_at_the_start(
    world: World, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        world.open(**change)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_delivery_has_one_writer(world: World) -> None:
    intake = world.open()
    with pytest.raises(StoreError, match="has a writer already"):
        world.open()
    intake.close()
    intake.close()


@pytest.mark.parametrize("value", [b'{"a": 1}', b"[1,\r\n 2]", b'"text"', b"12345678901234567890.10", b"null"])
def test_a_value_that_is_json_stands_in_its_line_as_it_is(value: bytes) -> None:
    line = as_line(record(1, value=value))
    assert line.count(b"\n") == 1
    assert b"".join(line.split()) == b"".join(value.split())
    assert json.loads(line) == json.loads(value)


@pytest.mark.parametrize("value", [b"plain", b"\xff\x00", b'{"a": 1} {"b": 2}', b'"\xff"', b"[" * 100_000])
def test_any_other_value_and_a_tombstone_are_told_by_an_object(value: bytes) -> None:
    told = json.loads(as_line(record(1, value=value)))
    assert base64.b64decode(told["value_b64"]) == value
    assert told["headrace"] == {"stream": "clicks", "partition": 0, "offset": 10, "time": NOW, "key": "k"}
    tombstone = json.loads(as_line(LogRecord("clicks", 0, 10, NOW, b"\xff", None)))
    assert tombstone["value"] is None
    assert tombstone["headrace"]["key_b64"] == "/w=="


def test_names_stay_within_the_calendar_whatever_the_time_is() -> None:
    settings = FilesDeliverySettings(name="a", streams=("s",), bucket="bucket", compression="none")
    assert object_name(settings, "s", 2**62, "x") == "9999/12/31/23/a-1-9999-12-31-23-59-59-x"
    assert object_name(settings, "s", -1, "x") == "1970/01/01/00/a-1-1970-01-01-00-00-00-x"
