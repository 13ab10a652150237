"""Where the capture of a database stands, as it is written down between two runs.

`anew`      what was captured before has a gap: all is read from the beginning, and what is not there any more goes
`snapshot`  the slot streams all that is committed at `end` or behind it; `tables` have been read whole, others have not
`stream`    all before `end` has been given, and the first `index` changes of the transaction that commits at `commit`
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from stores.capture.left import ANEW, place_as, remedy
from stores.capture_settings import PostgresTapSettings

__all__ = ["ANEW", "Asked", "PostgresPlace", "read_place", "remedy", "written_place"]


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the server was asked for: of a transaction, other things make other changes, with other numbers.

    :arg publications: In the order of their names.
    :arg only: Tables of which changes are taken, by object id, in their order; None: all that is published.
    """

    publications: tuple[str, ...]
    messages: bool = False
    only: tuple[int, ...] | None = None


class PostgresPlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The place.

    :arg system: Identifier of the server's cluster; positions of another one say nothing here.
    :arg timeline: Its timeline: a promoted standby or a restored backup begins another one.
    :arg tables: Tables that have been read, and are captured: name and object id. A table that was dropped and made
        again has another one.
    :arg publications: Publications, by name and object id.
    :arg coverage: How each table was published, as the catalog tells one such state from every other.
    :arg asked: As what the transaction that commits at `commit` is given.
    """

    phase: Literal["anew", "snapshot", "stream"]
    system: str = ""
    timeline: int = 0
    slot: str = ""
    end: int = 0
    commit: int = 0
    index: int = 0
    tables: dict[str, int] = {}
    publications: dict[str, int] = {}
    coverage: dict[str, str] = {}
    asked: Asked | None = None


def read_place(settings: PostgresTapSettings, place: Any) -> PostgresPlace | None:
    """Read what `written_place` wrote.

    :raises StoreError: When it is no place of PostgreSQL.
    """
    return place_as(PostgresPlace, "PostgreSQL", settings, place)


def written_place(place: PostgresPlace) -> dict[str, Any]:
    """Return the place as plain data."""
    written: dict[str, Any] = msgspec.to_builtins(place)
    return written
