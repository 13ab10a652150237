"""The request to delete records before an offset, which kafka-python-ng lacks ("DeleteRecords", version 0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka.protocol.api import Request, Response
from kafka.protocol.types import Array, Int16, Int32, Int64, Schema, String


class _Answer(Response):  # type: ignore[misc]  # the library has no types
    API_KEY = 21
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                ("partitions", Array(("partition", Int32), ("low_watermark", Int64), ("error_code", Int16))),
            ),
        ),
    )


class _Delete(Request):  # type: ignore[misc]  # the library has no types
    API_KEY = 21
    API_VERSION = 0
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", Array(("topic", String("utf-8")), ("partitions", Array(("partition", Int32), ("offset", Int64))))),
        ("timeout", Int32),
    )


def delete_request(topic: str, offsets: Mapping[int, int], timeout_millis: int) -> Any:
    """Return the request to delete what is before an offset, by partition."""
    return _Delete([(topic, sorted(offsets.items()))], timeout_millis)
