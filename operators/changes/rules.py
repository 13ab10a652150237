"""What decoding needs to know beside the event: how a stream is written, and what the user says of its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from events.changes import Change, Truncation
from events.log import LogRecord

Format = Literal["auto", "debezium", "debezium-flat", "dms", "dynamodb", "maxwell", "headrace"]
FORMATS: tuple[Format, ...] = ("auto", "debezium", "debezium-flat", "dms", "dynamodb", "maxwell", "headrace")

Decode = Callable[[LogRecord], Sequence[Change | Truncation]]
"""Turns one record of the log into the changes that it says: none for an event that says nothing of rows, such as a
heartbeat, a transaction's begin or a tombstone after a delete. Raises RejectedError with what is wrong and the remedy.
Fast where all is well; remembers nothing that would change what an event means."""


class TableRules(msgspec.Struct, frozen=True):
    """What the user says of one table.

    :arg key: Columns of the primary key, for formats whose events do not name them; checked against those that do.
    :arg initiator: Column that holds who changed the row; wins over what the format says.
    :arg columns: For columns whose encoding the events do not tell, the encoding: see `operators/changes/values.py`.
    """

    key: tuple[str, ...] = ()
    initiator: str = ""
    columns: dict[str, str] = {}


NO_RULES = TableRules()


class StreamRules(msgspec.Struct, frozen=True):
    """How the events of one stream are written.

    :arg stream: Name of the stream; that of the source where neither the event nor `source` names one.
    :arg format: `auto` tells the format of each event by its envelope.
    :arg source: Name of the source, whatever the events say.
    :arg generation: First number of every position: raised when the source's positions begin anew.
    :arg table: Table of events that do not name one.
    :arg tombstones: What a record with a key and no value is: nothing, or the delete of its row; `auto`: what the
        format means by it (a delete in `debezium-flat` and `headrace`, nothing in the others).
    :arg max_bytes: Larger events are rejected unread.
    :arg tables: Rules by table, as the source names it, with its schema or database or without.
    """

    stream: str
    format: Format = "auto"
    source: str = ""
    generation: int = 0
    table: str = ""
    tombstones: Literal["auto", "ignore", "delete"] = "auto"
    max_bytes: int = 10 * 2**20
    tables: Mapping[str, TableRules] = {}

    def of(self, table: str) -> TableRules:
        """Return the rules of `table` as an event names it: under its full name, else under the last part of it."""
        return self.tables.get(table) or self.tables.get(table.rpartition(".")[2]) or NO_RULES
