"""Random histories, written as pgoutput, decoded in pieces and with restarts, end as the table that they made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from events.capture import Progress
from events.changes import Change, Truncation
from events.errors import StoreError
from events.log import LogRecord
from operators.capture.postgres import PostgresDecoder
from operators.changes.debezium import debezium
from operators.changes.rules import StreamRules
from tests.operators.capture.write_pgoutput import (
    TOAST,
    Catalog,
    begin,
    delete,
    insert,
    relation,
    transaction,
    truncate,
    update,
)

COLUMNS = [("id", 23), ("note", 25), ("price", 1700)]
DESCRIBED = {"d": relation(1, "items", COLUMNS), "f": relation(1, "items", COLUMNS, identity="f")}
CATALOG = Catalog({"public.items": ("id",)})

Rows = dict[int, tuple[str | None, str | None]]
Step = tuple[str, int, int, str | None, str | None]

prices = st.none() | st.decimals(-(10**20), 10**20, places=2).map(str)
steps = st.tuples(
    st.sampled_from(["put", "put", "put", "touch", "move", "delete", "truncate"]),
    st.integers(0, 4),
    st.integers(0, 4),
    st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    prices,
)
histories = st.lists(st.lists(steps, max_size=6), max_size=12)


def written(history: Sequence[Sequence[Step]], identity: str) -> tuple[list[bytes], Rows]:
    """Return a history as the server would send it, and the table that it ends in."""
    rows: Rows = {}
    stream = [DESCRIBED[identity]]
    for number, steps_ in enumerate(history):
        sent = [change for step in steps_ if (change := _written(rows, step, identity)) is not None]
        stream += transaction(1000 + 100 * number, *sent, xid=number + 1)
    return stream, rows


def _written(rows: Rows, step: Step, identity: str) -> bytes | None:
    """Return what the server would send of a step, which is done to `rows`; None if it does nothing."""
    kind, id_, _, note, price = step
    if kind == "truncate":
        rows.clear()
        return truncate(1)
    if id_ in rows:
        return _changed(rows, step, identity)
    if kind != "put":
        return None
    rows[id_] = (note, price)
    return insert(1, [id_, note, price])


def _changed(rows: Rows, step: Step, identity: str) -> bytes | None:
    kind, id_, other, note, price = step
    whole: Any = {"old": [id_, *rows[id_]]} if identity == "f" else {}
    sent: dict[str, list[Any]] = {"touch": [id_, TOAST, price], "move": [other, note, price]}
    if kind == "move" and other in rows:
        return None
    kept, _ = rows.pop(id_)
    if kind == "delete":
        return delete(1, **whole or {"key": [id_, None, None]})
    rows[other if kind == "move" else id_] = (kept if kind == "touch" else note, price)
    return update(
        1, sent.get(kind, [id_, note, price]), **whole or ({"key": [id_, None, None]} if kind == "move" else {})
    )


def table_of(changes: Sequence[Change | Truncation]) -> dict[str, Any]:
    """Return what changes, applied in the order of their positions, end in."""
    rows: dict[str, Any] = {}
    for change in sorted(changes, key=lambda change: change.position):
        if isinstance(change, Truncation):
            rows.clear()
        elif change.after is None:
            rows.pop(change.key, None)
        else:
            known = rows.get(change.key, {})
            rows[change.key] = {**{name: known[name] for name in change.unavailable}, **change.after}
    return rows


def decoded(records: Sequence[LogRecord]) -> list[Change | Truncation]:
    decode = debezium(StreamRules("items"))
    return [change for record in records for change in decode(record)]


def all_at_once(stream: Sequence[bytes]) -> list[LogRecord]:
    decoder = PostgresDecoder("shop", "items")
    decoder.begin(CATALOG, Progress())
    return decoder.decode(stream)


@given(histories, st.sampled_from("df"), st.randoms(use_true_random=False))
def test_events_in_the_order_of_their_positions_end_as_the_table(
    history: list[Any], identity: str, random: Any
) -> None:
    stream, rows = written(history, identity)
    changes = decoded(all_at_once(stream))
    random.shuffle(changes)

    assert len({change.position for change in changes}) == len(changes)
    ended = {
        key: (row["id"], row["note"], None if row["price"] is None else str(row["price"]))
        for key, row in table_of(changes).items()
    }
    assert ended == {json.dumps({"id": id_}, separators=(",", ":")): (id_, *rest) for id_, rest in rows.items()}


@given(histories, st.lists(st.integers(1, 9), max_size=12), st.sampled_from("df"))
def test_however_often_it_begins_anew_the_events_are_the_same(
    history: list[Any], cuts: list[int], identity: str
) -> None:
    stream, _ = written(history, identity)
    records: list[LogRecord] = []
    progress, at = Progress(), 0
    for cut in [*cuts, len(stream)]:
        decoder = PostgresDecoder("shop", "items")
        decoder.begin(CATALOG, progress)
        # A new connection sends everything from some transaction on that had not been confirmed: here, from the first.
        records += decoder.decode(stream[:at])
        records += decoder.decode(stream[at : at + cut])
        progress, at = decoder.progress, min(at + cut, len(stream))
    assert records == all_at_once(stream)


def _spoilt(stream: list[bytes], number: int, at: int, put: bytes, gone: int) -> list[bytes]:
    place = number % len(stream)
    payload = stream[place]
    at %= len(payload) + 1
    return [*stream[:place], payload[:at] + put + payload[at + gone :], *stream[place + 1 :]]


def refused_or_read(stream: Sequence[bytes]) -> None:
    try:
        all_at_once(stream)
    except StoreError as error:
        said = error
    else:
        return
    assert said.hint
    assert "\n" not in str(said)


@given(histories, st.integers(0, 99), st.integers(0, 99), st.binary(max_size=6), st.integers(0, 99))
def test_a_spoilt_stream_is_refused_in_one_line_or_read(
    history: list[Any], number: int, at: int, put: bytes, gone: int
) -> None:
    stream, _ = written(history, "d")
    place = number % len(stream)
    payload = stream[place]
    at %= len(payload) + 1
    refused_or_read([*stream[:place], payload[:at] + put + payload[at + gone :], *stream[place + 1 :]])


@given(st.lists(st.binary(max_size=60) | st.sampled_from("BCORYIUDTMSEcA").map(str.encode), max_size=6))
@example([b"M\0" + bytes(8)])
@example([b"R" + bytes(4) + b"\0\0d\xff\xff"])
def test_arbitrary_bytes_are_refused_in_one_line_or_read(payloads: list[bytes]) -> None:
    refused_or_read(payloads)
    refused_or_read([DESCRIBED["d"], begin(500), *payloads])
