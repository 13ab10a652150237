"""The tap of a bucket on moto's S3 and SQS: what is handed on is what the bucket holds, whatever the queue says."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

import pytest

from events.clock import system_clock
from events.errors import MissingExtraError, RejectedError, StoreError
from events.log import LogRecord
from operators.capture.s3_events import is_older, read_notification
from operators.documents.decode import decode_document
from operators.documents.parse import media_type_of
from stores.capture.base import Drawn
from stores.capture.s3 import S3Tap
from stores.capture.s3_looks import Reading
from stores.capture_settings import S3TapSettings
from tests.servers import aws

SECONDS = 20.0
READING = Reading(read_notification, is_older, media_type_of)


class World:
    """A bucket whose notifications go into a queue, and the documents that taps have made of them."""

    def __init__(self, server: aws.Aws, s3: Any, sqs: Any) -> None:
        self.server = server
        self.s3, self.sqs = s3, sqs
        self.bucket = f"docs-{uuid4().hex}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
        self.queue = self.sqs.create_queue(QueueName=self.bucket)["QueueUrl"]
        self.place: Any = None
        self.records: list[LogRecord] = []

    def notify(self) -> None:
        """Let notifications of the bucket go into the queue."""
        asked = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        rule = {"QueueArn": asked["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
        )

    def put(self, key: str, content: bytes, **more: Any) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, **more)

    def remove(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def tell(self, key: str, name: str = "ObjectCreated:Put", *, sequencer: str = "", bucket: str = "") -> str:
        """Return a notification of S3."""
        told = {"key": key, "size": 1, "eTag": "x"} | ({"sequencer": sequencer} if sequencer else {})
        place = {"bucket": {"name": bucket or self.bucket}, "object": told}
        record = {"eventSource": "aws:s3", "eventTime": "2026-11-20T10:00:00.000Z", "eventName": name, "s3": place}
        return json.dumps({"Records": [record]})

    def settings(self, **more: Any) -> S3TapSettings:
        said = {"name": "docs", "queue": self.queue, "bucket": self.bucket, "endpoint": self.server.endpoint}
        return S3TapSettings(**{**said, "region": aws.REGION, **more})

    def tap(self, **more: Any) -> S3Tap:
        return S3Tap(self.settings(**more), self.place, system_clock, READING, wait_seconds=0)

    def drawn(self, until: Callable[[Drawn], bool], *, confirm: bool = True, **more: Any) -> list[LogRecord]:
        """Draw by a tap of its own until something has been drawn that is awaited, and the queue had no more."""
        tap = self.tap(**more)
        found: list[LogRecord] = []
        met = False
        deadline = time.monotonic() + SECONDS
        try:
            while True:
                assert time.monotonic() < deadline, found
                drawn = tap.draw(100)
                if drawn is None:
                    continue
                found += drawn.records
                if confirm:
                    self.place = drawn.place
                    tap.confirm(json.loads(json.dumps(drawn.place)))
                met = met or until(drawn)
                if met and drawn.caught_up:
                    break
        finally:
            tap.close()
        self.records += found
        return found

    def waiting(self) -> int:
        """Return how many messages the queue still has, seen or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        said = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return sum(int(said[name]) for name in names)

    def documents(self) -> dict[str, bytes]:
        """Return what the newest position of each document says, as the knowledge flow reads it."""
        newest: dict[str, tuple[int, bytes | None]] = {}
        for record in self.records:
            try:
                change = decode_document(record, media_type_of, 2**20)
            except RejectedError:
                continue
            if change.position > newest.get(change.uri, (0, None))[0]:
                newest[change.uri] = change.position, change.content
        return {uri: content for uri, (_, content) in newest.items() if content is not None}

    def stored(self) -> dict[str, bytes]:
        """Return what the bucket holds."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        return {one["Key"]: self.s3.get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read() for one in listed}


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> aws.Aws:
    return aws.running(request.config)


@pytest.fixture(scope="module")
def clients(server: aws.Aws) -> Iterator[tuple[Any, Any]]:
    # Made once: to make a client takes longer than what most tests do with it.
    made = server.client("s3"), server.client("sqs")
    yield made
    for client in made:
        client.close()


@pytest.fixture
def world(server: aws.Aws, clients: tuple[Any, Any]) -> World:
    return World(server, *clients)


def anything(drawn: Drawn) -> bool:
    return True


def test_what_is_put_overwritten_and_deleted_is_told_and_the_queue_is_empty_afterwards(world: World) -> None:
    world.notify()
    world.put("fares/light.md", b"# Light\n\nNo suitcase.")
    world.put("fares/light.md", b"# Light\n\nOne suitcase.")
    world.put("a b/\u00fc+.txt", "gr\u00fc\u00df dich".encode())
    world.put("gone.md", b"# Gone")
    world.remove("gone.md")
    world.drawn(anything, scan=False)
    assert (
        world.documents()
        == world.stored()
        == {
            "fares/light.md": b"# Light\n\nOne suitcase.",
            "a b/\u00fc+.txt": "gr\u00fc\u00df dich".encode(),
        }
    )
    assert world.waiting() == 0


def test_the_same_state_of_an_object_is_handed_on_once_however_often_it_is_told(world: World) -> None:
    world.put("a.md", b"# A")
    world.send(
        *[world.tell("a.md")] * 3,
        world.tell("b.md", "ObjectRemoved:Delete"),
        world.tell("b.md", "s3:ObjectRemoved:Delete"),
    )
    told = [json.loads(record.value or b"") for record in world.drawn(anything, scan=False)]
    assert sorted((event["uri"], event["op"]) for event in told) == [("a.md", "upsert"), ("b.md", "delete")]


def test_a_late_word_of_a_delete_does_not_remove_what_is_there_again(world: World) -> None:
    world.put("a.md", b"# Back again")
    world.send(world.tell("a.md", "ObjectRemoved:Delete", sequencer="0A"))
    world.drawn(anything, scan=False)
    assert world.documents() == {"a.md": b"# Back again"}


def test_an_event_with_an_older_sequencer_is_not_even_looked_at(world: World) -> None:
    world.put("a.md", b"# One")
    world.send(world.tell("a.md", sequencer="0B"))
    tap = world.tap(scan=False)
    try:
        first = _draw(tap)
        world.put("a.md", b"# Two")
        world.send(world.tell("a.md", sequencer="0A"), world.tell("b.md", "ObjectRemoved:Delete"))
        second = _draw(tap)
        world.send(world.tell("a.md", sequencer="0C"))
        third = _draw(tap)
    finally:
        tap.close()
    assert [_uris(drawn) for drawn in (first, second, third)] == [["a.md"], ["b.md"], ["a.md"]]


def test_what_was_there_before_is_scanned_once_and_notifications_meanwhile_count(world: World) -> None:
    for number in range(25):
        world.put(f"page-{number:03d}.md", b"# %d" % number)
    world.notify()
    world.put("page-007.md", b"# changed")
    world.remove("page-024.md")
    found = world.drawn(lambda drawn: drawn.place["scan"] is None)
    assert world.documents() == world.stored()
    assert len(world.documents()) == 24
    # The word of the change came with its content; the scan has not handed it on a second time.
    assert sum(record.key == b"page-007.md" for record in found) == 1
    assert world.drawn(anything) == []


def test_a_scan_that_was_broken_off_goes_on_behind_its_place(world: World) -> None:
    for number in range(25):
        world.put(f"page-{number:03d}.md", b"# %d" % number)
    tap = world.tap()
    try:
        first = _draw(tap, limit=1)
    finally:
        tap.close()
    world.records += first.records
    world.place = first.place
    assert 0 < len(first.records) < 25
    rest = world.drawn(lambda drawn: drawn.place["scan"] is None)
    assert len(first.records) + len(rest) == 25
    assert world.documents() == world.stored()


def test_what_was_not_confirmed_comes_again_at_once_with_a_higher_position(world: World) -> None:
    world.notify()
    world.put("a.md", b"# A")
    [first] = world.drawn(anything, scan=False, confirm=False)
    [second] = world.drawn(anything, scan=False)
    positions = [json.loads(record.value or b"")["position"] for record in (first, second)]
    assert positions[0] < positions[1] < 2**63
    assert world.waiting() == 0


def test_an_object_that_is_too_large_is_withdrawn_and_told_with_its_reason(world: World) -> None:
    world.put("big.md", b"x" * 101)
    world.put("fits.md", b"x" * 100)
    world.drawn(lambda drawn: drawn.place["scan"] is None, max_object_bytes=100)
    assert world.documents() == {"fits.md": b"x" * 100}
    withdrawn, broken = [record for record in world.records if record.key == b"big.md"]
    assert json.loads(withdrawn.value or b"")["op"] == "delete"
    with pytest.raises(RejectedError, match=r"big\.md: 101 bytes, over the limit of 100"):
        decode_document(broken, media_type_of, 2**20)


@pytest.mark.parametrize("body", ["no JSON", "{}", '{"Records": [{"eventName": "ObjectCreated:Put"}]}', "[" * 5000])
def test_a_message_that_is_no_notification_becomes_a_broken_record_and_leaves_the_queue(
    world: World, body: str
) -> None:
    world.send(body)
    [record] = world.drawn(anything, scan=False)
    assert record.value == body.encode()
    with pytest.raises(RejectedError, match="S3"):
        decode_document(record, media_type_of, 2**20)
    assert world.waiting() == 0


def test_others_buckets_other_prefixes_folders_and_pictures_are_passed_over(world: World) -> None:
    for key in ("in/a.md", "out/b.md", "in/folder/", "in/photo.jpg", "in/nothing"):
        world.put(key, b"# text")
    world.send(
        *(world.tell(key) for key in ("in/a.md", "out/b.md", "in/folder/", "in/photo.jpg", "in/nothing")),
        world.tell("in/a.md", bucket="another"),
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
    )
    world.drawn(anything, scan=False, object_prefix="in/")
    assert world.documents() == {"in/a.md": b"# text"}
    assert world.waiting() == 0


def test_a_name_without_an_ending_is_read_by_its_content_type_and_bytes_come_whole(world: World) -> None:
    content = b"%PDF-1.4 \xff\x00\x01"
    world.put("report", content, ContentType="application/pdf")
    [record] = world.drawn(lambda drawn: drawn.place["scan"] is None, audience=("staff",))
    event = json.loads(record.value or b"")
    assert base64.b64decode(event["content_b64"]) == content
    assert (event["media_type"], event["audience"]) == ("application/pdf", ["staff"])


def test_of_a_versioned_object_the_current_version_counts(world: World) -> None:
    world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
    first = world.s3.put_object(Bucket=world.bucket, Key="a.md", Body=b"# One")["VersionId"]
    world.put("a.md", b"# Two")
    world.s3.delete_object(Bucket=world.bucket, Key="a.md", VersionId=first)
    world.send(world.tell("a.md", "ObjectRemoved:Delete"))
    world.drawn(anything, scan=False)
    assert world.documents() == {"a.md": b"# Two"}
    world.remove("a.md")
    world.send(world.tell("a.md", "ObjectRemoved:DeleteMarkerCreated"))
    world.drawn(anything, scan=False)
    assert world.documents() == {}


def test_keys_that_lead_out_of_the_source_are_refused_with_their_reason(world: World) -> None:
    keys = ["../up.md", "/root.md", "bell\u0007.md"]
    for key in keys:
        world.put(key, b"# x")
        world.send(world.tell(quote_plus(key)))
    found = world.drawn(anything, scan=False)
    assert {(record.key or b"").decode() for record in found} == set(keys)
    for record in found:
        with pytest.raises(RejectedError, match="leads out of its source or is not printable"):
            decode_document(record, media_type_of, 2**20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bucket": "no-such-bucket"}, "the bucket 'no-such-bucket' does not exist"),
        ({"queue": "http://127.0.0.1:1/1/q", "endpoint": "http://127.0.0.1:1"}, "cannot be reached"),
    ],
)
def test_what_is_not_there_is_said_in_one_line_at_the_start(world: World, change: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        world.tap(**change)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_nothing_is_said_to_be_whole_during_a_scan_and_then_what_was_when_the_queue_was_empty(world: World) -> None:
    for number in range(45):
        world.put(f"page-{number:03d}.md", b"# %d" % number)
    said: list[tuple[bool, int | None]] = []

    def hear(drawn: Drawn) -> bool:
        said.append((drawn.caught_up, drawn.true_at))
        return drawn.caught_up

    begun = system_clock()
    world.drawn(hear)
    assert len(said) > 1
    assert {true_at for caught_up, true_at in said if not caught_up} == {None}
    caught_up, whole = said[-1]
    assert caught_up
    assert whole is not None
    assert begun < whole <= system_clock()
    assert world.place["empty"] == whole
    # Who comes after a crash cannot know what is hidden of what was received before.
    world.drawn(hear)
    assert said[-1] == (True, whole)


def test_after_more_time_than_the_queue_keeps_messages_the_bucket_is_listed_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.put("a.md", b"# A")
    world.drawn(lambda drawn: drawn.place["scan"] is None)
    world.put("b.md", b"# B")  # of which no word is left
    world.sqs.set_queue_attributes(QueueUrl=world.queue, Attributes={"MessageRetentionPeriod": "3600"})
    looked = world.place["looked"]
    world.place["looked"] = looked - 3_500_000
    world.drawn(anything)
    assert world.documents() == {"a.md": b"# A"}
    world.place["looked"] = looked - 3_700_000
    away = dict(world.place)
    world.drawn(lambda drawn: bool(drawn.records))
    assert world.documents() == {"a.md": b"# A", "b.md": b"# B"}
    assert "the bucket is listed again" in caplog.text
    world.place = away
    with pytest.raises(StoreError, match="may have let go of notifications") as caught:
        world.tap(scan=False)
    assert "headrace capture reset docs" in caught.value.hint


@pytest.mark.parametrize("place", [{"lsn": 7}, {"stream": "orders@1", "shards": {}}, ["x"]])
def test_a_place_of_another_kind_of_source_is_an_error(world: World, place: Any) -> None:
    world.place = place
    with pytest.raises(StoreError, match="is not one of a bucket") as caught:
        world.tap()
    assert "headrace capture reset docs" in caught.value.hint


def test_an_object_whose_event_would_be_too_long_for_the_log_is_withdrawn(world: World) -> None:
    most = 100_000
    world.put("fits.pdf", b"\xff" * 60_000)
    world.put("big.pdf", b"\xff" * 75_000)
    tap = S3Tap(world.settings(), None, system_clock, READING, wait_seconds=0, most_bytes=most)
    try:
        drawn = _draw(tap)
    finally:
        tap.close()
    assert max(len(record.value or b"") + len(record.key or b"") for record in drawn.records) < most
    world.records += drawn.records
    assert set(world.documents()) == {"fits.pdf"}


def test_a_queue_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(StoreError, match=r"the queue '.*-none' does not exist"):
        world.tap(queue=f"{world.queue}-none")


def test_a_queue_that_vanishes_stops_the_tap_with_its_name(world: World) -> None:
    tap = world.tap(scan=False)
    try:
        world.sqs.delete_queue(QueueUrl=world.queue)
        with pytest.raises(StoreError, match="does not exist"):
            _draw(tap)
    finally:
        tap.close()
        tap.close()


def test_missing_keys_are_said_with_the_ways_to_give_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match="there are no keys of AWS") as caught:
        world.tap()
    assert "AWS_PROFILE" in caught.value.hint


def test_without_boto3_the_command_that_brings_it_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"headrace\[aws\]"):
        world.tap()


def _draw(tap: S3Tap, limit: int = 100) -> Drawn:
    """Draw until there are records."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        drawn = tap.draw(limit)
        if drawn is not None and drawn.records:
            return drawn
    pytest.fail("nothing was drawn")


def _uris(drawn: Drawn) -> list[str]:
    return [json.loads(record.value or b"")["uri"] for record in drawn.records]
