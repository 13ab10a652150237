"""What flows are told on their control streams: read in one way by all, with what nobody can have meant refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from events.changes import Decision
from events.dead_letters import DeadLetter
from events.erasure import ERASED, Erasure
from events.errors import RejectedError
from events.log import LogRecord
from operators.attempt import try_each
from stores.sections import checked_name

_SLASHES = 2
"""At least so many are in a record key: source/table/key."""
_LONG = 200


class _Said(msgspec.Struct):
    type: str = ""


def told(flow: str, records: Iterable[LogRecord]) -> tuple[list[Decision | Erasure], list[DeadLetter]]:
    """Read what a flow is told; what cannot be read is a dead letter."""
    left = [record for record in records if ERASED not in record.headers]
    found = try_each(flow, "control", left, _read, lambda record: record)
    said = [item for item in found if not isinstance(item, DeadLetter)]
    return said, [item for item in found if isinstance(item, DeadLetter)]


def erasures(flow: str, records: Iterable[LogRecord]) -> tuple[list[Erasure], list[DeadLetter]]:
    """Read what a flow is told that has nothing to decide but to forget persons."""
    said, dead = told(flow, records)
    return [item for item in said if isinstance(item, Erasure)], dead


def _read(record: LogRecord) -> Sequence[Decision | Erasure]:
    value = record.value or b""
    try:
        if msgspec.json.decode(value, type=_Said).type == "erasure":
            erasure = msgspec.json.decode(value, type=Erasure)
            _check(erasure)
            return (erasure,)
        return (msgspec.json.decode(value, type=Decision),)
    except msgspec.DecodeError as error:
        msg = f"not a decision: {error}"
        raise RejectedError(msg, "use `headrace held release`, `headrace held discard` or `headrace forget`") from None


def _check(erasure: Erasure) -> None:
    try:
        checked_name(erasure.realm)
    except ValueError as error:
        raise RejectedError(str(error), "use `headrace forget`") from None
    wrong = next((record for record in erasure.records if record.count("/") < _SLASHES), None)
    if wrong is not None:
        msg = f"an erasure names {wrong[:_LONG]!r}, which is no record key"
        raise RejectedError(msg, "use `headrace forget`")
