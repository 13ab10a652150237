"""The binlog of MySQL or MariaDB, made into change events in Debezium's envelope.

The events are those of Debezium's MySQL connector with JSON, `schemas.enable=false`, transaction metadata on and
`skipped.operations=none`: the envelope alone; the record's key an object of the primary key's columns; behind each
delete a tombstone; a changed key a delete and a create; `op` `t` for a truncated table. What values look like,
`mysql_json` says. In these ways they differ, and `operators/changes/debezium.py` reads both:

- `transaction.id` is the GTID, or the file and place at which the transaction begins where there are none.
- A table that is dropped says `t`: its rows went.
- `ts_ms` of the event is that of `source`: an event that comes again is the same, byte for byte.

The position is `source.file`, `source.pos` (where the event begins that holds the row) and `source.row`: the order of
the binlog, which is that of the commits. A row that was read for a snapshot stands at the place of that snapshot,
where no event that comes later begins before it, and none that is in it behind.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from events.binlog import BinlogCatalog, BinlogPoint, BinlogProgress, BinlogTable
from events.errors import StoreError
from events.log import LogRecord
from operators.capture import mysql_binlog as binlog
from operators.capture.envelope import NULL, connector_version, members, times, to_json
from operators.capture.mysql_statements import Said, said_of
from operators.capture.mysql_tables import Selected, Shape, Streamed

_LAST = {"table": b"last_in_data_collection", "snapshot": b"last"}
_MAX_TABLES = 1000
_WORD = 2**32
_EVENT = (
    b'%b,"source":{%b,"row":%d,"thread":null,"query":null},"transaction":{"id":%b,"total_order":%d,'
    b'"data_collection_order":%d},"op":"%b%b'
)
_ALONE = b',"source":{%b,"row":0,"thread":null,"query":null},"transaction":null,"op":"%b",%b}'


class MysqlDecoder:
    """Makes change events of a binlog's events, in their order; see `stores/capture/mysql/decoding.py`.

    Nothing of a transaction is held: its changes are decoded as they come, however many there are.

    :arg name: What the events name as their source.
    :arg stream: Stream of the log that they are for.
    """

    def __init__(self, name: str, stream: str) -> None:
        self._name = name
        self._stream = stream
        self.begin(_NoCatalog(), frozenset(), BinlogProgress())

    @property
    def progress(self) -> BinlogProgress:
        """How far it is."""
        return BinlogProgress(self._end, self._open, max(self._index, self._given), self._committed_at)

    @property
    def keys(self) -> Mapping[str, tuple[str, ...]]:
        """The primary key by which each table's rows have been told apart, as far as it is known."""
        return self._keys

    def begin(
        self,
        catalog: BinlogCatalog,
        tables: frozenset[str],
        given: BinlogProgress,
        keys: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Begin with a new connection, behind `given.end`. What was given behind it is passed over.

        :arg tables: Tables whose changes are wanted, each `database.table`.
        :arg keys: What `keys` was there.
        """
        self._catalog, self._wanted = catalog, tables
        self._keys = dict(keys or {})
        self._moved: set[str] = set()
        self._end, self._again, self._given = given.end, given.open, given.index
        self._committed_at = given.committed_at
        self._file, self._pos = given.end.file, given.end.pos
        self._source = members([("version", connector_version()), ("connector", catalog.product), ("name", self._name)])
        self._mapped: dict[int, Streamed | None] = {}
        self._known: dict[bytes, Streamed] = {}
        self._read: dict[BinlogTable, Selected] = {}
        self._open = self._name_of_next = ""
        self._server = 0
        self._gtid = ""
        self._domain = -1
        self._alone = self._xa = False
        self._index = self._order = 0
        self._orders: dict[str, int] = {}

    def take_moved(self) -> frozenset[str]:
        """Return the tables whose rows are others by what the binlog does not say, since this was asked last."""
        moved, self._moved = frozenset(self._moved), set()
        return moved

    def decode(self, events: Sequence[bytes]) -> list[LogRecord]:
        """Decode events of the binlog, each its header and its body, without checksum.

        :raises StoreError: When one cannot be understood, or says that rows changed and not how: nothing is skipped.
        """
        out: list[LogRecord] = []
        event = b""
        try:
            for event in events:
                self._one(event, out)
        except (ValueError, IndexError, KeyError, struct.error, zlib.error) as error:
            raise self._garbled(event, error) from error
        return out

    def read(
        self, table: BinlogTable, rows: Iterable[Sequence[Any]], point: BinlogPoint, at: int, last: str = ""
    ) -> list[LogRecord]:
        """Make snapshot reads of rows, in the order of the columns.

        :arg point: Their position: every transaction behind it is streamed, every other is in them.
        :arg at: When they were read (ms since epoch).
        :arg last: `table` or `snapshot` if the last of the rows is the last one of that.
        :raises StoreError: When a row is not as long as the table is wide.
        """
        selected = self._read.get(table)
        if selected is None:
            selected = self._read[table] = Selected(table, self._source)
        shape = selected.shape
        tail = self._tail_alone(shape, b"true", point, at, b"r")
        out: list[LogRecord] = []
        try:
            for row in rows:
                values = selected.values(row)
                value = b'{"before":null,"after":%b%b' % (shape.row(values), tail)
                out.append(LogRecord(self._stream, 0, 0, at, shape.key(values), value))
        except ValueError as error:
            detail = f"{self._name}: a row of {shape.name} cannot be read: {error}"
            raise StoreError(detail, "start capture again: the table was altered meanwhile") from error
        if out and last:
            end = out[-1]
            value = (end.value or b"").removesuffix(tail) + self._tail_alone(shape, _LAST[last], point, at, b"r")
            out[-1] = LogRecord(self._stream, 0, 0, at, end.key, value)
        return out

    def truncate(self, name: str, point: BinlogPoint, at: int) -> LogRecord:
        """Say that all rows of a table (`database.table`) went, before it is read again at the same point.

        Its position is older than those reads, and newer than all that came before them.
        """
        database, _, table = name.partition(".")
        shape = Shape((database, table), (), (), {}, self._source)
        # No event begins one byte before another.
        tail = self._tail_alone(shape, b"true", replace(point, pos=point.pos - 1), at, b"t")
        return LogRecord(self._stream, 0, 0, at, None, b'{"before":null,"after":null%b' % tail)

    def _one(self, event: bytes, out: list[LogRecord]) -> None:
        seconds, kind, server, size, behind, flags = binlog.HEADER.unpack_from(event)
        body = event[binlog.HEADER.size :]
        if kind == binlog.ROTATE:
            self._rotated(body, seconds)
            return
        if not behind or kind in (binlog.FORMAT, binlog.HEARTBEAT):
            # Made for this connection, or with nothing that is a change.
            self._mapped = {} if kind == binlog.FORMAT else self._mapped
            return
        # A file of more than 4 GB says its places modulo that.
        while behind < self._pos - _WORD // 2:
            behind += _WORD
        self._server, self._pos = server, behind
        at, millis = behind - size, 1000 * seconds
        if kind == binlog.TABLE_MAP:
            self._map(body)
        elif kind in binlog.ROWS:
            self._rows(binlog.rows_of(kind, body), at, millis, out)
        elif kind in (binlog.MARIADB_GTID, binlog.GTID, binlog.ANONYMOUS_GTID):
            self._begun(kind, server, body, at)
        elif kind == binlog.XID:
            self._committed(millis)
        elif kind in (binlog.QUERY, binlog.QUERY_COMPRESSED, binlog.LOAD_DATA):
            of_session = bool(flags & binlog.OF_SESSION)
            self._statement(*binlog.statement(kind, body), (at, 0, millis), out, of_session=of_session)
        elif kind == binlog.XA_PREPARE:
            self._committed(millis)
        elif kind == binlog.PAYLOAD:
            message = "transactions are compressed (binlog_transaction_compression is ON)"
            raise ValueError(message)
        elif kind == binlog.PARTIAL_UPDATE:
            message = "JSON is written in parts (binlog_row_value_options is PARTIAL_JSON)"
            raise ValueError(message)

    def _rotated(self, body: bytes, seconds: int) -> None:
        file = body[8:].rstrip(b"\0").decode(errors="replace")
        self._mapped = {}
        if file == self._file:
            return
        self._file, self._pos = file, 4
        if seconds and not self._open:
            self._end = replace(self._end, file=file, pos=4)

    def _begun(self, kind: int, server: int, body: bytes, at: int) -> None:
        self._gtid, self._domain, flags = "", -1, 0
        if kind == binlog.MARIADB_GTID:
            self._domain, self._gtid, flags = binlog.mariadb_gtid(server, body)
        elif kind == binlog.GTID:
            self._gtid = binlog.mysql_gtid(body)
        # Of MySQL, what is no BEGIN behind it ends it.
        self._start(at, alone=kind != binlog.MARIADB_GTID or bool(flags & binlog.STANDALONE))
        self._xa = bool(flags & binlog.PREPARED_XA)

    def _start(self, at: int, *, alone: bool) -> None:
        self._open = self._gtid or f"{self._file}:{at}"
        if self._open != self._again:
            self._given = 0
        self._again = ""
        self._alone, self._xa = alone, False
        self._index = self._order = 0
        self._orders = {}

    def _committed(self, millis: int) -> None:
        gtid = self._end.gtid
        if self._domain >= 0:
            domains = {part.partition("-")[0]: part for part in gtid.split(",") if part}
            gtid = ",".join(({**domains, str(self._domain): self._gtid}).values())
        self._end = BinlogPoint(self._file, self._pos, gtid)
        self._committed_at = millis
        self._open, self._gtid, self._domain = "", "", -1
        self._index = self._given = 0

    def _statement(
        self, database: str, text: str, place: tuple[int, int, int], out: list[LogRecord], *, of_session: bool
    ) -> None:
        at, _, millis = place
        word = text.lstrip()[:12].upper()
        if word.startswith("BEGIN"):
            if not self._open:
                self._start(at, alone=False)
            self._alone = False
        elif word.startswith("COMMIT"):
            self._committed(millis)
        elif word.startswith("ROLLBACK"):
            if self._index:
                message = "changes that were rolled back stand in the binlog (tables of an engine without transactions)"
                raise ValueError(message)
            if not word.startswith("ROLLBACK TO"):
                self._committed(millis)
        elif word.startswith("XA "):
            self._xa = word.startswith("XA START")
            if not self._xa and not word.startswith("XA END"):
                self._committed(millis)
            self._alone = False
        else:
            if not self._open:
                self._start(at, alone=True)
            self._said(said_of(text, database, self._wanted, of_session=of_session), place, out)
            if self._alone:
                self._committed(millis)

    def _said(self, said: Iterable[Said], place: tuple[int, int, int], out: list[LogRecord]) -> None:
        for table, what in said:
            if what == "unseen":
                rows = f"rows of {table} were" if "." in table else f"rows in {table} may have been"
                message = f"{rows} changed by a statement (binlog_format is not ROW)"
                raise ValueError(message)
            if what != "emptied":
                self._moved.add(table)
            if what == "moved":
                continue
            # What comes behind it may have another key, and is another table's.
            self._keys.pop(table, None)
            schema, _, name = table.partition(".")
            shape = Shape((schema, name), (), (), {}, self._source)
            self._emit(shape, (b'{"before":null,"after":null', b"t", None), place, out)

    def _map(self, body: bytes) -> None:
        number = int.from_bytes(body[:6], "little")
        database, table, _ = binlog.names_of(body)
        if f"{database}.{table}" not in self._wanted:
            self._mapped[number] = None
            return
        said = body[6:]
        known = self._known.get(said)
        if known is None:
            if len(self._known) >= _MAX_TABLES:
                self._known.clear()
            mapped = binlog.mapped(body, mariadb=self._catalog.product == "mariadb")
            known = self._known[said] = Streamed(mapped, self._catalog, self._source)
        key = known.shape.key_columns
        if (before := self._keys.setdefault(known.shape.name, key)) != key:
            names = " but ".join(f"({', '.join(each)})" for each in (before, key))
            message = f"the primary key of {known.shape.name} is no longer {names}: its rows would be there twice"
            raise ValueError(message)
        self._mapped[number] = known

    def _rows(self, rows: binlog.Rows, at: int, millis: int, out: list[LogRecord]) -> None:
        table = self._mapped[rows.table]
        if table is None:
            return
        if not self._open:
            message = "rows outside a transaction"
            raise ValueError(message)
        if self._xa:
            message = (
                f"{table.shape.name} was changed by a distributed transaction (XA), which may still be rolled back"
            )
            raise ValueError(message)
        shape = table.shape
        for row, (before, after) in enumerate(table.images(rows)):
            self._change(shape, before, after, (at, row, millis), out)

    def _change(
        self,
        shape: Shape,
        before: list[bytes] | None,
        after: list[bytes] | None,
        place: tuple[int, int, int],
        out: list[LogRecord],
    ) -> None:
        self._index += 1
        if self._index <= self._given:
            # Only for its numbers: what comes after it has the same ones as before.
            out = []
        old = None if before is None else shape.known(before)
        old_key = None if before is None else shape.key(before)
        if after is None:
            self._gone(shape, old, old_key, place, out)
            return
        key, row = shape.key(after), shape.row(after)
        if before is not None and key != old_key:
            self._gone(shape, old, old_key, place, out)
            old = None
        images = b'{"before":%b,"after":%b' % (NULL if old is None else old, row)
        self._emitted(shape, (images, b"c" if old is None else b"u", key), place, out)

    def _gone(
        self, shape: Shape, before: bytes | None, key: bytes | None, place: tuple[int, int, int], out: list[LogRecord]
    ) -> None:
        images = b'{"before":%b,"after":null' % (before or NULL)
        self._emitted(shape, (images, b"d", key), place, out)
        if key is not None:
            out.append(LogRecord(self._stream, 0, 0, place[2], key, None))

    def _emit(
        self,
        shape: Shape,
        event: tuple[bytes, bytes, bytes | None],
        place: tuple[int, int, int],
        out: list[LogRecord],
    ) -> None:
        self._index += 1
        self._emitted(shape, event, place, out if self._index > self._given else [])

    def _emitted(
        self,
        shape: Shape,
        event: tuple[bytes, bytes, bytes | None],
        place: tuple[int, int, int],
        out: list[LogRecord],
    ) -> None:
        images, op, key = event
        at, row, millis = place
        self._order += 1
        count = self._orders[shape.name] = self._orders.get(shape.name, 0) + 1
        when = times(1000 * millis)
        source = self._block(shape, when, b"false", BinlogPoint(self._file, at, self._gtid))
        value = _EVENT % (images, source, row, to_json(self._open), self._order, count, op, b'",%b}' % when)
        out.append(LogRecord(self._stream, 0, 0, millis, key, value))

    def _tail_alone(self, shape: Shape, snapshot: bytes, point: BinlogPoint, at: int, op: bytes) -> bytes:
        """Return what follows the images of an event that is of no transaction."""
        when = times(1000 * at)
        return _ALONE % (self._block(shape, when, snapshot, replace(point, gtid="")), op, when)

    def _block(self, shape: Shape, when: bytes, snapshot: bytes, point: BinlogPoint) -> bytes:
        """Return the source block up to the row's number."""
        gtid = to_json(point.gtid or None)
        return b'%b,%b,"snapshot":"%b","sequence":null,"server_id":%d,"gtid":%b,"file":%b,"pos":%d' % (
            shape.source, when, snapshot, self._server, gtid, to_json(point.file), point.pos,
        )  # fmt: skip

    def _garbled(self, event: bytes, error: Exception) -> StoreError:
        said = error.args[0] if type(error) is ValueError and error.args else binlog.CUT_OFF
        if isinstance(error, KeyError):
            said = "rows of a table that was not described"
        detail = f"{self._name}: the binlog cannot be followed at {self._file}, {self._pos}: {said}"
        if "not FULL" in said or "not ROW" in said or " is ON" in said or "PARTIAL_JSON" in said:
            hint = f"mend the server's setting, for all sessions; then `headrace capture reset {self._name}`"
        elif "there twice" in said:
            hint = f"`headrace capture reset {self._name}` has everything read again, by that key"
        elif "XA" in said or "rolled back" in said:
            hint = f"write this table without it; then `headrace capture reset {self._name}`"
        else:
            hint = (
                f"leave the table out of `tables`, or: `headrace capture reset {self._name}`; report what stands here"
            )
        return StoreError(detail, hint)


class _NoCatalog:
    """What a decoder knows before it has begun."""

    product = "mysql"

    def charset_of(self, collation: int) -> str:
        """Return UTF-8."""
        return "utf8mb4"

    def types_of(self, database: str, table: str) -> dict[str, str]:
        """Return nothing."""
        return {}
