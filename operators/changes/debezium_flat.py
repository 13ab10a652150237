"""Debezium's rows without their envelope: what its ExtractNewRecordState makes, and the fields that it adds.

The columns that the transform can add, such as `__op`, `__deleted` and `__source_lsn`, are not the row's. The source is
the stream's own (`source`, else its name) even if a row names it: a record without a value, which is a delete here,
cannot, and both must mean the same row. Without `__op` an event is an update: of a row that may be new.

Of a deleted row that the transform has kept (`__deleted`), what it was is as little to be trusted as in the envelope.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from events.changes import Change, Op, Row, Truncation
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.connect import NO_SHAPE, Opener, is_bare_row, row_shape
from operators.changes.mongo import document_key
from operators.changes.occurrence import Occurrence, change_of
from operators.changes.positions import place_of
from operators.changes.rules import Decode, StreamRules
from operators.changes.tables import TablePlan, Tables, checked_value, event_time, table_of, tableless
from operators.changes.unavailable import unavailable_in

_OPS: dict[Any, Op] = {"c": "create", "u": "update", "d": "delete", "r": "read", None: "update"}
_FORMAT = "set `format` of [[tables.streams]] to what the stream holds"

_SOURCE = (
    "version",
    "connector",
    "name",
    "snapshot",
    "db",
    "sequence",
    "table",
    "schema",
    "txId",
    "lsn",
    "xmin",
    "origin",
    "origin_lsn",
    "server_id",
    "gtid",
    "file",
    "pos",
    "row",
    "thread",
    "query",
    "rs",
    "collection",
    "ord",
    "lsid",
    "txnNumber",
    "wallTime",
    "commit_lsn",
    "change_lsn",
    "event_serial_no",
    "scn",
    "commit_scn",
    "ssn",
    "lcr_position",
    "rs_id",
    "redo_thread",
    "user_name",
)
_ADDED = (
    {f"__{prefix}{field}": field for prefix in ("", "source_") for field in _SOURCE}
    | {f"__source_{field}": field for field in ("ts_ms", "ts_us", "ts_ns")}
    # Without `source` before it, a time is the one at which the connector was at work.
    | {f"__{field}": f"connector_{field}" for field in ("ts_ms", "ts_us", "ts_ns")}
    | {f"__transaction_{field}": f"transaction_{field}" for field in ("id", "total_order", "data_collection_order")}
    | {"__op": "op", "__deleted": "deleted"}
)
"""Columns that the transform can add, and what each is of the envelope."""
_NAMES = frozenset(_ADDED)


def debezium_flat(rules: StreamRules) -> Decode:
    """Return the decoder of unwrapped events.

    :raises SettingsError: When the rules name an encoding that does not exist.
    """
    return _Flat(rules).decode


class _Flat:
    def __init__(self, rules: StreamRules) -> None:
        self._rules = rules
        self._source = rules.source or rules.stream
        self._tables = Tables(rules)
        self._open = Opener(row_shape, NO_SHAPE, is_bare_row).open

    def decode(self, record: LogRecord) -> Sequence[Change | Truncation]:
        """Return the changes that a record says; see `Decode`."""
        value = checked_value(record, self._rules)
        row, shape = (None, NO_SHAPE) if value is None else self._open(value)
        if row is None or value is None:
            return self._tombstone(record)
        if type(row) is not dict:
            message = "the event is no JSON object"
            raise RejectedError(message, _FORMAT)
        _reject_envelope(row)
        added = {_ADDED[name]: row.pop(name) for name in _NAMES.intersection(row)}
        plan = self._tables.of(self._table(added))
        silent = unavailable_in(row)
        for column in silent:
            del row[column]
        plan.read(row, shape, value)
        named = self._key(record, plan, row)
        at = self._occurrence(record, plan, added)
        if _is_delete(added):
            key = plan.key_of(named, row if named is None else named)
            before = dict(key)
            return (change_of(at, "delete", key, before, None, initiator=plan.initiator_of(before)),)
        op = added.get("op")
        kind = _OPS.get(op) if op is None or type(op) is str else None
        if kind is None:
            message = f"{str(op)[:40]!r} is no operation of a row"
            raise RejectedError(message, _FORMAT)
        initiator = plan.initiator_of(row, added.get("user_name"))
        key = plan.key_of(named, row)
        return (change_of(at, kind, key, None, row, initiator=initiator, unavailable=silent),)

    def _occurrence(self, record: LogRecord, plan: TablePlan, added: Row) -> Occurrence:
        native = place_of(added)(added, added.get("transaction_total_order")) if added else ()
        transaction = str(added.get("transaction_id") or added.get("txId") or added.get("gtid") or "")
        if "lsn" in added:
            # PostgreSQL's transactions carry an LSN behind their number, another one in each event.
            transaction = transaction.partition(":")[0]
        return Occurrence(
            record,
            self._source,
            plan.table,
            event_time(record, added.get("ts_ms"), added.get("connector_ts_ms")),
            (self._rules.generation, *native) if native else (),
            transaction,
        )

    def _key(self, record: LogRecord, plan: TablePlan, row: Row) -> Row | None:
        named = self._tables.record_key(record, plan)
        if named is None or named.keys() != {"id"} or "id" in row:
            return named
        if plan.key == ("_id",):
            # MongoDB's: the key calls `id`, as Extended JSON in a text, what the document calls `_id`.
            return document_key(named)
        if "_id" in row:
            message = f"{plan.table}: the record's key is `id`, but the document has `_id`"
            raise RejectedError(message, 'set key = ["_id"] in [[tables.live]]')
        return named

    def _table(self, added: Row) -> str:
        table, given = table_of(added), self._rules.table
        # The transform can add the table without its schema: the setting may name both.
        if not table or table == given.rpartition(".")[2]:
            return given or tableless()
        return table

    def _tombstone(self, record: LogRecord) -> Sequence[Change]:
        if self._rules.tombstones == "ignore":
            return ()
        table = self._rules.table or tableless()
        plan = self._tables.of(table)
        key = plan.key_of(self._key(record, plan, {}), {})
        at = Occurrence(record, self._source, table, record.event_time)
        return (change_of(at, "delete", key, dict(key), None, initiator=plan.initiator_of(key)),)


def _is_delete(added: Row) -> bool:
    deleted = added.get("deleted")
    if deleted in ("true", True) or added.get("op") == "d":
        return True
    if deleted not in ("false", False, None):
        message = f"`__deleted` is {str(deleted)[:40]!r}, neither true nor false"
        raise RejectedError(message, "leave it as the transform writes it")
    return False


def _reject_envelope(row: Row) -> None:
    if row.keys() >= {"op", "ts_ms"} and ("after" in row or "before" in row):
        message = "the event is Debezium's envelope, not a row"
        raise RejectedError(message, "set `format` of [[tables.streams]] to 'debezium'")
