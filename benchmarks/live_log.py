"""Watches the log, and notes when each probe was there first: python -m benchmarks.live_log STREAM FILE.

A process of its own, so that decoding what others read does not keep the one that looks at the store.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from benchmarks.live_source import PROBES
from benchmarks.tables_delay import Sent
from events.log import LogRecord
from stores.log.choose import open_log
from stores.settings import load

PAUSE = 0.001
LIMIT = 5_000

_TABLE = re.compile(rb'"table":\s*"%b"' % PROBES.encode())
_AFTER = re.compile(rb'"after":\s*\{"id":\s*(\d+),\s*"version":\s*(\d+)')


def probe_in(record: LogRecord) -> tuple[int, int] | None:
    """Return probe and version if the record changes a probe."""
    if record.value is None or not _TABLE.search(record.value):
        return None
    found = _AFTER.search(record.value)
    return None if found is None else (int(found[1]), int(found[2]))


def watch(stream: str, file: Path) -> None:
    """Watch until the process is told to end; one line for each probe. The file is there from the first look on."""
    log = open_log(load())
    places: dict[int, int] = {}
    while not places:
        places = {partition: log.bounds(stream, partition)[1] for partition in log.partitions(stream)}
    with file.open("w", encoding="ascii") as out:
        while True:
            found = False
            for partition, offset in places.items():
                records, places[partition] = log.read(stream, partition, offset, LIMIT)
                now = time.monotonic()
                for probe, version in filter(None, map(probe_in, records)):
                    out.write(f"{probe} {version} {now!r}\n")
                found = found or bool(records)
            if not found:
                out.flush()
                time.sleep(PAUSE)


def seen(file: Path) -> list[Sent]:
    """Return what was noted, in its order."""
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    split = (line.split() for line in lines)
    return [(int(probe), int(version), float(moment)) for probe, version, moment in split]


def _stop(*_: object) -> NoReturn:
    sys.exit(0)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    watch(sys.argv[1], Path(sys.argv[2]))


if __name__ == "__main__":
    main()
