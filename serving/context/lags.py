"""How far a cut of a store was behind its sources: by what the cut itself holds of it, never by a later look.

Of a source only those streams count that bring it, with all the partitions that the log has of them. Where they are not
known, the whole store does: it is behind no source by more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from events.context import Cut
from events.log import Applied
from operators.feedback.configure import Objectives
from serving.captured import is_capture, stream_of
from serving.freshness import Partitions, age, remedy

HERE = "here"
"""Store of what is not taken in but written here: it is behind nothing."""
HANDED = "handed over"
"""Store of what came with the question: when it was said, and what has become of it since, nobody here knows."""


class StoreLag:
    """How far one cut of one store was behind at `now`.

    :arg store: Name of its flow.
    :arg applied: What the cut holds as applied.
    :arg partitions: Streams that the store is made of, with the partitions that the log has of them.
    """

    def __init__(self, store: str, applied: Sequence[Applied], partitions: Partitions, now: int) -> None:
        self.store = store
        self.applied = applied
        self.partitions = partitions
        self.now = now
        self.age = self._age(partitions)
        self._of: dict[str, int | None] = {}

    def of(self, source: str) -> int | None:
        """Return how long ago (ms) `source` may have changed without the store's knowing; None if it cannot be told."""
        if source not in self._of:
            bringing = {mark.source for mark in self.applied if source in mark.positions} | {source}
            streams = {name: parts for name, parts in self.partitions.items() if stream_of(name) in bringing}
            self._of[source] = self._age(streams) if streams else self.age
        return self._of[source]

    def remedy(self) -> str:
        """Return what to do when it is too far behind."""
        return remedy(self.applied, self.partitions, self.now)

    def cut(self) -> Cut:
        """Return what is to be said of the cut."""
        own = [mark for mark in self.applied if not is_capture(mark.source)]
        offsets = {f"{mark.source}/{mark.partition}": mark.offset for mark in own}
        return Cut(self.store, dict(sorted(offsets.items())), self.age)

    def _age(self, partitions: Partitions) -> int | None:
        return age(self.applied, partitions, self.now) if partitions else None


class Lags:
    """How far each of the stores was behind that were asked for one context.

    :arg objectives: How far sources may be behind.
    """

    def __init__(self, stores: Mapping[str, StoreLag], objectives: Objectives) -> None:
        self._stores = stores
        self._objectives = objectives

    def of(self, store: str, source: str, *, whole: bool = False) -> tuple[int | None, bool]:
        """Return of a source in a store how far (ms) it was behind, and whether that is too far or not known.

        :arg whole: Of the whole store instead: for what is made of several sources.
        """
        if store == HERE:
            return 0, False
        if store == HANDED:
            return None, True
        found = self._stores.get(store)
        lag = None if found is None else found.age if whole else found.of(source)
        return lag, lag is None or lag > self._objectives.of(source)
