"""Debezium's change events: the envelope of `before`, `after`, `source` and `op`, with a schema or without.

Nothing is made up. The row before a change is kept only as far as the event can know it: PostgreSQL sends, by default,
the key of a deleted row and nothing else, and Debezium fills the other columns with nulls, empty texts and the columns'
defaults. No event tells those from real values (with REPLICA IDENTITY FULL they are all real), so that of PostgreSQL,
and of connectors that are not known, `before` has the columns of the record's key alone.

What becomes of an event, by its `op`: `c`, `u`, `r` the row after it, `d` a delete, `t` a truncation, `m` (a message)
nothing. A tombstone is nothing, as the delete came before it. Heartbeats, the beginnings and ends of transactions, and
schema changes say nothing of rows.

Events of our own captures have no schema. Where a text stands for a number or for JSON, `source.columns` says so, in
the words of `values.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from events.changes import Change, Op, Row, Truncation
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.connect import BEGIN, NO_IMAGES, Images, Opener, Shape, image_shapes, said_images
from operators.changes.duplicate_keys import read_json
from operators.changes.mongo import document_key, key_value, read_document
from operators.changes.occurrence import Occurrence, change_of, truncation_of
from operators.changes.positions import Place, place_of
from operators.changes.rules import Decode, StreamRules
from operators.changes.tables import (
    END_OF_TIME,
    MAX_TABLES,
    TablePlan,
    Tables,
    checked_value,
    event_time,
    table_of,
    tableless,
)
from operators.changes.unavailable import unavailable_in

_OPS: dict[Any, Op] = {"c": "create", "u": "update", "d": "delete", "r": "read"}
_WHOLE = frozenset({"mysql", "mariadb", "sqlserver", "oracle", "db2", "mongodb"})
"""Connectors whose `before` holds what the row held."""

_FORMAT = "set `format` of [[tables.streams]] to what the stream holds"
_WRITTEN = "let the connector write it again, and leave its fields as they are"


def debezium(rules: StreamRules) -> Decode:
    """Return the decoder of Debezium's change events.

    :raises SettingsError: When the rules name an encoding that does not exist.
    """
    return _Debezium(rules).decode


class _Origin:
    """One table of one database: what all its events share."""

    def __init__(self, source: Row, rules: StreamRules, tables: Tables) -> None:
        self.plan = tables.of(table_of(source) or rules.table or tableless())
        self.name = rules.source or _name_of(source) or rules.stream
        self.connector = source.get("connector")
        self.place: Place = place_of(source)
        self.whole = self.connector in _WHOLE
        self._said: Any = None
        self._images = NO_IMAGES

    def images(self, said: Any) -> Images:
        """Return how rows are read of which the event's source says this.

        :raises RejectedError: When that is no object of encodings by column.
        """
        if said != self._said:
            self._images = said_images(said)
            self._said = said
        return self._images

    def image(
        self, event: Row, name: str, shape: Shape, raw: bytes, *, only: Collection[str] | None = None
    ) -> tuple[Row | None, tuple[str, ...]]:
        """Return a row of the event, decoded, and those of its columns whose values were not sent.

        :arg only: Columns that are kept; None: all.
        """
        row = event.get(name)
        if row is None:
            return None, ()
        if type(row) is not dict:
            message = f"{self.plan.table}: `{name}` is no object"
            raise RejectedError(message, _FORMAT)
        if only is not None:
            row = {column: row[column] for column in only if column in row}
            if not row:
                return None, ()
        silent = unavailable_in(row)
        for column in silent:
            del row[column]
        if shape.reads or self.plan.own:
            self.plan.read(row, shape, raw, name)
        return row, silent


class _Debezium:
    def __init__(self, rules: StreamRules) -> None:
        self._rules = rules
        self._tables = Tables(rules)
        self._open = Opener(image_shapes, NO_IMAGES, lambda event: "op" in event).open
        self._origins: dict[Any, _Origin] = {}
        self._last: tuple[Any, _Origin | None] = (None, None)

    def decode(self, record: LogRecord) -> Sequence[Change | Truncation]:
        """Return the changes that a record says; see `Decode`."""
        value = checked_value(record, self._rules)
        if value is None:
            return self._tombstone(record)
        images = NO_IMAGES
        event = None if value.startswith(BEGIN) else read_json(value)
        if type(event) is not dict or "op" not in event:
            event, images = self._open(value)
        if type(event) is not dict:
            return self._tombstone(record) if event is None else _formless()
        op, source = event.get("op"), event.get("source")
        if type(op) is not str or (op not in _OPS and op != "t"):
            return _aside(event, op)
        if type(source) is not dict:
            source = _sourceless(source)
        origin = self._origin(source)
        if images is NO_IMAGES and "columns" in source:
            images = origin.images(source["columns"])
        transaction, order = _transaction_of(event, source)
        native = origin.place(source, order)
        time = source.get("ts_ms")
        if type(time) is not int or not 0 < time < END_OF_TIME:
            time = event_time(record, time, event.get("ts_ms"))
        at = Occurrence(
            record,
            origin.name,
            origin.plan.table,
            time,
            (self._rules.generation, *native) if native else (),
            transaction,
        )
        user = source.get("user_name")
        if op == "t":
            return (truncation_of(at, origin.plan.initiator_of(None, user)),)
        if origin.connector == "mongodb":
            return self._document(at, origin, event, _OPS[op])
        return self._row(at, origin, event, images, user)

    def _origin(self, source: Row) -> _Origin:
        get = source.get
        names = (get("connector"), get("name"), get("db"), get("schema"), get("table"), get("collection"))
        last, origin = self._last
        if names == last and origin is not None:
            return origin
        try:
            origin = self._origins.get(names)
        except TypeError:
            message = "the source's names are no texts"
            raise RejectedError(message, _WRITTEN) from None
        if origin is None:
            if len(self._origins) >= MAX_TABLES:
                self._origins.clear()
            origin = self._origins[names] = _Origin(source, self._rules, self._tables)
        self._last = (names, origin)
        return origin

    def _row(self, at: Occurrence, origin: _Origin, event: Row, images: Images, user: Any) -> Sequence[Change]:
        plan, kind, raw = origin.plan, _OPS[event["op"]], at.record.value or b""
        named = self._tables.record_key(at.record, plan)
        before = None
        if event.get("before") is not None:
            # Of a row that the event cannot know, nothing but the key is read.
            only = None if origin.whole else plan.key or named
            before, _ = origin.image(event, "before", images.before, raw, only=only)
        after, silent = origin.image(event, "after", images.after, raw)
        if kind == "delete":
            return _delete(at, origin, named, before, after)
        if after is None:
            message = f"{plan.table}: an event without the row after it"
            raise RejectedError(message, _WRITTEN)
        key = plan.key_of(named, after) if named is None or plan.key else named
        initiator = plan.initiator_of(after, user) if plan.initiator or user is not None else ""
        # PostgreSQL's connector writes a delete and a create; what else its `before` says can be made up.
        if before is not None and kind == "update" and origin.connector != "postgresql":
            old = {column: before.get(column, value) for column, value in key.items()}
            new = {column: after.get(column, value) for column, value in key.items()}
            if old != new and None not in old.values():
                return _moved(at, key, (old, new), (before, after), (initiator, silent))
        return (change_of(at, kind, key, before, after, initiator=initiator, unavailable=silent),)

    def _document(self, at: Occurrence, origin: _Origin, event: Row, kind: Op) -> Sequence[Change]:
        plan = origin.plan
        before, after = _document(event, "before"), _document(event, "after")
        named = self._document_key(at.record, plan, after or before)
        if kind == "delete":
            return _delete(at, origin, named, before, after)
        if after is None:
            message = f"{plan.table}: an event without the document after it"
            raise RejectedError(
                message, "set capture.mode=change_streams_update_full, unless the document is gone by now"
            )
        key = plan.key_of(named, after)
        return (change_of(at, kind, key, before, after, initiator=plan.initiator_of(after)),)

    def _document_key(self, record: LogRecord, plan: TablePlan, document: Row | None) -> Row | None:
        named = self._tables.record_key(record, plan)
        if named is None:
            return {"_id": key_value(document["_id"])} if document and "_id" in document else None
        return document_key(named) if named.keys() == {"id"} else named

    def _tombstone(self, record: LogRecord) -> Sequence[Change]:
        rules = self._rules
        if rules.tombstones != "delete":
            return ()
        if not (rules.table and rules.source):
            message = "a record without a value names neither its table nor its source"
            raise RejectedError(message, "set `table` and `source` of [[tables.streams]], or tombstones = 'auto'")
        plan = self._tables.of(rules.table)
        key = plan.key_of(self._tables.record_key(record, plan), {})
        at = Occurrence(record, rules.source, rules.table, record.event_time)
        return (change_of(at, "delete", key, dict(key), None, initiator=plan.initiator_of(key)),)


def _delete(
    at: Occurrence, origin: _Origin, named: Row | None, before: Row | None, after: Row | None
) -> Sequence[Change]:
    if after is not None:
        message = f"{at.table}: a delete with a row after it"
        raise RejectedError(message, _WRITTEN)
    # Where the record has no key, neither has the table: its source can only say which row it was by sending it.
    known = before if origin.whole or named is None else named
    key = origin.plan.key_of(named, known or {})
    before = before if origin.whole else dict(key)
    return (change_of(at, "delete", key, before, None, initiator=origin.plan.initiator_of(before)),)


def _moved(
    at: Occurrence, key: Row, keys: tuple[Row, Row], images: tuple[Row, Row], said: tuple[str, tuple[str, ...]]
) -> Sequence[Change]:
    """Return the delete and the create that a change of the primary key is."""
    (old, new), (before, after), (initiator, silent) = keys, images, said
    if key not in keys:
        message = f"{at.table}: the record's key is that of neither the row before nor the row after"
        raise RejectedError(message, _WRITTEN)
    return (
        change_of(at, "delete", old, before, None, initiator=initiator),
        change_of(at, "create", new, None, after, initiator=initiator, unavailable=silent),
    )


def _document(event: Row, name: str) -> Row | None:
    text = event.get(name)
    if text is None:
        return None
    if type(text) is not str:
        message = f"`{name}` of a document's change is no text"
        raise RejectedError(message, _FORMAT)
    return read_document(text)


def _transaction_of(event: Row, source: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the id of the transaction, and the event's place in it if known."""
    transaction = event.get("transaction")
    if transaction is None:
        # The source's own id, of PostgreSQL and Oracle, or of MySQL.
        own = source.get("txId")
        own = source.get("gtid") if own is None else own
        return "" if own is None else str(own), None
    if type(transaction) is not dict or type(transaction.get("id")) is not str:
        message = "the event's transaction has no id"
        raise RejectedError(message, _WRITTEN)
    name = transaction["id"]
    if source.get("connector") == "postgresql":
        # What follows the colon is an LSN, another one in each event of the same transaction.
        name = name.partition(":")[0]
    return name, transaction.get("total_order")


def _name_of(source: Mapping[str, Any]) -> str:
    name = source.get("name")
    if name is not None and type(name) is not str:
        message = "the source's name is no text"
        raise RejectedError(message, _WRITTEN)
    return name or ""


def _formless() -> Sequence[Change]:
    message = "the event is no JSON object"
    raise RejectedError(message, _FORMAT)


def _sourceless(source: Any) -> Row:
    if source is None:
        return {}
    message = "the event's source is no object"
    raise RejectedError(message, _WRITTEN)


def _aside(event: Row, op: Any) -> Sequence[Change]:
    """Return nothing for an event that says nothing of rows.

    :raises RejectedError: When it is none that Debezium writes.
    """
    transaction = event.get("status") in ("BEGIN", "END") and "id" in event
    schema_change = "tableChanges" in event or "ddl" in event
    heartbeat = "ts_ms" in event and event.keys() <= {"ts_ms", "ts_us", "ts_ns", "serverName"}
    if op == "m" or (op is None and (transaction or schema_change or heartbeat)):
        return ()
    message = (
        f"{str(op)[:40]!r} is no operation of Debezium" if "op" in event else "no event of Debezium: it has no `op`"
    )
    raise RejectedError(message, _FORMAT)
