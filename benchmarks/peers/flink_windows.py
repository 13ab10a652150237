"""The peer: Apache Flink counts and sums by key in windows of a minute the events in a folder, and ends.

    flink_windows.py FOLDER [--disorder MILLISECONDS]

It reads `FOLDER/events`, JSON Lines of `key`, `time` and `tokens`, and writes CSV of key, minute, count and sum into
`FOLDER/windows`, each window once, when the watermark has passed its end. It runs in an environment of its own and
imports nothing of ours. All of it is Flink SQL, which runs in Java: files are read, parsed and written by its own
connector and formats. There are no checkpoints, and one of each task, as the order of time is that of the one file.

It prints seconds and processor seconds as JSON. What counts begins once the first window is being written, which is to
be one of long before the others, so that it ends with the next event, and goes on until all are in the finished file.
Java's start, planning and scheduling do not count, nor does what is read before that first window is seen (Flink may
hold a buffer back for 0.1 s), nor this Python process, which only looks on. All that the Java process does meanwhile
counts: reading and parsing of files, writing of results, compiling, collecting of garbage.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import threading
import time

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

LOOK = 0.005
"""Seconds between two looks at what is being written."""

EVENTS = """
CREATE TABLE events (
    `key` STRING,
    `time` BIGINT,
    `tokens` BIGINT,
    `moment` AS TO_TIMESTAMP_LTZ(`time`, 3),
    WATERMARK FOR `moment` AS TO_TIMESTAMP_LTZ(`time` - {late}, 3)
) WITH ('connector' = 'filesystem', 'path' = '{folder}/events', 'format' = 'json')
"""

WINDOWS = """
CREATE TABLE windows (`key` STRING, `minute` BIGINT, `count` BIGINT, `sum` BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{folder}/windows', 'format' = 'csv')
"""

COUNT = """
INSERT INTO windows
SELECT `key`, TIMESTAMPDIFF(MINUTE, TIMESTAMP '1970-01-01 00:00:00', window_start), COUNT(*), SUM(`tokens`)
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(`moment`), INTERVAL '1' MINUTE))
GROUP BY `key`, window_start, window_end
"""


class Watch(threading.Thread):
    """Takes both times when the first file is begun, and when one is finished."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self.first: tuple[float, float] | None = None
        self.last: tuple[float, float] | None = None

    def run(self) -> None:
        while self.last is None:
            names = os.listdir(self._folder) if self._folder.exists() else []
            if names and self.first is None:
                self.first = (time.perf_counter(), processor())
            # Files that are being written are hidden ones.
            if any(not name.startswith(".") for name in names):
                self.last = (time.perf_counter(), processor())
            time.sleep(LOOK)


def processor() -> float:
    """Return the processor seconds of the processes that this one started: Java's."""
    ticks = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def run(folder: pathlib.Path, disorder: int) -> dict[str, float]:
    """Read all events in `folder` to their end; return what it took."""
    configuration = Configuration()
    for key, value in {
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "pipeline.object-reuse": "true",
        "rest.bind-port": "0",
        "rest.bind-address": "127.0.0.1",
        "table.local-time-zone": "UTC",
    }.items():
        configuration.set_string(key, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(1)
    tables = StreamTableEnvironment.create(environment)
    # A watermark says that nothing as old as it comes any more, so it is a millisecond older than the oldest to come.
    tables.execute_sql(EVENTS.format(folder=folder, late=disorder + 1))
    tables.execute_sql(WINDOWS.format(folder=folder))
    watch = Watch(folder / "windows")
    watch.start()
    tables.execute_sql(COUNT).wait()
    watch.join(10)
    if watch.first is None or watch.last is None:
        sys.exit("nothing was written")
    return {"seconds": watch.last[0] - watch.first[0], "processor": watch.last[1] - watch.first[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--disorder", type=int, default=0, help="milliseconds that an event may come late")
    options = parser.parse_args()
    print(json.dumps(run(options.folder.resolve(), options.disorder)))


if __name__ == "__main__":
    main()
