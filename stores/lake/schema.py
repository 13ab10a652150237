"""The columns of the lake: one row a conversation, with all that was said, shown and thought of it, nothing left out.

Times are microseconds in UTC, as Delta Lake has them. A row holds every field of its
events but two, so that they can be made of it again (`stores/lake/rows.py`) when feedback comes that amends it. A
comment carries no verdict: that is ours, not the event's, and lies with the facts behind the KPIs. A context does not
name its person: the row does, among all others.
"""

from __future__ import annotations

import functools
from typing import Any

PARTITION = "day"

STATISTICS = "begin,end"
"""Columns whose least and greatest value are written into the table's log: none that says anything of a person."""


@functools.cache
def schema() -> Any:
    """Return the schema, as pyarrow has it.

    - `day`: of the first turn, in UTC; the partition.
    - `begin`, `end`: of the first and the last turn.
    - `applications`, `persons`: all that its events name; `person`, `language` and `consent` as said last, empty or
      null if never.
    - `turns`, `ratings`, `comments`, `contexts`: in the order of their times. Whose data a context may hold is not said
      with it, only among `persons`.
    - `good`, `bad`: how many of its ratings are.
    - `fresh`: whether no shown piece was out of date; null if no context is known, or not all that turns name.
    - `revision`: a digest of all that.
    """
    import pyarrow as pa

    text, time, number, real, truth = pa.string(), pa.timestamp("us", "UTC"), pa.int64(), pa.float64(), pa.bool_()
    turn = pa.struct(
        [
            ("id", text), ("time", time), ("role", text), ("text", text), ("application", text), ("model", text),
            ("language", text), ("topic", text), ("person", text), ("latency", real), ("tokens_in", number),
            ("tokens_out", number), ("cost", real), ("fallback", truth), ("context", text), ("consent", truth),
        ]
    )  # fmt: skip
    rating = pa.struct(
        [("id", text), ("time", time), ("scale", text), ("value", real), ("turn", text), ("person", text)]
    )
    comment = pa.struct(
        [("id", text), ("time", time), ("text", text), ("turn", text), ("person", text), ("language", text)]
    )
    item = pa.struct(
        [
            ("source", text), ("document", text), ("chunk", text), ("as_of", time), ("lag", real), ("stale", truth),
            ("text", text),
        ]
    )  # fmt: skip
    context = pa.struct([("id", text), ("time", time), ("items", pa.list_(item))])
    return pa.schema(
        [
            ("id", text), ("day", pa.date32()), ("begin", time), ("end", time), ("applications", pa.list_(text)),
            ("person", text), ("persons", pa.list_(text)), ("language", text), ("consent", truth),
            ("turns", pa.list_(turn)), ("ratings", pa.list_(rating)), ("comments", pa.list_(comment)),
            ("contexts", pa.list_(context)), ("good", number), ("bad", number), ("fresh", truth), ("revision", text),
        ]
    )  # fmt: skip
