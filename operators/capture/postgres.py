"""pgoutput, what PostgreSQL sends of its changes, made into change events in Debezium's envelope.

The events are those of Debezium's PostgreSQL connector with JSON, `schemas.enable=false`, transaction metadata on and
`skipped.operations=none`: the envelope alone; the record's key an object of the key's columns; behind each delete a
tombstone; a changed key a delete and a create; `op` `t` for a truncated table, `m` for a logical message. What values
look like, `postgres_values` says. In four ways they differ, and `operators/changes/debezium.py` reads both:

- `source.lsn` is the LSN of the transaction's commit, not of the change: with `total_order` it grows in the order in
  which changes came to be seen, for every key and against snapshots. A change's own LSN does not: of two transactions
  that write the same key the last to commit may have written first, and one that commits after a snapshot was taken may
  have written before it.
- `before` has the columns that the server has sent and no others: of a table without REPLICA IDENTITY FULL, its key.
- `ts_ms` of the event is that of the commit, as that of `source`: an event that comes again is the same, byte for byte.
- `transaction.id` is one text throughout a transaction.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterable, Sequence

from events.capture import Catalog, Progress, Relation, TypeInfo
from events.errors import StoreError
from events.log import LogRecord
from operators.capture import pgoutput
from operators.capture.envelope import NULL, UNAVAILABLE, connector_version, members, text, times, to_json
from operators.capture.postgres_tables import Table

_TUPLE_AT = 6
"""Where the first tuple of a change begins: after tag, relation and kind of tuple."""
_LAST = {"table": b"last_in_data_collection", "snapshot": b"last"}
_EVENT = b'%b,"source":{%b,%b,"transaction":{"id":"%b:%d","total_order":%d,"data_collection_order":%d},"op":"%b%b'

_AGAIN = "start capture again; if it stops here again, leave the table out of `tables` and report what stands here"


class PostgresDecoder:
    """Makes change events of the messages of one connection, in their order; see `stores/capture/postgres/decoding.py`.

    Nothing of a transaction is held: its changes are decoded as they come, however many there are.

    :arg name: What the events name as their source.
    :arg stream: Stream of the log that they are for.
    """

    def __init__(self, name: str, stream: str) -> None:
        self._name = name
        self._stream = stream
        self.begin(_NoCatalog(), Progress())

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self._end, self._commit, max(self._index, self._given), self._committed_at)

    def begin(self, catalog: Catalog, given: Progress) -> None:
        """Begin with a new connection. What `given` says was given before is passed over when it comes again."""
        self._end, self._commit, self._given = given.end, given.commit, given.index
        self._committed_at = given.committed_at
        self._catalog = catalog
        block = [
            ("version", connector_version()),
            ("connector", "postgresql"),
            ("name", self._name),
            ("db", catalog.database),
        ]
        self._source = members(block)
        self._tables: dict[int, Table] = {}
        self._read_tables: dict[Relation, Table] = {}
        self._messages = Table(("", ""), (), (), self._source, catalog)
        self._open = self._passing = False
        self._index = self._order = 0
        self._millis = given.committed_at or 0
        self._micros = 1000 * self._millis
        self._xid = self._source_tail = self._tail = b""

    def decode(self, payloads: Sequence[bytes]) -> list[LogRecord]:
        """Decode messages of pgoutput, without the header of the replication protocol.

        :raises StoreError: When a message cannot be understood: nothing is skipped.
        """
        out: list[LogRecord] = []
        changes = {
            pgoutput.INSERT: self._insert,
            pgoutput.UPDATE: self._update,
            pgoutput.DELETE: self._delete,
            pgoutput.TRUNCATE: self._truncations,
        }
        payload = b""
        try:
            for payload in payloads:
                tag = payload[0]
                change = changes.get(tag)
                if change is None:
                    self._frame(tag, payload, out)
                elif not self._open:
                    message = "a change outside a transaction"
                    raise ValueError(message)
                elif not self._passing:
                    self._index += 1
                    if self._index > self._given:
                        change(payload, out)
                    else:
                        # Only for its numbers: what comes after it has the same ones as before.
                        change(payload, [])
        except (ValueError, IndexError, KeyError, struct.error) as error:
            raise _garbled(self._name, payload, error) from error
        return out

    def read(
        self, relation: Relation, rows: Iterable[Sequence[str | None]], lsn: int, at: int, last: str = ""
    ) -> list[LogRecord]:
        """Make snapshot reads of rows, whose values are in PostgreSQL's text form, in the order of the columns.

        :arg lsn: Their position: every transaction that is streamed commits at or after it, every other before it.
        :arg at: When they were read (ms since epoch).
        :arg last: `table` or `snapshot` if the last of the rows is the last one of that.
        :raises StoreError: When a row is not as long as the table is wide.
        """
        table = self._read_tables.get(relation)
        if table is None:
            table = self._read_tables[relation] = self._table(relation)
        out: list[LogRecord] = []
        tail = self._tail_alone(table, b"true", lsn, 1000 * at, b"r")
        try:
            for texts in rows:
                values = table.converted(texts)
                value = b'{"before":null,"after":%b%b' % (table.row(values), tail)
                out.append(LogRecord(self._stream, 0, 0, at, table.key(values), value))
        except ValueError as error:
            detail = f"{self._name}: a row of {table.name} was read with another number of columns than it has"
            raise StoreError(detail, "start capture again: the table was altered meanwhile") from error
        if out and last:
            end = out[-1]
            value = (end.value or b"").removesuffix(tail) + self._tail_alone(table, _LAST[last], lsn, 1000 * at, b"r")
            out[-1] = LogRecord(self._stream, 0, 0, at, end.key, value)
        return out

    def truncate(self, relation: Relation, lsn: int, at: int) -> LogRecord:
        """Say that all rows of a table went, before it is read again at the same `lsn`.

        Its position is older than those reads, and newer than all changes that were committed before them.
        """
        # A commit's own record lies between where it begins and what comes next: no commit begins at the last byte.
        tail = self._tail_alone(self._table(relation), b"true", lsn - 1, 1000 * at, b"t")
        return LogRecord(self._stream, 0, 0, at, None, b'{"before":null,"after":null%b' % tail)

    def heartbeat(self, at: int) -> LogRecord | None:
        """Return a heartbeat event: no change, but proof that there was none."""
        return LogRecord(self._stream, 0, 0, at, b'{"serverName":%b}' % to_json(self._name), b'{"ts_ms":%d}' % at)

    def _frame(self, tag: int, payload: bytes, out: list[LogRecord]) -> None:
        if tag == pgoutput.BEGIN:
            self._transaction(payload)
        elif tag == pgoutput.COMMIT:
            self._committed(payload)
        elif tag == pgoutput.RELATION:
            self._relation(payload)
        elif tag == pgoutput.MESSAGE:
            self._message(payload, out)
        elif tag not in {pgoutput.TYPE, pgoutput.ORIGIN}:
            message = f"messages of the kind {chr(tag)!r} are of no part of protocol version 1"
            raise ValueError(message)

    def _transaction(self, payload: bytes) -> None:
        commit, micros, xid = pgoutput.begun(payload)
        if self._open:
            message = "a transaction begins within another"
            raise ValueError(message)
        self._open = True
        self._passing = commit < self._end
        if self._passing:
            return
        if commit != self._commit:
            self._given = 0
        self._commit = commit
        self._index = self._order = 0
        self._micros = micros
        self._millis = micros // 1000
        self._xid = b"%d" % xid
        when = times(micros)
        self._source_tail = _source_tail(when, b"false", self._end, commit, self._xid)
        self._tail = b'",%b}' % when

    def _committed(self, payload: bytes) -> None:
        commit, end = pgoutput.committed(payload)
        if not self._open:
            message = "a commit outside a transaction"
            raise ValueError(message)
        self._open = False
        if self._passing:
            return
        if commit != self._commit:
            message = "a commit of another transaction than the one that has begun"
            raise ValueError(message)
        self._end = max(end, self._end)
        self._commit = self._given = self._index = 0
        self._committed_at = self._millis

    def _relation(self, payload: bytes) -> None:
        oid, schema, name, identity, columns, flagged = pgoutput.described(payload)
        if identity in {"f", "n"}:
            # All columns are flagged, or none.
            flagged = self._catalog.key_of(oid, schema, name)
        table = Table((schema, name), columns, flagged, self._source, self._catalog)
        known = self._tables.get(oid)
        if known is not None:
            # The server may say what a table is like at any time: that is no reason to count anew.
            table.commit, table.count = known.commit, known.count
        self._tables[oid] = table

    def _insert(self, payload: bytes, out: list[LogRecord]) -> None:
        table = self._tables[int.from_bytes(payload[1:5], "big")]
        values, at = table.values(payload, _TUPLE_AT)
        if payload[5] != pgoutput.NEW or at != len(payload):
            raise _misfit(table)
        self._emit(table, b'{"before":null,"after":%b' % table.row(values), b"c", table.key(values), out)

    def _update(self, payload: bytes, out: list[LogRecord]) -> None:
        table = self._tables[int.from_bytes(payload[1:5], "big")]
        kind = payload[5]
        values, at = table.values(payload, _TUPLE_AT)
        if kind == pgoutput.NEW:
            if at != len(payload):
                raise _misfit(table)
            self._emit(table, b'{"before":null,"after":%b' % table.row(values), b"u", table.key(values), out)
            return
        old = values
        values, end = table.values(payload, at + 1)
        if kind not in {pgoutput.OLD, pgoutput.KEY} or payload[at] != pgoutput.NEW or end != len(payload):
            raise _misfit(table)
        # An old row has its large values, and so has an old key: what has not changed is what it was.
        for place in range(len(values)) if kind == pgoutput.OLD else table.key_places:
            if values[place] is UNAVAILABLE:
                values[place] = old[place]
        old_key, key = table.key(old), table.key(values)
        before = table.row(old) if kind == pgoutput.OLD else old_key or NULL
        if old_key == key:
            self._emit(table, b'{"before":%b,"after":%b' % (before, table.row(values)), b"u", key, out)
            return
        self._gone(table, before, old_key, out)
        self._emit(table, b'{"before":null,"after":%b' % table.row(values), b"c", key, out)

    def _delete(self, payload: bytes, out: list[LogRecord]) -> None:
        table = self._tables[int.from_bytes(payload[1:5], "big")]
        old, at = table.values(payload, _TUPLE_AT)
        if payload[5] not in {pgoutput.OLD, pgoutput.KEY} or at != len(payload):
            raise _misfit(table)
        key = table.key(old)
        self._gone(table, table.row(old) if payload[5] == pgoutput.OLD else key or NULL, key, out)

    def _gone(self, table: Table, before: bytes, key: bytes | None, out: list[LogRecord]) -> None:
        self._emit(table, b'{"before":%b,"after":null' % before, b"d", key, out)
        if key is not None:
            out.append(LogRecord(self._stream, 0, 0, self._millis, key, None))

    def _truncations(self, payload: bytes, out: list[LogRecord]) -> None:
        for oid in pgoutput.truncated(payload):
            self._emit(self._tables[oid], b'{"before":null,"after":null', b"t", None, out)

    def _message(self, payload: bytes, out: list[LogRecord]) -> None:
        lsn, prefix, content = pgoutput.said(payload)
        key = b'{"prefix":%b}' % text(prefix)
        said = b'{"message":{"prefix":%b,"content":"%b"}' % (text(prefix), b64encode(content))
        if self._open:
            if not self._passing:
                self._index += 1
                self._emit(self._messages, said, b"m", key, out if self._index > self._given else [])
        elif lsn >= max(self._end, self._commit):
            # Of no transaction: it goes out at once, and has no time of its own.
            tail = self._tail_alone(self._messages, b"false", lsn, self._micros, b"m")
            out.append(LogRecord(self._stream, 0, 0, self._millis, key, said + tail))
            self._end, self._commit, self._given = lsn + 1, 0, 0

    def _emit(self, table: Table, images: bytes, op: bytes, key: bytes | None, out: list[LogRecord]) -> None:
        self._order = order = self._order + 1
        if table.commit != self._commit:
            table.commit, table.count = self._commit, 0
        table.count = count = table.count + 1
        value = _EVENT % (
            images,
            table.source,
            self._source_tail,
            self._xid,
            self._commit,
            order,
            count,
            op,
            self._tail,
        )
        out.append(LogRecord(self._stream, 0, 0, self._millis, key, value))

    def _tail_alone(self, table: Table, snapshot: bytes, lsn: int, micros: int, op: bytes) -> bytes:
        """Return what follows the images of an event that is of no transaction."""
        when = times(micros)
        source = _source_tail(when, snapshot, 0, lsn, NULL)
        return b',"source":{%b,%b,"transaction":null,"op":"%b",%b}' % (table.source, source, op, when)

    def _table(self, relation: Relation) -> Table:
        names = (relation.schema, relation.table)
        return Table(names, relation.columns, relation.key, self._source, self._catalog)


class _NoCatalog:
    """What a decoder knows before it has begun: no type but PostgreSQL's own."""

    database = ""

    def key_of(self, relation: int, schema: str, table: str) -> tuple[str, ...]:
        """Return no columns."""
        return ()

    def type_of(self, oid: int) -> TypeInfo:
        """Return nothing."""
        return TypeInfo("", oid)


def _source_tail(when: bytes, snapshot: bytes, before: int, lsn: int, xid: bytes) -> bytes:
    """Return the source block from behind the table's name.

    :arg before: Behind the last transaction before this one, 0 if that is not known.
    """
    last = b'\\"%d\\"' % before if before else NULL
    return b'%b,"snapshot":"%b","sequence":"[%b,\\"%d\\"]","txId":%b,"lsn":%d,"xmin":null}' % (
        when,
        snapshot,
        last,
        lsn,
        xid,
        lsn,
    )


def _misfit(table: Table) -> ValueError:
    return ValueError(f"a change of {table.name} whose rows do not end where it does")


def _garbled(name: str, payload: bytes, error: Exception) -> StoreError:
    said = error.args[0] if type(error) is ValueError and error.args else pgoutput.CUT_OFF
    if isinstance(error, KeyError):
        said = f"a change of the table {error.args[0]}, which the server has not described"
    detail = f"{name}: a message of PostgreSQL's replication cannot be understood: {said} ({payload[:6].hex()})"
    return StoreError(detail, _AGAIN)
