"""Where the sources of Debezium say that an event stands, as numbers that compare: each database in its own way.

A position is empty where the source gives none, never a guess: the log's order then decides. Numbers that are there but
cannot be read are an error, because an event that claims a place it does not have would hide newer ones.

- PostgreSQL: the LSN of the change. Several events can share one, as can those of MongoDB and Oracle: within a
  transaction whose metadata is on, `total_order` is the last element.
- MySQL, MariaDB: number of the binlog file, place in it, row in the event. File names differ between servers: a
  failover is a new generation.
- MongoDB: time of the oplog entry (s), its ordinal in that second.
- SQL Server, Db2: LSN of the commit, LSN of the change (three numbers each), serial number of the event.
- Oracle: SCN of the commit, of the change, `ssn`. A snapshot is as old as its SCN: it has what was committed then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from events.changes import Position
from events.errors import RejectedError

_LIMIT = 2**256
_REMEDY = "leave the source block as the connector writes it"

Place = Callable[[Mapping[str, Any], Any], Position]
"""Returns the place that a source block names, without the generation, empty if it names none; takes the event's place
in its transaction beside it, None if that is not known. Raises RejectedError for a number that is none."""


def place_of(source: Mapping[str, Any]) -> Place:
    """Return what finds the place in source blocks like this one; the same for all of one connector."""
    connector = source.get("connector") or _connector_of(source)
    return _PLACES.get(connector, _nowhere) if type(connector) is str else _nowhere


def _nowhere(source: Mapping[str, Any], total_order: Any) -> Position:
    return ()


def _connector_of(source: Mapping[str, Any]) -> str:
    """Tell the connector by the fields that only it has, for events that were flattened and do not name it."""
    for field, connector in (
        ("commit_lsn", "sqlserver"),
        ("lsn", "postgresql"),
        ("file", "mysql"),
        ("ord", "mongodb"),
        ("commit_scn", "oracle"),
        ("scn", "oracle"),
    ):
        if source.get(field) is not None:
            return connector
    return ""


def _postgresql(source: Mapping[str, Any], total_order: Any) -> Position:
    lsn = source.get("lsn")
    if lsn is None:
        return ()
    number = lsn if type(lsn) is int and 0 <= lsn < _LIMIT else _number("lsn", lsn)
    return _ordered((number,), total_order) if number else ()


def _ordered(native: Position, total_order: Any) -> Position:
    if total_order is None:
        return native
    if type(total_order) is int and 0 <= total_order < _LIMIT:
        return (*native, total_order)
    return (*native, _number("transaction.total_order", total_order))


_FILE = re.compile(r".*\.(\d{1,18})", re.DOTALL)


def _mysql(source: Mapping[str, Any], total_order: Any) -> Position:
    file, pos, row = source.get("file"), source.get("pos"), source.get("row")
    if not file or not pos:
        return ()
    found = _FILE.fullmatch(file) if type(file) is str else None
    if found is None:
        raise _unreadable(file, "file")
    return (int(found[1]), _number("pos", pos), 0 if row is None else _number("row", row))


def _mongodb(source: Mapping[str, Any], total_order: Any) -> Position:
    millis, ordinal = source.get("ts_ms"), source.get("ord")
    # Debezium writes -1 where a snapshot began at no oplog entry.
    if not millis or ordinal is None or ordinal == -1:
        return ()
    return _ordered((_number("ts_ms", millis) // 1000, _number("ord", ordinal)), total_order)


def _hexadecimal(source: Mapping[str, Any], total_order: Any) -> Position:
    commit, change, serial = source.get("commit_lsn"), source.get("change_lsn"), source.get("event_serial_no")
    if not commit:
        return ()
    native = _lsn("commit_lsn", commit)
    if change:
        native += _lsn("change_lsn", change)
        if serial is not None:
            native += (_number("event_serial_no", serial),)
    return native


_LSN = re.compile(r"[0-9a-fA-F]{1,16}(?::[0-9a-fA-F]{1,16}){2}")


def _lsn(field: str, value: Any) -> Position:
    if type(value) is not str or not _LSN.fullmatch(value):
        raise _unreadable(value, field)
    return tuple(int(part, 16) for part in value.split(":"))


def _oracle(source: Mapping[str, Any], total_order: Any) -> Position:
    commit, scn, ssn = source.get("commit_scn"), source.get("scn"), source.get("ssn")
    if not commit:
        return (_scn("scn", scn),) if scn else ()
    native = (_scn("commit_scn", commit), _scn("scn", scn) if scn else 0)
    return _ordered(native if ssn is None else (*native, _number("ssn", ssn)), total_order)


def _scn(field: str, value: Any) -> int:
    # A cluster names one for each of its redo threads, separated by commas; the commit is as new as the newest.
    if type(value) is str and "," in value:
        return max(_number(field, part.strip()) for part in value.split(","))
    return _number(field, value)


_DIGITS = re.compile(r"[0-9]{1,78}")


def _number(field: str, value: Any) -> int:
    """Return a number that is written as a number or in digits."""
    number = value
    if type(value) is str and _DIGITS.fullmatch(value):
        number = int(value)
    if type(number) is int and 0 <= number < _LIMIT:
        return number
    raise _unreadable(value, field)


def _unreadable(value: Any, field: str) -> RejectedError:
    message = f"the source's {field} is {repr(value)[:40]}, which is no position"
    return RejectedError(message, _REMEDY)


_PLACES: dict[str, Place] = {
    "postgresql": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
    "mongodb": _mongodb,
    "sqlserver": _hexadecimal,
    "db2": _hexadecimal,
    "oracle": _oracle,
}
