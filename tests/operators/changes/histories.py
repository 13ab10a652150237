"""One logical history of rows, written as each format's own documentation says that it writes it.

`FORMATS` has an encoder for every way in which a history can arrive. Encoding is event by event and pure: a test may
shuffle, repeat and partition the records, and sets their partitions and offsets itself. A change of the primary key is
an update whose `before` has another key. Encoders that cannot say a thing name it in `lacks`, and refuse to say it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from events.log import LogRecord
from operators.changes.rules import StreamRules, TableRules
from tests.operators.changes.history import STREAM, Event
from tests.operators.changes.write_debezium import debezium, debezium_schema, flat, mysql, postgres
from tests.operators.changes.write_others import dms, dynamodb, kinesis, maxwell, plain, plain_by_offset

__all__ = ["FORMATS", "STREAM", "TABLES", "Ability", "Encoder", "Event"]

Ability = Literal["truncate", "unavailable", "read", "time", "before"]
"""What not every format can say: that a table was emptied, that a value was left out, that a row was read and not
written, when it happened to the millisecond, and what the row was before beyond its key."""

TABLES: Mapping[str, tuple[str, ...]] = {"flights": ("id",), "seats": ("flight", "seat")}
"""Tables of the histories and their primary keys. A column `price` holds decimals."""

_RULES = {table: TableRules(key=key, columns={"price": "decimal"}) for table, key in TABLES.items()}


class Encoder(msgspec.Struct, frozen=True):
    """One way to write a history.

    :arg rules: How the decoder is told to read it.
    :arg encode: Gives one record or more for each event, all with offset 0.
    :arg ordered: Whether the log must keep the order of each row's events; otherwise their positions tell it.
    :arg lacks: What the format cannot say.
    """

    rules: StreamRules
    encode: Callable[[Sequence[Event]], list[LogRecord]]
    ordered: bool
    lacks: frozenset[Ability] = frozenset()


def _encoder(
    rules: StreamRules,
    encode: Callable[[Event], Iterable[LogRecord]],
    *,
    ordered: bool = False,
    lacks: Iterable[Ability] = (),
) -> Encoder:
    lacking = frozenset(lacks)

    def encode_each(events: Sequence[Event]) -> list[LogRecord]:
        for event in events:
            refused = {event.op, "unavailable" if event.unavailable else ""} & lacking
            if refused:
                message = f"the format {rules.format!r} cannot say {refused.pop()!r}"
                raise ValueError(message)
        return [record for event in events for record in encode(event)]

    return Encoder(rules, encode_each, ordered, lacking)


def _rules(**settings: Any) -> StreamRules:
    return StreamRules(STREAM, source="travel", tables=_RULES, **settings)


FORMATS: dict[str, Encoder] = {
    "debezium": _encoder(_rules(format="debezium"), debezium(postgres), lacks=["before"]),
    "debezium-mysql": _encoder(_rules(format="debezium"), debezium(mysql), lacks=["unavailable"]),
    "debezium-schema": _encoder(StreamRules(STREAM, "debezium", source="travel"), debezium_schema, lacks=["before"]),
    "debezium-flat": _encoder(_rules(format="debezium-flat"), flat, lacks=["truncate", "before"]),
    "dms": _encoder(_rules(format="dms"), dms, ordered=True, lacks=["truncate", "unavailable"]),
    "dynamodb": _encoder(_rules(format="dynamodb"), dynamodb, lacks=["truncate", "unavailable", "read", "time"]),
    "dynamodb-kinesis": _encoder(_rules(format="dynamodb"), kinesis, lacks=["truncate", "unavailable", "read", "time"]),
    # Rows of a bootstrap are reads, but without a position: they would not bear shuffling.
    "maxwell": _encoder(_rules(format="maxwell"), maxwell, lacks=["truncate", "unavailable", "read", "time"]),
    "headrace": _encoder(_rules(format="headrace"), plain),
    "headrace-offsets": _encoder(_rules(format="headrace"), plain_by_offset, ordered=True, lacks=["truncate"]),
}
"""Every way in which a history can arrive, by name."""
