"""What holds something of persons: the store of each flow, how far it is, and what an erasure has removed from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import msgspec
from typing_extensions import override

from events.log import Applied
from serving.conversations import FEEDBACK, LAKE
from serving.runs import runs
from serving.trails import PROFILES, TABLES
from stores.erasures import Removed
from stores.kpis.reader import KpiReader
from stores.lake.working_size import read_applied, read_erased
from stores.rows.base import RowReader
from stores.settings import Settings

_ERASED = "erased"


class Holder(ABC):
    """The store of one flow."""

    @abstractmethod
    def applied(self) -> Iterable[Applied]:
        """Return how far the store has taken in each partition of each stream; nothing if there is no store."""

    @abstractmethod
    def removed(self, erasure: str) -> list[Removed]:
        """Return what an erasure has removed from the store, over all times that it was told."""


class RowHolder(Holder):
    """The profile store, or that of the live tables."""

    _NAMES: ClassVar[Mapping[str, str]] = {PROFILES: "profile store", TABLES: "live tables"}

    def __init__(self, flow: str, reader: RowReader) -> None:
        self._flow = flow
        self._reader = reader

    @override
    def applied(self) -> Iterable[Applied]:
        return self._reader.applied()

    @override
    def removed(self, erasure: str) -> list[Removed]:
        noted = msgspec.json.decode(self._reader.facts(_ERASED).get(erasure, b"{}"), type=dict[str, int])
        # Beside the rows of live tables there are no entries.
        return [
            Removed(self._NAMES[self._flow], "rows" if self._flow == TABLES else what, count)
            for what, count in noted.items()
        ]


class KpiHolder(Holder):
    """The store of facts and KPIs."""

    def __init__(self, reader: KpiReader) -> None:
        self._reader = reader

    @override
    def applied(self) -> Iterable[Applied]:
        return self._reader.applied()

    @override
    def removed(self, erasure: str) -> list[Removed]:
        return [Removed(PLACES[FEEDBACK][0], "facts", self._reader.erased(erasure))]


class LakeHolder(Holder):
    """The lake."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.conversations_path

    @override
    def applied(self) -> Iterable[Applied]:
        return read_applied(self._path)

    @override
    def removed(self, erasure: str) -> list[Removed]:
        return [Removed(PLACES[LAKE][0], "conversations", read_erased(self._path, erasure))]


PLACES = {FEEDBACK: ("KPI store", "facts"), LAKE: ("lake", "conversations")}
"""By flow: how its store is called in previews and receipts, and what is removed from it."""

SERVED = ("served contexts", "contexts")
"""The same of what was served: it is of no flow."""


def holders(settings: Settings, rows: Mapping[str, RowReader]) -> dict[str, Holder]:
    """Return the stores of the flows that ever ran: the others have nothing to let go of.

    :arg rows: Readers of the row stores, by flow.
    """
    all_: dict[str, Holder] = {flow: RowHolder(flow, reader) for flow, reader in rows.items()}
    all_ |= {FEEDBACK: KpiHolder(KpiReader(settings.kpis_path)), LAKE: LakeHolder(settings)}
    return {flow: one for flow, one in all_.items() if one.applied() or runs(flow, settings.data_dir)}
