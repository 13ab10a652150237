"""Where the capture of a MySQL or MariaDB server stands, as it is written down between two runs.

`anew`      what was captured before has a gap: all is read from the beginning, and what is not there any more goes
`snapshot`  all that is committed behind `end` is going to be streamed; `tables` have been read whole, others have not
`stream`    all before `end` has been given, and the first `index` changes of the transaction `open` behind it
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from events.binlog import BinlogPoint
from stores.capture.left import ANEW, place_as, remedy
from stores.capture_settings import MysqlTapSettings

__all__ = ["ANEW", "MysqlPlace", "read_place", "remedy", "renewal", "written_place"]


class MysqlPlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The place.

    :arg server: What tells the server from others: places in another one's binlog say nothing here.
    :arg tables: Tables that have been read, and are captured.
    :arg keys: Columns of the primary key by which the rows of each are told apart, as far as they are known.
    """

    phase: Literal["anew", "snapshot", "stream"]
    server: str = ""
    end: BinlogPoint = BinlogPoint()
    open: str = ""
    index: int = 0
    tables: tuple[str, ...] = ()
    keys: dict[str, tuple[str, ...]] = {}


def read_place(settings: MysqlTapSettings, place: Any) -> MysqlPlace | None:
    """Read what `written_place` wrote.

    :raises StoreError: When it is no place of MySQL.
    """
    return place_as(MysqlPlace, "MySQL", settings, place)


def written_place(place: MysqlPlace) -> dict[str, Any]:
    """Return the place as plain data."""
    written: dict[str, Any] = msgspec.to_builtins(place)
    return written


def renewal(settings: MysqlTapSettings) -> str:
    """Return what helps when the files of the binlog have begun anew: by position, all in them is older than before."""
    return f"raise `generation` of its stream in [[tables.streams]], then {remedy(settings)}"
