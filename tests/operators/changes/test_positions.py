from __future__ import annotations

from typing import Any

import pytest

from events.errors import RejectedError
from operators.changes.positions import place_of


def _place(source: dict[str, Any], order: Any = None) -> tuple[int, ...]:
    return place_of(source)(source, order)


_MYSQL = {"connector": "mysql", "file": "mysql-bin.000003", "pos": 154, "row": 0}
_SQLSERVER = {"connector": "sqlserver", "commit_lsn": "00000025:00000d98:00a2"}


@pytest.mark.parametrize(
    ("source", "order", "position"),
    [
        ({"connector": "postgresql", "lsn": 24023128}, None, (24023128,)),
        ({"connector": "postgresql", "lsn": 24023128}, 2, (24023128, 2)),
        ({"connector": "postgresql", "lsn": "24023128"}, None, (24023128,)),
        ({"connector": "postgresql", "lsn": None}, 2, ()),
        ({"connector": "postgresql", "lsn": 0}, None, ()),
        ({"connector": "postgresql"}, None, ()),
        (_MYSQL, None, (3, 154, 0)),
        (_MYSQL, 7, (3, 154, 0)),
        ({"connector": "mariadb", "file": "binlog.with.dots.1234567", "pos": 4, "row": None}, None, (1234567, 4, 0)),
        ({"connector": "mysql", "file": "", "pos": 0, "row": 0}, None, ()),
        ({"connector": "mysql", "file": None, "pos": None, "row": 0}, None, ()),
        ({"connector": "mongodb", "ts_ms": 1739321992000, "ord": 28}, None, (1739321992, 28)),
        ({"connector": "mongodb", "ts_ms": 1739321992000, "ord": 28}, 1, (1739321992, 28, 1)),
        ({"connector": "mongodb", "ts_ms": 1739321992000, "ord": -1}, None, ()),
        ({"connector": "mongodb", "ts_ms": 0, "ord": 1}, None, ()),
        (_SQLSERVER, None, (0x25, 0xD98, 0xA2)),
        (
            {**_SQLSERVER, "change_lsn": "00000025:00000d98:0090", "event_serial_no": 2},
            None,
            (0x25, 0xD98, 0xA2, 0x25, 0xD98, 0x90, 2),
        ),
        ({**_SQLSERVER, "connector": "db2", "commit_lsn": None}, None, ()),
        ({"connector": "oracle", "scn": "1568", "commit_scn": "1570", "ssn": 3}, None, (1570, 1568, 3)),
        ({"connector": "oracle", "scn": "1568", "commit_scn": "1570, 1699"}, 4, (1699, 1568, 4)),
        ({"connector": "oracle", "scn": "1568", "commit_scn": None}, None, (1568,)),
        ({"connector": "oracle"}, None, ()),
        ({"connector": "vitess", "vgtid": "x"}, None, ()),
        ({"connector": ["mysql"]}, None, ()),
        ({}, 1, ()),
    ],
)
def test_each_database_has_a_position_of_its_own(source: dict[str, Any], order: Any, position: tuple[int, ...]) -> None:
    assert _place(source, order) == position


@pytest.mark.parametrize(
    ("source", "position"),
    [
        ({"lsn": 5}, (5,)),
        ({"file": "b.000002", "pos": 9}, (2, 9, 0)),
        ({"ord": 2, "ts_ms": 3000}, (3, 2)),
        ({"commit_lsn": "00000001:00000002:0003"}, (1, 2, 3)),
        ({"scn": "8"}, (8,)),
    ],
)
def test_without_a_connector_the_fields_tell_the_database(source: dict[str, Any], position: tuple[int, ...]) -> None:
    assert _place(source) == position


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({**_MYSQL, "file": "mysql-bin.999999"}, {**_MYSQL, "file": "mysql-bin.1000000"}),
        (_MYSQL, {**_MYSQL, "row": 1}),
        (_SQLSERVER, {**_SQLSERVER, "change_lsn": "00000025:00000d98:0001", "event_serial_no": 1}),
        (
            {"connector": "oracle", "scn": "100", "commit_scn": None},
            {"connector": "oracle", "scn": "90", "commit_scn": "101"},
        ),
        (
            {"connector": "oracle", "scn": "90", "commit_scn": "99"},
            {"connector": "oracle", "scn": "100", "commit_scn": None},
        ),
    ],
)
def test_positions_compare_as_their_events_happened(older: dict[str, Any], newer: dict[str, Any]) -> None:
    assert _place(older) < _place(newer)


@pytest.mark.parametrize(
    ("source", "order"),
    [
        ({"connector": "postgresql", "lsn": "0/16B3748"}, None),
        ({"connector": "postgresql", "lsn": -1}, None),
        ({"connector": "postgresql", "lsn": True}, None),
        ({"connector": "postgresql", "lsn": 1.5}, None),
        ({"connector": "postgresql", "lsn": [1]}, None),
        ({"connector": "postgresql", "lsn": 2**256}, None),
        ({"connector": "postgresql", "lsn": 1}, "first"),
        ({"connector": "postgresql", "lsn": 1}, -1),
        ({**_MYSQL, "file": "mysql-bin"}, None),
        ({**_MYSQL, "file": 3}, None),
        ({**_MYSQL, "pos": "x"}, None),
        ({**_MYSQL, "row": -1}, None),
        ({"connector": "mongodb", "ts_ms": "now", "ord": 1}, None),
        ({**_SQLSERVER, "commit_lsn": "25:98"}, None),
        ({**_SQLSERVER, "change_lsn": 5}, None),
        ({"connector": "oracle", "commit_scn": "1,x", "scn": "1"}, None),
    ],
)
def test_a_number_that_is_none_is_rejected(source: dict[str, Any], order: Any) -> None:
    with pytest.raises(RejectedError, match="is no position"):
        _place(source, order)
