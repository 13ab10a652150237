"""Objects of a bucket become documents that are found: S3, SQS, capture, log, knowledge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from stores.dead_letters import DeadLetters
from stores.vectors.lance_reader import LanceReader
from tests.integration.live import wait_until
from tests.servers import aws

CONFIG = """
[embedding]
backend = "hashing"
[knowledge]
streams = ["handbook"]
[[capture.s3]]
name = "handbook"
endpoint = "{endpoint}"
bucket = "{bucket}"
queue = "{queue}"
audience = ["staff"]
max_object_bytes = 1000
"""


@contextmanager
def flow(name: str, folder: Path, sign: int = signal.SIGKILL) -> Iterator[subprocess.Popen[bytes]]:
    """Run a flow live while the block lasts."""
    variables = {"HEADRACE_CONFIG": str(folder / "headrace.toml"), "HEADRACE_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-m", "bytewax.run", f"dataflows.{name}", "-s", "1"]
    with (folder / f"{name}.log").open("ab") as out:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=out, stderr=out)
    try:
        yield process
        assert process.poll() is None, (folder / f"{name}.log").read_text()
    finally:
        process.send_signal(sign)
        process.wait(30)


def test_what_happens_in_the_bucket_happens_in_the_index(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server = aws.running(request.config)
    s3, sqs = server.client("s3"), server.client("sqs")
    bucket = f"handbook-{uuid4().hex}"
    queue = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
    (tmp_path / "headrace.toml").write_text(CONFIG.format(endpoint=server.endpoint, bucket=bucket, queue=queue))
    reader = LanceReader(tmp_path / "data" / "vectors")
    letters = DeadLetters(tmp_path / "data" / "dead_letters.sqlite3", lambda: 0)

    def put(key: str, text: str) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=text.encode())

    def texts() -> dict[str, str]:
        uris = [document.uri for document in reader.documents("handbook")]
        return {uri: " ".join(chunk.text for chunk in reader.chunks("handbook", uri)) for uri in uris}

    def is_answered() -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return all(value == "0" for value in found.values())

    # Before there are notifications: found by the scan.
    put("old.md", "# Old\n\nA dog flies in the hold.")
    put("light fare.md", "# Light\n\nA suitcase costs 30 euros.")
    rule = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]})
    with flow("knowledge", tmp_path):
        with flow("capture", tmp_path):
            wait_until(lambda: set(texts()) == {"old.md", "light fare.md"}, "the scan")
            put("light fare.md", "# Light\n\nA suitcase costs 35 euros.")
            s3.delete_object(Bucket=bucket, Key="old.md")
            wait_until(lambda: list(texts()) == ["light fare.md"] and "35" in texts()["light fare.md"], "the changes")
            wait_until(is_answered, "the queue to be empty")
        # Killed, and changed meanwhile. A request of the killed process may still wait at the server for what comes.
        assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)
        put("light fare.md", "# Light\n\nA suitcase costs 40 euros.")
        put("new.md", "# New\n\nA cat flies in the cabin.")
        put("large.md", "x" * 1001)
        sqs.send_message(QueueUrl=queue, MessageBody="no notification")
        with flow("capture", tmp_path):
            wait_until(lambda: set(texts()) == {"light fare.md", "new.md"}, "what came while nothing ran")
            wait_until(lambda: "40 euros" in texts()["light fare.md"], "the newest version")
            wait_until(lambda: len(letters.list("knowledge")) == 2, "the dead letters")
            wait_until(is_answered, "the queue to be empty")
    assert {document.audience for document in reader.documents("handbook")} == {("staff",)}
    reasons = sorted(letter.letter.reason for letter in letters.list("knowledge"))
    assert "not a notification of S3" in reasons[0]
    assert f"s3://{bucket}/large.md: 1001 bytes, over the limit of 1000" in reasons[1]
    s3.close()
    sqs.close()
