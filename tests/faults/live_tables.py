"""The tables of a live run: those of pgbench, and those of a writer who does all that can be done to a table.

Invariant: every column that is ever compared has been written since the table got it: a database tells no log of what
it fills in by itself.
"""

from __future__ import annotations

DATABASE = "shop"
TABLES = (
    "pgbench_accounts",
    "pgbench_branches",
    "pgbench_tellers",
    "pgbench_history",
    "customers",
    "users",
    "bookings",
    "orders",
    "notes",
    "parts",
    "stock",
    "beat",
)

CREATE = """
DELETE FROM pgbench_accounts WHERE aid > 1000;
-- Without an identity, rows that come twice could not be told from twins.
ALTER TABLE pgbench_history ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;

CREATE TABLE customers (
    id int PRIMARY KEY, name text, email text, phone text, created_at timestamptz NOT NULL
);
CREATE TABLE users (
    id int PRIMARY KEY, email text, loyalty text, created timestamptz NOT NULL
);
CREATE TABLE bookings (
    id int PRIMARY KEY, user_id int, status text, price numeric(12,3), booked_at timestamptz
);
CREATE TABLE orders (
    region text, number bigint, amount numeric(30,10), ratio float8, placed_at timestamptz, due timestamp, day date,
    tags jsonb, words text[], raw bytea, open bool, long text, PRIMARY KEY (region, number)
);
-- Keys change, and with them goes a text that lies outside of its row.
ALTER TABLE orders REPLICA IDENTITY FULL;
CREATE TABLE notes (id int PRIMARY KEY, body text, read int);
ALTER TABLE notes ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE parts (id int PRIMARY KEY, n int NOT NULL, name text);
CREATE TABLE stock (sku text PRIMARY KEY, amount numeric);
CREATE TABLE beat (id int PRIMARY KEY, at timestamptz NOT NULL);

INSERT INTO beat VALUES (1, clock_timestamp());
INSERT INTO notes SELECT n, repeat(md5(n::text), 200), 0 FROM generate_series(1, 12) n;
INSERT INTO parts SELECT n, 0, 'part ' || n FROM generate_series(1, 30) n;
INSERT INTO stock SELECT 's' || n, n / 7.0 FROM generate_series(1, 8) n;
INSERT INTO customers
    SELECT n, 'Ana', 'c' || n || '@example.org', '+4930' || 1000000 + n, now() - n * interval '1 day'
    FROM generate_series(1, 40) n;
INSERT INTO users
    SELECT n, 'c' || n + 20 || '@example.org', 'MEMBER' || 1000 + n, now() - n * interval '1 hour'
    FROM generate_series(1, 40) n;
INSERT INTO bookings SELECT n, 1 + n % 40, 'booked', n / 8.0, now() - n * interval '1 minute'
    FROM generate_series(1, 60) n;
"""
"""Made after pgbench has made its own. Of its accounts a thousand stay: who reads more first, tests nothing else."""

BENCH = """
\\set aid random(1, 1000)
\\set bid 1
\\set tid random(1, 10)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
"""
"""What pgbench does again and again: its own script, on the accounts that are left."""
