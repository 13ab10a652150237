"""Who writes during a live run, and who watches: each a thread of its own that outlives the servers' deaths."""

from __future__ import annotations

import bisect
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import psycopg
from typing_extensions import override

from events.clock import system_clock
from events.errors import HeadraceError
from events.feedback import FeedbackEvent
from events.log import LogRecord
from fixtures.conversations import events
from fixtures.conversations_writing import STREAM as FEEDBACK
from fixtures.conversations_writing import records
from serving.freshness import Demand
from serving.tables import LiveTables
from stores.log.choose import open_log
from tests.faults.live_tables import BENCH
from tests.faults.live_world import World

AGAIN_SECONDS = 0.05
BEAT_SECONDS = 0.1


class Worker(threading.Thread):
    """Does its turn again and again until it is ended; whatever goes wrong that is not to be is kept in `error`."""

    def __init__(self, world: World, name: str, pause: float) -> None:
        super().__init__(name=name, daemon=True)
        self.world = world
        self.error: BaseException | None = None
        self.turns = 0
        self._pause = pause
        self._over = threading.Event()

    @override
    def run(self) -> None:
        try:
            while not self._over.wait(self._pause):
                self.turn()
        except BaseException as error:  # told when it is ended
            self.error = error

    def turn(self) -> None:
        """Do one thing."""

    def end(self) -> None:
        """End it, and tell what went wrong."""
        self._over.set()
        self.join(60)
        assert not self.is_alive(), self.name
        assert self.error is None, f"{self.name}: {self.error!r}"

    @property
    def is_over(self) -> bool:
        return self._over.is_set()


class DatabaseWorker(Worker):
    """Writes to the database, by connections that are made anew when the server was away."""

    def __init__(self, world: World, name: str, pause: float) -> None:
        super().__init__(world, name, pause)
        self.lost = 0
        """How often a connection was lost."""
        self._open: dict[str, Any] = {}

    @override
    def turn(self) -> None:
        try:
            self.write()
            self.turns += 1
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            return  # rolled back: as good as anything else here
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self.lost += 1
            self.close()
            self._over.wait(AGAIN_SECONDS)

    def write(self) -> None:
        """Do one thing to the database."""

    def connection(self, name: str = "") -> Any:
        if name not in self._open:
            self._open[name] = self.world.connect(self.name)
            self._open[name].execute("SET lock_timeout = '3s'")
        return self._open[name]

    def close(self) -> None:
        for connection in self._open.values():
            with suppress(psycopg.Error):
                connection.close()
        self._open.clear()

    @override
    def end(self) -> None:
        super().end()
        self.close()


class Beat(DatabaseWorker):
    """Writes down the time, and remembers when it was known to be committed."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "beat", BEAT_SECONDS)
        self._committed: list[int] = []
        self._written: list[int] = []

    @override
    def write(self) -> None:
        query = "UPDATE beat SET at = clock_timestamp() WHERE id = 1 RETURNING (extract(epoch FROM at) * 1000000)::int8"
        (at,) = self.connection().execute(query).fetchone()
        self._written.append(at)
        self._committed.append(system_clock())

    def newest(self, moment: int) -> int:
        """Return the newest time (µs) that was committed for sure at `moment` (ms); 0 if there is none."""
        number = bisect.bisect_left(self._committed, moment)
        return self._written[number - 1] if number else 0


class Bench(Worker):
    """Keeps pgbench running: it ends when it loses a connection.

    :arg rate: Transactions a second.
    """

    def __init__(self, world: World, rate: int) -> None:
        super().__init__(world, "pgbench", AGAIN_SECONDS)
        self.ran: list[int] = []
        self._script = world.home / "bench.sql"
        self._script.write_text(BENCH)
        self._rate = rate

    @override
    def turn(self) -> None:
        command = self.world.pgbench_command(
            "-n", "-c", "2", "-R", str(self._rate), "-T", "3600", "-f", str(self._script)
        )
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not self._over.wait(AGAIN_SECONDS):
                pass
            process.terminate()
        self.ran.append(process.returncode)


class Feedback(Worker):
    """Appends feedback events to the log, by their ids: a second time where nobody knows of the first.

    :arg count: How many there are in all.
    """

    def __init__(self, world: World, count: int) -> None:
        super().__init__(world, "feedback", 0.02)
        self.appended: list[FeedbackEvent] = []
        self._waiting = events("live", count, spacing=10_000.0)
        self._log = open_log(world.settings())

    @override
    def turn(self) -> None:
        part = [event for _, event in zip(range(12), self._waiting, strict=False)]
        if part:
            self.appended += part
            # The broker keeps a week, by the time of a record; what happened when stands in the event.
            now = system_clock()
            self._append([LogRecord("", 0, 0, now, record.key, record.value) for record in records(part)])
            self.turns += 1

    def _append(self, told: list[LogRecord]) -> None:
        while True:
            try:
                with self.world.appending:
                    self._log.append(FEEDBACK, told)
            except HeadraceError:
                if self.is_over:
                    raise
            else:
                return

    @override
    def end(self) -> None:
        super().end()
        self._log.close()


class Witness(Worker):
    """Asks the live tables how old they are, and whether they are no older than they say."""

    def __init__(self, world: World, beat: Beat) -> None:
        super().__init__(world, "witness", 0.05)
        self.ages: list[int] = []
        """What was claimed (ms), each time that something was."""
        self.overstated: list[str] = []
        self.refused = 0
        self._beat = beat
        self._tables = LiveTables.of(world.settings())

    @override
    def turn(self) -> None:
        try:
            asked = system_clock()
            claimed = self._tables.await_fresh(Demand())
            rows = self._tables.rows("beat")
        except HeadraceError:  # the broker is away, which the partitions are asked of, or there is no store yet
            self.refused += 1
            return
        self.turns += 1
        if claimed is None:
            return
        self.ages.append(claimed)
        committed = self._beat.newest(asked - claimed)
        served = _micros(rows[0].row["at"]) if rows and rows[0].row else 0
        if served < committed:
            late = (committed - served) / 1000
            self.overstated.append(
                f"at {asked}, {claimed} ms old by its own word, it lacked a change by {late:.0f} ms: {rows}"
            )


@contextmanager
def writing(world: World, *workers: Worker) -> Iterator[ExitStack]:
    """Let them work while the block lasts; then all that they have begun has come to its end."""
    with ExitStack() as stack:
        for worker in workers:
            worker.start()
            stack.callback(worker.end)
        yield stack
    with world.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('pgbench', 'writer', 'beat')"
        world.wait_until(lambda: connection.execute(query).fetchone() == (0,), "the last transactions to end")


def _micros(text: str) -> int:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
