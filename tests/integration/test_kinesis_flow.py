"""The flows capture, tables and delivery with DynamoDB and Kinesis: what is changed there is answered and delivered."""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.live import Home, Running, wait_until
from tests.servers import aws

SETTINGS = """
[[capture.dynamodb]]
name = "ops"
table = "flights"
endpoint = "{endpoint}"
poll_seconds = 0.05

[[capture.kinesis]]
name = "clicks"
kinesis_stream = "clicks"
endpoint = "{endpoint}"
poll_seconds = 0.2

[[tables.streams]]
name = "ops"
format = "dynamodb"

[[tables.live]]
name = "flights"
table = "flights"

[[delivery.kinesis]]
name = "out"
kinesis_stream = "delivered"
streams = ["clicks"]
endpoint = "{endpoint}"
"""
KEYS = 5


@pytest.fixture
def server(request: pytest.FixtureRequest) -> aws.Aws:
    server = aws.running(request.config)
    server.reset()
    return server


@pytest.fixture
def home(tmp_path: Path, server: aws.Aws) -> Home:
    (tmp_path / "headrace.toml").write_text(SETTINGS.format(endpoint=server.endpoint))
    return Home(tmp_path)


@pytest.fixture
def dynamodb(server: aws.Aws) -> Iterator[Any]:
    client = server.client("dynamodb")
    client.create_table(
        TableName="flights",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    yield client
    client.close()


@pytest.fixture
def kinesis(server: aws.Aws) -> Iterator[Any]:
    client = server.client("kinesis")
    for name in ("clicks", "delivered"):
        client.create_stream(StreamName=name, ShardCount=2)
    yield client
    client.close()


def rows(home: Home) -> dict[int, Any]:
    answer = home.headrace("table", "flights", "--json")
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    return {row["key"]["id"]: row["row"] for row in found}


def put(client: Any, number: int, status: str, price: str) -> None:
    item = {"id": {"N": str(number)}, "status": {"S": status}, "price": {"N": price}, "crew": {"SS": ["ana", "bo"]}}
    client.put_item(TableName="flights", Item=item)


def clicked(client: Any, begin: int, end: int) -> None:
    records = [{"PartitionKey": f"key-{number % KEYS}", "Data": b"%d" % number} for number in range(begin, end)]
    client.put_records(StreamName="clicks", Records=records)


def delivered(client: Any) -> dict[str, list[int]]:
    """Return what has been delivered of each key, in its order."""
    found: dict[str, list[int]] = defaultdict(list)
    for shard in client.list_shards(StreamName="delivered")["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName="delivered", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for record in client.get_records(ShardIterator=iterator)["Records"]:
            found[record["PartitionKey"]].append(int(record["Data"]))
    return found


def first_times(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def test_the_items_of_a_table_are_live(home: Home, dynamodb: Any, kinesis: Any) -> None:
    put(dynamodb, 7, "late", "19.90")
    put(dynamodb, 8, "planned", "5")
    put(dynamodb, 7, "boarding", "21")
    with Running(home, "tables"), Running(home, "capture"):
        wait_until(lambda: rows(home).keys() == {7, 8}, "both items")
        dynamodb.delete_item(TableName="flights", Key={"id": {"N": "8"}})
        wait_until(lambda: rows(home).keys() == {7} and rows(home)[7]["status"] == "boarding", "the newest items")
    item = dynamodb.get_item(TableName="flights", Key={"id": {"N": "7"}})["Item"]
    row = rows(home)[7]
    assert (row["status"], str(row["price"]), row["crew"]) == (
        item["status"]["S"],
        item["price"]["N"],
        item["crew"]["SS"],
    )


@pytest.mark.long
def test_records_of_kinesis_reach_another_stream_in_order_although_the_capture_is_killed(
    home: Home, dynamodb: Any, kinesis: Any
) -> None:
    clicked(kinesis, 0, 100)
    with Running(home, "delivery"):
        with ExitStack() as stack:
            killed = stack.enter_context(Running(home, "capture"))
            wait_until(lambda: len(delivered(kinesis)) == KEYS, "the first clicks")
            clicked(kinesis, 100, 200)
            killed.stop(signal.SIGKILL)
            stack.pop_all()
        clicked(kinesis, 200, 300)
        with Running(home, "capture"):
            wait_until(lambda: sum(len(set(each)) for each in delivered(kinesis).values()) == 300, "all clicks")
    assert {key: first_times(numbers) for key, numbers in delivered(kinesis).items()} == {
        f"key-{key}": list(range(key, 300, KEYS)) for key in range(KEYS)
    }
