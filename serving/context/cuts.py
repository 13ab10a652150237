"""One cut of each store that a context is read from, as fresh as demanded, all of them opened one after the other.

What is demanded is checked in the very cuts that are read: a store that was fresh enough a moment before counts for
nothing. Ages count from one moment, after the last cut was opened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple, Protocol, TypeVar

from events.changes import position_text
from events.clock import Clock
from events.errors import HeadraceError, StoreError
from events.log import Applied
from serving.captured import Captured, stream_of
from serving.context.lags import StoreLag
from serving.freshness import POLL_SECONDS, Demand, Partitions, StaleError, has_reached
from stores.log.base import Log
from stores.profiles.base import ProfileReader
from stores.rows.base import RowReader
from stores.sections import ChangesSettings
from stores.settings import Settings
from stores.vectors.base import VectorReader

KNOWLEDGE, TABLES, PROFILES = "knowledge", "tables", "profiles"
NAMES = {KNOWLEDGE: "documents", TABLES: "live tables", PROFILES: "profiles"}
"""How stores are called, by their flows."""

_HINT = "is the flow running? see `headrace status`"
logger = logging.getLogger(__name__)


class _Reader(Protocol):
    def applied(self) -> list[Applied]: ...


R = TypeVar("R", bound=_Reader)


class Readers(NamedTuple):
    """The stores that are asked; None: not this one."""

    documents: VectorReader | None
    tables: RowReader | None
    profiles: ProfileReader | None


class Cuts(NamedTuple):
    """Cuts of the stores that were asked and could be read.

    :arg lags: By flow, how far each cut is behind.
    :arg now: When the last of them had been opened.
    :arg unread: Flows whose stores could not be read.
    """

    readers: Readers
    lags: dict[str, StoreLag]
    now: int
    unread: list[str]


class Streams:
    """What the stores are made of.

    :arg log: Tells which partitions there are at this moment.
    """

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self.captured = Captured(settings)
        self.folders = frozenset(folder.name for folder in settings.knowledge.folders)
        changes: dict[str, ChangesSettings] = {TABLES: settings.tables, PROFILES: settings.profiles}
        self._named = {flow: {one.source or one.name for one in of.streams} for flow, of in changes.items()}

    def of(self, flow: str) -> Partitions:
        """Return the partitions of what a store is made of.

        Streams of documents that the log does not have bring none: they are named by default.
        """
        if flow == KNOWLEDGE:
            found = self._listed(self._settings.knowledge.streams)
            there = {stream: numbers for stream, numbers in found.items() if numbers and found[stream_of(stream)]}
            return there | {folder: [0] for folder in self.folders}
        streams = {
            TABLES: self._settings.tables.streams,
            PROFILES: self._settings.profiles.streams,
        }.get(flow, self._settings.feedback.streams)
        return self._listed(stream.name for stream in streams)

    def sources(self, flow: str, applied: Iterable[Applied]) -> set[str]:
        """Return the sources whose positions a store can be asked for."""
        if flow == KNOWLEDGE:
            return set(self.folders)
        return self._named[flow] | {source for mark in applied for source in mark.positions}

    def _listed(self, streams: Iterable[str]) -> dict[str, list[int]]:
        found = {stream: self._log.partitions(stream) for stream in streams}
        return found | self.captured.partitions(found)


@contextmanager
def open_cuts(
    readers: Readers,
    streams: Streams,
    demand: Demand | None,
    clock: Clock,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Cuts]:
    """Open one cut of each store for the block, once all of them are as fresh as demanded.

    :raises StaleError: When they do not become so in the time that the demand gives.
    :raises HeadraceError: When it is not clear which source a demanded position is of.
    """
    deadline = clock() + round(demand.seconds * 1000) if demand is not None else 0
    while True:
        with ExitStack() as stack:
            cuts = _opened(stack, readers, streams, clock)
            refusal = None if demand is None else _refusal(cuts, streams, demand)
            if refusal is None:
                yield cuts
                return
        if clock() >= deadline:
            raise refusal
        sleep(POLL_SECONDS)


def source_of(lags: Mapping[str, StoreLag], streams: Streams, demand: Demand) -> str:
    """Return the source that a demanded position is of: the named one, or the only one that the stores know.

    :raises HeadraceError: When none is named and there are several, or none.
    """
    known = _sources(lags, streams)
    if not demand.source and len(known) != 1:
        detail = "it is not clear of which source the position is"
        raise HeadraceError(detail, f"name it, one of: {', '.join(known) or 'none seen yet'}")
    return demand.source or known[0]


def unreadable(flow: str, error: HeadraceError) -> str:
    """Write down why a store could not be read; return what is said of it to whoever asks."""
    logger.warning("%s could not be read for a context: %s", NAMES.get(flow, flow), error)
    return f"the {NAMES.get(flow, flow)} cannot be read at present"


def _opened(stack: ExitStack, readers: Readers, streams: Streams, clock: Clock) -> Cuts:
    applied: dict[str, list[Applied]] = {}
    unread: list[str] = []

    def opened(flow: str, cut: Callable[[], AbstractContextManager[R]]) -> R | None:
        try:
            reader = stack.enter_context(cut())
            found = reader.applied()
            applied[flow] = [*found, *streams.captured.marks(found)]
        except StoreError as error:
            unreadable(flow, error)
            unread.append(flow)
            return None
        return reader

    cut = Readers(
        None if readers.documents is None else opened(KNOWLEDGE, readers.documents.cut),
        None if readers.tables is None else opened(TABLES, readers.tables.cut),
        None if readers.profiles is None else opened(PROFILES, readers.profiles.cut),
    )
    now = clock()
    lags = {flow: StoreLag(flow, marks, streams.of(flow), now) for flow, marks in applied.items()}
    return Cuts(cut, lags, now, unread)


def _refusal(cuts: Cuts, streams: Streams, demand: Demand) -> StaleError | None:
    """Return why the cuts are not as fresh as demanded; None if they are."""
    if cuts.unread:
        return StaleError(f"the {NAMES[cuts.unread[0]]} cannot be read", _HINT, None)
    if demand.max_age is not None:
        for flow, lag in cuts.lags.items():
            if lag.age is None:
                detail = f"the age of the {NAMES[flow]} cannot be told: not all of their streams have been read"
                return StaleError(detail, lag.remedy(), None)
            if lag.age > demand.max_age:
                asked = f"older than the {demand.max_age / 1000:g} s asked for"
                return StaleError(f"the {NAMES[flow]} are {lag.age / 1000:.1f} s old, {asked}", lag.remedy(), lag.age)
    return _unreached(cuts, streams, demand) if demand.position else None


def _unreached(cuts: Cuts, streams: Streams, demand: Demand) -> StaleError | None:
    source = source_of(cuts.lags, streams, demand)
    at = position_text(demand.position)
    known = _sources(cuts.lags, streams)
    if source not in known:
        detail = f"no store that is asked knows a source {source!r}"
        return StaleError(detail, f"there are: {', '.join(known) or 'none seen yet'}", None)
    for flow, lag in cuts.lags.items():
        if source not in streams.sources(flow, lag.applied):
            continue
        if flow == KNOWLEDGE:
            # A folder counts its changes; the mark says which one comes next.
            reached = any(mark.source == source and mark.offset > demand.position[-1] for mark in lag.applied)
        else:
            reached = has_reached(lag.applied, lag.partitions, source, demand.position)
        if not reached:
            return StaleError(f"the {NAMES[flow]} have not reached {at} of {source!r}", _HINT, lag.age)
    return None


def _sources(lags: Mapping[str, StoreLag], streams: Streams) -> list[str]:
    return sorted({source for flow, lag in lags.items() for source in streams.sources(flow, lag.applied)})
