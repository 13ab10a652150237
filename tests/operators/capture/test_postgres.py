from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from events.capture import Column, Progress, Relation, TypeInfo
from events.changes import Change, Truncation
from events.errors import RejectedError, StoreError
from events.log import LogRecord
from operators.capture.postgres import PostgresDecoder
from operators.changes.debezium import debezium
from operators.changes.rules import StreamRules
from tests.operators.capture.write_pgoutput import (
    TOAST,
    Catalog,
    begin,
    delete,
    end,
    insert,
    message,
    relation,
    transaction,
    truncate,
    update,
)

FLIGHTS = relation(1, "flights", [("id", 23), ("status", 25), ("price", 1700)])
SEATS = relation(2, "seats", [("flight", 23), ("seat", 25)], key=("flight", "seat"))
AT = 1_767_225_600_000


def decoder(given: Progress | None = None, catalog: Catalog | None = None) -> PostgresDecoder:
    made = PostgresDecoder("shop", "changes")
    made.begin(catalog or Catalog(), given or Progress())
    return made


def values(records: Sequence[LogRecord]) -> list[Any]:
    return [record.value and json.loads(record.value) for record in records]


def changes(records: Sequence[LogRecord]) -> list[Change | Truncation]:
    decode = debezium(StreamRules("changes"))
    return [change for record in records for change in decode(record)]


def test_an_insert_is_an_event_of_debezium_with_its_key_beside_it() -> None:
    (record,) = decoder().decode([FLIGHTS, *transaction(500, insert(1, [7, "on time", "12.50"]), xid=731, at=AT)])

    assert (record.stream, record.event_time, record.key) == ("changes", AT, b'{"id":7}')
    event = json.loads(record.value or b"")
    version = event["source"].pop("version")
    assert isinstance(version, str)
    assert event == {
        "before": None,
        "after": {"id": 7, "status": "on time", "price": "12.50"},
        "source": {
            "connector": "postgresql",
            "name": "shop",
            "db": "shop",
            "schema": "public",
            "table": "flights",
            "columns": {"price": "decimal"},
            "ts_ms": AT,
            "ts_us": AT * 1000,
            "ts_ns": AT * 1_000_000,
            "snapshot": "false",
            "sequence": '[null,"500"]',
            "txId": 731,
            "lsn": 500,
            "xmin": None,
        },
        "transaction": {"id": "731:500", "total_order": 1, "data_collection_order": 1},
        "op": "c",
        "ts_ms": AT,
        "ts_us": AT * 1000,
        "ts_ns": AT * 1_000_000,
    }


def test_the_decoder_of_debezium_reads_the_row_with_its_decimals_and_no_configuration() -> None:
    doc = relation(3, "docs", [("id", 23), ("price", 1700), ("facts", 3802)])
    row = [1, "12345678901234567890.50", '{"stars": 5}']
    (change,) = changes(decoder().decode([doc, *transaction(500, insert(3, row), xid=731)]))

    assert isinstance(change, Change)
    assert change.after == {"id": 1, "price": Decimal("12345678901234567890.50"), "facts": {"stars": 5}}
    assert (change.source, change.table, change.key) == ("shop", "public.docs", '{"id":1}')
    assert (change.position, change.transaction) == ((0, 500, 1), "731")


def test_events_of_a_transaction_are_numbered_over_all_tables_and_within_each() -> None:
    records = decoder().decode(
        [
            FLIGHTS,
            SEATS,
            *transaction(500, insert(1, [1, None, None]), insert(2, [1, "1A"]), insert(1, [2, None, None])),
            *transaction(600, insert(2, [1, "1B"])),
        ]
    )

    orders = [event["transaction"] for event in values(records)]
    assert [(order["total_order"], order["data_collection_order"]) for order in orders] == [
        (1, 1),
        (2, 1),
        (3, 2),
        (1, 1),
    ]
    assert values(records)[3]["source"]["sequence"] == '["540","600"]'


def test_a_table_described_again_within_a_transaction_goes_on_counting() -> None:
    wider = relation(1, "flights", [("id", 23), ("status", 25), ("price", 1700), ("gate", 25)])
    records = decoder().decode(
        [FLIGHTS, *transaction(500, insert(1, [1, None, None]), wider, insert(1, [2, None, None, "B7"]))]
    )

    first, second = values(records)
    assert "gate" not in first["after"]
    assert second["after"]["gate"] == "B7"
    assert second["transaction"]["data_collection_order"] == 2


def test_an_update_that_keeps_the_key_has_nothing_before_it() -> None:
    (record,) = decoder().decode([FLIGHTS, *transaction(500, update(1, [7, TOAST, "1"]))])

    (event,) = values([record])
    assert (event["op"], event["before"]) == ("u", None)
    assert event["after"] == {"id": 7, "status": "__debezium_unavailable_value", "price": "1"}
    (change,) = changes([record])
    assert isinstance(change, Change)
    assert change.unavailable == ("status",)


def test_a_changed_key_is_a_delete_with_its_tombstone_and_a_create() -> None:
    records = decoder().decode([FLIGHTS, *transaction(500, update(1, [8, TOAST, "1"], key=[7, None, None]))])

    assert [record.key for record in records] == [b'{"id":7}', b'{"id":7}', b'{"id":8}']
    gone, tombstone, made = values(records)
    assert (gone["op"], gone["before"], gone["after"]) == ("d", {"id": 7}, None)
    assert tombstone is None
    assert (made["op"], made["before"], made["after"]["id"]) == ("c", None, 8)
    assert [change.position for change in changes(records)] == [(0, 500, 1), (0, 500, 2)]


def test_a_key_that_the_server_sends_although_it_has_not_changed_is_no_other_key() -> None:
    names = relation(1, "names", [("name", 25), ("n", 23)], key=("name",))
    (record,) = decoder().decode([names, *transaction(500, update(1, [TOAST, 2], key=["a long name", None]))])

    (event,) = values([record])
    assert (event["op"], record.key) == ("u", b'{"name":"a long name"}')
    assert event["after"] == {"name": "a long name", "n": 2}


def test_a_delete_says_the_key_alone_and_leaves_a_tombstone() -> None:
    records = decoder().decode([SEATS, *transaction(500, delete(2, key=[1, "1A"]))])

    event, tombstone = values(records)
    assert (event["op"], event["before"], event["after"]) == ("d", {"flight": 1, "seat": "1A"}, None)
    assert tombstone is None
    assert {record.key for record in records} == {b'{"flight":1,"seat":"1A"}'}


def test_with_full_identity_the_whole_row_before_is_there_and_fills_what_was_not_sent() -> None:
    full = relation(1, "flights", [("id", 23), ("status", 25), ("price", 1700)], identity="f")
    catalog = Catalog({"public.flights": ("id",)})
    stream = [
        full,
        *transaction(500, update(1, [7, TOAST, "2"], old=[7, "long", "1"]), delete(1, old=[7, "long", "2"])),
    ]
    updated, deleted, tombstone = decoder(catalog=catalog).decode(stream)

    (event,) = values([updated])
    assert event["before"] == {"id": 7, "status": "long", "price": "1"}
    assert event["after"] == {"id": 7, "status": "long", "price": "2"}
    assert values([deleted])[0]["before"] == {"id": 7, "status": "long", "price": "2"}
    assert (deleted.key, tombstone.key, tombstone.value) == (b'{"id":7}', b'{"id":7}', None)


def test_with_full_identity_a_changed_primary_key_is_a_delete_and_a_create() -> None:
    full = relation(1, "flights", [("id", 23), ("status", 25), ("price", 1700)], identity="f")
    stream = [full, *transaction(500, update(1, [8, "a", "1"], old=[7, "a", "1"]))]
    records = decoder(catalog=Catalog({"public.flights": ("id",)})).decode(stream)

    assert [(event or {}).get("op") for event in values(records)] == ["d", None, "c"]


def test_a_table_without_any_key_has_events_without_one_and_no_tombstones() -> None:
    full = relation(1, "lines", [("text", 25)], identity="f")
    stream = [full, *transaction(500, insert(1, ["a"]), update(1, ["b"], old=["a"]), delete(1, old=["b"]))]
    records = decoder().decode(stream)

    assert [record.key for record in records] == [None, None, None]
    assert [event["op"] for event in values(records)] == ["c", "u", "d"]


def test_the_key_is_that_of_the_identity_index_where_there_is_one() -> None:
    table = relation(1, "users", [("id", 23), ("email", 25)], identity="i", key=("email",))
    records = decoder(catalog=Catalog({"public.users": ("id",)})).decode(
        [table, *transaction(500, insert(1, [1, "a@b.c"]), delete(1, key=[None, "a@b.c"]))]
    )

    assert {record.key for record in records} == {b'{"email":"a@b.c"}'}


def test_a_decimal_within_a_key_is_a_number() -> None:
    table = relation(1, "prices", [("amount", 1700), ("note", 25)], key=("amount",))
    records = decoder().decode(
        [table, *transaction(500, insert(1, ["12.50", None])), *transaction(600, insert(1, ["NaN", None]))]
    )

    assert [record.key for record in records] == [b'{"amount":12.50}', b'{"amount":"NaN"}']
    (change,) = changes(records[:1])
    assert isinstance(change, Change)
    assert change.key == '{"amount":12.5}'


def test_a_truncation_is_an_event_for_each_table() -> None:
    records = decoder().decode([FLIGHTS, SEATS, *transaction(500, truncate(1, 2))])

    assert [record.key for record in records] == [None, None]
    assert [(event["op"], event["source"]["table"]) for event in values(records)] == [("t", "flights"), ("t", "seats")]
    emptied = changes(records)
    assert [type(change) for change in emptied] == [Truncation, Truncation]
    assert [(change.table, change.position) for change in emptied] == [
        ("public.flights", (0, 500, 1)),
        ("public.seats", (0, 500, 2)),
    ]


def test_logical_messages_are_events_in_their_transaction_or_of_none() -> None:
    stream = [
        *transaction(500, message(480, "audit", b"\x00who", transactional=True)),
        message(700, "audit", b"", transactional=False),
    ]
    made = decoder()
    within, alone = made.decode(stream)

    assert within.key == alone.key == b'{"prefix":"audit"}'
    first, second = values([within, alone])
    assert (first["op"], first["message"]) == ("m", {"prefix": "audit", "content": "AHdobw=="})
    assert (first["source"]["lsn"], first["transaction"]["total_order"]) == (500, 1)
    assert (second["source"]["lsn"], second["transaction"]) == (700, None)
    assert changes([within, alone]) == []
    assert made.progress.end == 701


def test_progress_says_what_was_decoded_whole_and_how_much_of_the_rest() -> None:
    made = decoder()
    assert made.progress == Progress()
    made.decode([FLIGHTS, *transaction(500, insert(1, [1, None, None]), at=AT)])
    assert made.progress == Progress(end=540, committed_at=AT)
    made.decode([begin(600), insert(1, [2, None, None]), insert(1, [3, None, None])])
    assert made.progress == Progress(end=540, commit=600, index=2, committed_at=AT)
    made.decode([end(600, 640)])
    assert made.progress == Progress(end=640, committed_at=AT)


def test_what_was_given_is_passed_over_and_the_rest_comes_as_it_would_have() -> None:
    stream = [
        FLIGHTS,
        *transaction(500, insert(1, [1, None, None])),
        *transaction(
            600, insert(1, [2, None, None]), update(1, [3, None, None], key=[2, None, None]), insert(1, [4, None, None])
        ),
        message(700, "x", b"", transactional=False),
        *transaction(800, insert(1, [5, None, None])),
    ]
    whole = decoder()
    seen: list[LogRecord] = []
    for cut in range(len(stream)):
        again = decoder(whole.progress)
        assert again.progress == whole.progress
        assert seen + again.decode(stream) == decoder().decode(stream), cut
        seen += whole.decode(stream[cut : cut + 1])


def test_snapshot_reads_are_older_than_what_commits_at_their_place_and_newer_than_what_went_before() -> None:
    columns = (Column("id", 23), Column("price", 1700), Column("on", 1082))
    table = Relation(1, "public", "flights", columns, ("id",))
    made = decoder()
    emptied = made.truncate(table, 500, AT)
    first = made.read(table, [("1", None, "2026-01-01")], 500, AT)
    second = made.read(table, [("2", "3.10", None), ("3", None, None)], 500, AT, "snapshot")

    events = values([*first, *second])
    assert [event["source"]["snapshot"] for event in events] == ["true", "true", "last"]
    assert values(made.read(table, [("1", None, None)], 500, AT, "table"))[0]["source"]["snapshot"] == (
        "last_in_data_collection"
    )
    assert events[1] | {"source": None} == {
        "before": None,
        "after": {"id": 2, "price": "3.10", "on": None},
        "source": None,
        "transaction": None,
        "op": "r",
        "ts_ms": AT,
        "ts_us": AT * 1000,
        "ts_ns": AT * 1_000_000,
    }
    streamed = made.decode([FLIGHTS, *transaction(460, insert(1, [9, None, None]))])
    later = decoder().decode([FLIGHTS, *transaction(500, insert(1, [9, None, None]))])
    before, truncation, read, after = (changes([record])[0] for record in (*streamed, emptied, *first, *later))
    assert isinstance(truncation, Truncation)
    assert isinstance(read, Change)
    assert (read.op, read.key, read.after) == ("read", '{"id":1}', {"id": 1, "price": None, "on": "2026-01-01"})
    assert before.position < truncation.position < read.position < after.position


def test_a_row_read_of_another_width_is_refused() -> None:
    table = Relation(1, "public", "flights", (Column("id", 23),), ("id",))
    with pytest.raises(StoreError, match=r"public\.flights was read with another number of columns"):
        decoder().read(table, [("1", "2")], 500, AT)


def test_a_heartbeat_says_nothing_of_rows() -> None:
    record = decoder().heartbeat(AT)
    assert record is not None
    assert (record.key, record.value, record.event_time) == (b'{"serverName":"shop"}', b'{"ts_ms":1767225600000}', AT)
    assert changes([record]) == []


def test_names_with_quotes_and_percents_stay_what_they_are() -> None:
    odd = relation(1, 'a"b%s', [("id", 23), ('%d "x"', 25)], schema="50%")
    (record,) = decoder().decode([odd, *transaction(500, insert(1, [1, 'say "%b"\n']))])

    (event,) = values([record])
    assert event["after"] == {"id": 1, '%d "x"': 'say "%b"\n'}
    assert (event["source"]["schema"], event["source"]["table"]) == ("50%", 'a"b%s')


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        ([b""], "cut off"),
        ([b"B123"], "cut off"),
        ([FLIGHTS[:-3]], "cut off"),
        ([FLIGHTS, begin(500), insert(1, [1, "a", "2"])[:-1]], r"public\.flights whose rows do not end where it does"),
        ([FLIGHTS, begin(500), insert(1, [1, "a", "2"]) + b"n"], r"public\.flights whose rows do not end"),
        ([FLIGHTS, begin(500), insert(1, [1, "a"])], r"public\.flights with another number of columns"),
        ([FLIGHTS, begin(500), insert(1, [1, "a", "2"]).replace(b"t", b"b", 1)], r"public\.flights in the form 'b'"),
        ([begin(500), insert(1, [1])], "the table 1, which the server has not described"),
        ([FLIGHTS, insert(1, [1, "a", "2"])], "a change outside a transaction"),
        ([begin(500), begin(600)], "begins within another"),
        ([begin(500), end(600, 640)], "a commit of another transaction"),
        ([end(600, 640)], "a commit outside a transaction"),
        ([b"S\0\0\0\1\1"], "of the kind 'S' are of no part of protocol version 1"),
    ],
)
def test_what_cannot_be_understood_stops_the_capture_with_what_is_wrong(stream: list[bytes], words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        decoder().decode(stream)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_types_that_only_the_database_knows_are_asked_for() -> None:
    types = {
        16_400: TypeInfo("numeric", 1700),
        16_401: TypeInfo("mood", 16_401, enum=True),
        16_402: TypeInfo("_mood", 16_402, element=16_401),
        16_403: TypeInfo("vector", 16_403),
        16_404: TypeInfo("hstore", 16_404),
        1007: TypeInfo("_int4", 1007, element=23),
    }
    columns = [
        ("id", 23),
        ("paid", 16_400),
        ("mood", 16_401),
        ("moods", 16_402),
        ("v", 16_403),
        ("h", 16_404),
        ("n", 1007),
    ]
    table = relation(1, "odd", columns)
    row = [1, "1.10", "glad", "{glad,sad}", "[1,2.5]", '"a"=>"1", "b"=>NULL', "{1,NULL}"]
    (record,) = decoder(catalog=Catalog(types=types)).decode([table, *transaction(500, insert(1, row))])

    (change,) = changes([record])
    assert isinstance(change, Change)
    assert change.after == {
        "id": 1,
        "paid": Decimal("1.10"),
        "mood": "glad",
        "moods": ["glad", "sad"],
        "v": [1.0, 2.5],
        "h": {"a": "1", "b": None},
        "n": [1, None],
    }


@pytest.mark.parametrize("columns", ["price", ["price"], {"price": "roman"}, {"price": 1}])
def test_a_source_that_says_nonsense_of_its_columns_is_a_dead_letter(columns: object) -> None:
    event = {"before": None, "after": {"id": 1, "price": "1"}, "op": "c"}
    source = {"connector": "postgresql", "name": "shop", "schema": "public", "table": "t", "lsn": 5, "columns": columns}
    record = LogRecord("changes", 0, 0, AT, b'{"id":1}', json.dumps({**event, "source": source}).encode())
    with pytest.raises(RejectedError, match="the source's `columns`"):
        changes([record])
