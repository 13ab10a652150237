"""Who writes during a live run, and who watches: each a thread of its own that outlives the servers' deaths."""

from __future__ import annotations

import bisect
import random
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
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


class Writer(DatabaseWorker):
    """Does to the tables whatever can be done, in transactions of all sorts, as a seed decides."""

    def __init__(self, world: World, seed: int, pause: float) -> None:
        super().__init__(world, "writer", pause)
        self.done: dict[str, int] = {}
        self._chance = random.Random(seed)
        self._number = 0
        self._long: Generator[None, None, None] | None = None
        self._column = 0
        self._deeds: list[tuple[Callable[[], None], int]] = [
            (self._order, 12),
            (self._person, 14),
            (self._booking, 6),
            (self._note, 4),
            (self._part, 4),
            (self._stock, 4),
            (self._many, 1),
            (self._alter, 2),
            (self._dream, 3),
            (self._savepoints, 3),
            (self._go_on_long, 10),
        ]

    @override
    def write(self) -> None:
        deeds, weights = zip(*self._deeds, strict=True)
        (deed,) = self._chance.choices(deeds, weights)
        self._number += 1
        deed()
        self.done[deed.__name__] = self.done.get(deed.__name__, 0) + 1

    @override
    def close(self) -> None:
        if self._long is not None:
            with suppress(psycopg.Error):
                self._long.close()
            self._long = None
        super().close()

    @override
    def end(self) -> None:
        super().end()
        missing = {deed.__name__ for deed, _ in self._deeds} - self.done.keys()
        assert not missing, f"the writer never came to {missing}"

    def _ask(self, statement: str, *values: Any) -> None:
        self.connection().execute(statement, values)

    @contextmanager
    def _together(self) -> Iterator[None]:
        with self.connection().transaction():
            yield

    def _text(self, length: int) -> str:
        return "".join(self._chance.choices("abcdefghijklmnopqrstuvwxyzäß€\n\"'\\ ", k=length))

    def _place(self) -> tuple[str, int]:
        return self._chance.choice(("north", "south", "öst")), self._chance.randrange(60)

    def _order(self, connection: Any = None, first: int = 0) -> None:
        region, number = self._place()
        number += first
        ask = (connection or self.connection()).execute
        kind = self._chance.randrange(10)
        if kind < 5:
            ask(
                "INSERT INTO orders VALUES (%s, %s, %s, %s, clock_timestamp(), localtimestamp, current_date, %s, %s, %s,"
                " %s, %s) ON CONFLICT (region, number) DO UPDATE SET amount = excluded.amount, ratio = excluded.ratio,"
                " placed_at = excluded.placed_at, tags = excluded.tags, words = excluded.words",
                (
                    *(region, number, f"{self._chance.randrange(10**17)}.{self._chance.randrange(10**10):010}"),
                    *(self._chance.gauss(0, 1e6), f'{{"n": [{number}, null, "ä"], "x": 1.5}}', ["a", None, '"b, c"']),
                    *(self._chance.randbytes(9), self._chance.choice([True, False, None])),
                    self._text(self._chance.choice([0, 20, 4_000])),
                ),
            )
        elif kind < 7:
            ask("UPDATE orders SET open = NOT open, due = NULL WHERE region = %s AND number = %s", (region, number))
        elif kind < 8:
            # A new key.
            ask(
                "UPDATE orders o SET region = 'west', number = number + 100 WHERE region = %s AND number = %s AND NOT"
                " EXISTS (SELECT FROM orders t WHERE t.region = 'west' AND t.number = o.number + 100)",
                (region, number),
            )
        elif kind < 9:
            ask("DELETE FROM orders WHERE region = %s AND number = %s", (region, number))
        else:
            ask("DELETE FROM orders WHERE region = 'west' AND number = %s", (number + 100,))

    def _person(self) -> None:
        chance = self._chance
        table, id_ = chance.choice([("customers", chance.randrange(1, 81)), ("users", chance.randrange(1, 81))])
        email = chance.choice([None, *(f"c{chance.randrange(1, 70)}@example.org" for _ in range(6))])
        other = ("phone", f"+4930{1000000 + chance.randrange(90)}")
        if table == "users":
            other = ("loyalty", f"MEMBER{chance.randrange(1001, 1060)}")
        since = "created_at" if table == "customers" else "created"
        kind = chance.randrange(8)
        if kind < 2:
            self._ask(f"DELETE FROM {table} WHERE id = %s", id_)
        elif kind < 3 and table == "customers":
            self._ask(
                "UPDATE customers SET id = id + 100 WHERE id = %s AND NOT EXISTS (SELECT FROM customers WHERE id = %s)",
                *(id_, id_ + 100),
            )
        else:
            value = chance.choice([None, other[1], other[1], other[1]])
            self._ask(
                f"INSERT INTO {table} (id, email, {other[0]}, {since}) VALUES (%s, %s, %s, now() - %s * interval"
                f" '1 hour') ON CONFLICT (id) DO UPDATE SET email = excluded.email, {other[0]} = excluded.{other[0]}",
                *(id_, email, value, chance.randrange(1_000)),
            )

    def _booking(self) -> None:
        id_, user = self._chance.randrange(120), self._chance.randrange(1, 81)
        if self._chance.random() < 0.2:
            self._ask("DELETE FROM bookings WHERE id = %s", id_)
        else:
            self._ask(
                "INSERT INTO bookings VALUES (%s, %s, %s, %s, clock_timestamp()) ON CONFLICT (id) DO UPDATE SET"
                " user_id = excluded.user_id, status = excluded.status, price = excluded.price",
                *(id_, user, self._chance.choice(["booked", "done"]), f"{self._chance.randrange(10**8)}.125"),
            )

    def _note(self) -> None:
        id_ = self._chance.randrange(1, 13)
        if self._chance.random() < 0.3:
            self._ask("UPDATE notes SET body = %s WHERE id = %s", self._text(6_000), id_)
        else:  # the body stays, outside of its row, and is not sent
            self._ask("UPDATE notes SET read = read + 1 WHERE id = %s", id_)

    def _part(self) -> None:
        self._ask("UPDATE parts SET n = n + 1 WHERE id = %s", self._chance.randrange(1, 31))

    def _stock(self) -> None:
        with self._together():
            self._ask("TRUNCATE stock")
            for number in self._chance.sample(range(12), 5):
                self._ask("INSERT INTO stock VALUES (%s, %s)", f"s{number}", f"{self._number}.{number}")
        if self._chance.random() < 0.2:
            self._ask("TRUNCATE stock")

    def _many(self) -> None:
        statement = "INSERT INTO orders (region, number, amount) SELECT 'bulk', n, %s FROM generate_series(1, 400) n"
        with self._together():
            self._ask("DELETE FROM orders WHERE region = 'bulk'")
            self._ask(statement, self._number)

    def _alter(self) -> None:
        """Change a table's columns, and write all of its rows, so that their values are told as well."""
        with self._together():
            self._ask("SET LOCAL lock_timeout = '2s'")
            columns = [
                name
                for (name,) in self.connection().execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = 'parts'"
                )
                if name.startswith("extra")
            ]
            kind = self._chance.randrange(3) if columns else 0
            self._column += 1
            if kind == 0:
                type_, value = self._chance.choice(
                    [("text", "'é'"), ("numeric(9,3)", "1.250"), ("timestamptz", "now()")]
                )
                self._ask(f"ALTER TABLE parts ADD COLUMN extra{self._column} {type_} DEFAULT {value}")
            elif kind == 1:
                self._ask(f"ALTER TABLE parts RENAME COLUMN {columns[0]} TO extra{self._column}")
            else:
                self._ask(f"ALTER TABLE parts DROP COLUMN {self._chance.choice(columns)}")
            self._ask("UPDATE parts SET n = n + 1")

    def _dream(self) -> None:
        """Do much, and undo it."""
        with self._together():
            self._ask("DELETE FROM customers")
            self._ask("UPDATE orders SET amount = -1 WHERE number < 1000")
            self._ask("INSERT INTO stock VALUES ('dream', 1)")
            raise psycopg.Rollback

    def _savepoints(self) -> None:
        with self._together():
            self._person()
            with self._together():
                self._ask("UPDATE users SET email = 'nobody@example.org'")
                raise psycopg.Rollback
            with self._together():
                self._booking()
            self._person()

    def _go_on_long(self) -> None:
        if self._long is None:
            self._long = self._transaction()
        if next(self._long, self) is self:
            self._long = None

    def _transaction(self) -> Generator[None, None, None]:
        """Write to orders of its own in one transaction while others go on; half of them come to nothing."""
        connection = self.connection("long")
        with connection.transaction():
            for _ in range(self._chance.randrange(5, 25)):
                self._order(connection, first=1_000)
                yield
            if self._chance.random() < 0.5:
                raise psycopg.Rollback


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
