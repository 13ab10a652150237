"""Somebody who does to the tables whatever can be done to tables, as a seed decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from typing_extensions import override

from tests.faults.live_workers import DatabaseWorker
from tests.faults.live_world import World


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
                "INSERT INTO orders VALUES (%s, %s, %s, %s, clock_timestamp(), localtimestamp, current_date, %s, %s,"
                " %s, %s, %s) ON CONFLICT (region, number) DO UPDATE SET amount = excluded.amount,"
                " ratio = excluded.ratio, placed_at = excluded.placed_at, tags = excluded.tags, words = excluded.words",
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
        """Give somebody another address, number or code, or a new key; or forget them."""
        chance, id_ = self._chance, self._chance.randrange(1, 81)
        email = chance.choice([None, *(f"c{chance.randrange(1, 70)}@example.org" for _ in range(6))])
        phone = chance.choice([None, *(f"+4930{1000000 + chance.randrange(90)}" for _ in range(3))])
        loyalty = chance.choice([None, *(f"MEMBER{1000 + chance.randrange(60)}" for _ in range(3))])
        hours = chance.randrange(1_000)
        kind = chance.randrange(16)
        if kind < 2:
            self._ask("DELETE FROM users WHERE id = %s", id_)
        elif kind < 4:
            self._ask("DELETE FROM customers WHERE id = %s", id_)
        elif kind < 6:
            self._ask(
                "UPDATE customers SET id = id + 100 WHERE id = %s AND NOT EXISTS (SELECT FROM customers WHERE id = %s)",
                *(id_, id_ + 100),
            )
        elif kind < 11:
            self._ask(
                "INSERT INTO users VALUES (%s, %s, %s, now() - %s * interval '1 hour') ON CONFLICT (id) DO UPDATE SET"
                " email = excluded.email, loyalty = excluded.loyalty",
                *(id_, email, loyalty, hours),
            )
        else:
            self._ask(
                "INSERT INTO customers VALUES (%s, 'Bo', %s, %s, now() - %s * interval '1 hour') ON CONFLICT (id) DO"
                " UPDATE SET email = excluded.email, phone = excluded.phone",
                *(id_, email, phone, hours),
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
        # By itself: PostgreSQL 18.4 now and then fails to decode it within a larger transaction.
        self._ask("TRUNCATE stock")
        with self._together():
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
