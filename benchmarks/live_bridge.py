"""What Debezium's engine hands over, appended to the log that the settings name.

    python -m benchmarks.live_bridge PYTHON STREAM PROPERTIES

PYTHON is the interpreter that has the engine (`peers/debezium_engine.py`). All that has come in since the last append
goes into the next one, so that nothing waits for more. It ends with the engine, which is asked to go when it goes.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from events.clock import system_clock
from events.log import LogRecord
from stores.log.choose import open_log
from stores.settings import load

PROGRAM = Path(__file__).with_name("peers") / "debezium_engine.py"
READ_BYTES = 4 * 2**20
LENGTHS = struct.Struct(">ii")

Event = tuple[bytes | None, bytes | None]
"""Key and value."""


def unframed(data: bytes) -> tuple[list[Event], bytes]:
    """Return the events that are whole, and the rest."""
    found: list[Event] = []
    at, end = 0, len(data)
    while end - at >= LENGTHS.size:
        sizes = LENGTHS.unpack_from(data, at)
        after = at + LENGTHS.size + max(0, sizes[0]) + max(0, sizes[1])
        if after > end:
            break
        middle = at + LENGTHS.size + max(0, sizes[0])
        key = None if sizes[0] < 0 else data[at + LENGTHS.size : middle]
        found.append((key, None if sizes[1] < 0 else data[middle:after]))
        at = after
    return found, data[at:]


def main() -> None:
    python, stream, properties = sys.argv[1:]
    engine = subprocess.Popen([python, str(PROGRAM), properties], stdout=subprocess.PIPE)

    def stop(*_: object) -> NoReturn:
        engine.kill()
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    log = open_log(load())
    assert engine.stdout is not None
    rest = b""
    while data := os.read(engine.stdout.fileno(), READ_BYTES):
        events, rest = unframed(rest + data)
        now = system_clock()
        log.append(stream, [LogRecord(stream, 0, 0, now, key, value) for key, value in events])
    sys.exit(engine.wait())


if __name__ == "__main__":
    main()
