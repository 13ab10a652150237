"""Notifications of S3 in all their shapes say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from events.errors import RejectedError
from events.objects import ObjectEvent
from operators.capture.s3_events import is_older, read_notification

AT = 1_732_096_800_123
TIME = "2024-11-20T10:00:00.123Z"


def direct(name: str = "ObjectCreated:Put", key: str = "fares/red+flower+%C3%BC%2B.md", **more: Any) -> dict[str, Any]:
    """Return a notification as Amazon S3 User Guide, "Event message structure", shows it."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": TIME,
        "eventName": name,
        "userIdentity": {"principalId": "EXAMPLE"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "rule",
            "bucket": {"name": "docs", "ownerIdentity": {"principalId": "EXAMPLE"}, "arn": "arn:aws:s3:::docs"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd9", "sequencer": "0055AED6DCD90281E5"},
        },
    }
    return {"Records": [{**record, **more}]}


def bridged(what: str = "Object Created", key: str = "fares/red flower \u00fc+.md") -> dict[str, Any]:
    """Return one as the same guide's "EventBridge event message structure" shows it."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": what,
        "source": "aws.s3",
        "account": "111122223333",
        "time": TIME,
        "region": "ca-central-1",
        "resources": ["arn:aws:s3:::docs"],
        "detail": {
            "version": "0",
            "bucket": {"name": "docs"},
            "object": {"key": key, "size": 5, "etag": "b1946ac9", "sequencer": "0055AED6DCD90281E5"},
            "reason": "PutObject",
        },
    }


def through_sns(told: dict[str, Any]) -> dict[str, Any]:
    return {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:x:1:t", "Message": json.dumps(told)}


WRITTEN = ObjectEvent("docs", "fares/red flower \u00fc+.md", "written", AT, "0055AED6DCD90281E5")


@pytest.mark.parametrize(
    "told",
    [
        direct(),
        direct("s3:ObjectCreated:CompleteMultipartUpload"),
        direct("s3:ObjectRestore:Completed"),
        through_sns(direct()),
        bridged(),
        through_sns(bridged()),
    ],
)
def test_every_wrapping_of_a_write_says_the_same(told: dict[str, Any]) -> None:
    assert read_notification(json.dumps(told)) == (WRITTEN,)


@pytest.mark.parametrize(
    "told",
    [
        direct("ObjectRemoved:Delete"),
        direct("s3:ObjectRemoved:DeleteMarkerCreated"),
        direct("LifecycleExpiration:Delete"),
        bridged("Object Deleted"),
    ],
)
def test_every_removal_says_the_same(told: dict[str, Any]) -> None:
    [event] = read_notification(json.dumps(told))
    assert event == ObjectEvent("docs", WRITTEN.key, "removed", AT, WRITTEN.sequencer)


@pytest.mark.parametrize(
    "told",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": TIME, "Bucket": "docs"},
        {"Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe", "SubscribeURL": "https://x"},
        direct("ObjectTagging:Put"),
        direct("ReducedRedundancyLostObject", s3=None),
        bridged("Object Tags Added"),
        {"Records": []},
    ],
)
def test_what_leaves_objects_as_they_are_says_nothing(told: dict[str, Any]) -> None:
    assert read_notification(json.dumps(told)) == ()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "null",
        "[]",
        "{}",
        '{"Records": 7}',
        json.dumps(direct(s3=None)),
        json.dumps(direct(key="%FF")),
        json.dumps(direct(key="")),
        json.dumps({"source": "aws.s3", "detail-type": "Object Created"}),
        json.dumps(through_sns(through_sns(through_sns(direct())))),
        '{"detail":' + "[" * 100_000,
    ],
)
def test_what_is_no_notification_is_rejected_with_a_reason_and_a_remedy(body: str) -> None:
    with pytest.raises(RejectedError, match="notification") as caught:
        read_notification(body)
    assert caught.value.hint
    assert len(str(caught.value).splitlines()) == 1


def test_a_time_or_a_sequencer_that_cannot_be_relied_on_is_left_out() -> None:
    [event] = read_notification(json.dumps(direct(eventTime="yesterday", eventSource="minio:s3")))
    assert (event.time, event.sequencer) == (None, "")
    told = direct()
    told["Records"][0]["s3"]["object"]["sequencer"] = "not hexadecimal"
    assert read_notification(json.dumps(told))[0].sequencer == ""


@pytest.mark.parametrize(
    ("first", "second", "older"),
    [
        ("0A", "0B", True),
        ("0B", "0A", False),
        ("0a", "0A", True),
        ("", "0A", False),
        ("0A", "", False),
        # Padded on the left it is older, and on the right as well.
        ("0A", "00B0", False),
        ("09", "0A00", True),
        # Padded on the left it is older, on the right it is newer: nothing is sure.
        ("F", "10", False),
        ("00FF", "FF", True),
    ],
)
def test_sequencers_are_compared_as_numbers_unless_their_lengths_make_that_doubtful(
    first: str, second: str, older: bool
) -> None:
    assert is_older(first, second) is older
