"""The one sink that drives any store: a single writer in the whole cluster, and freshness that is a frontier.

Data is written as it comes. Progress marks are held until their epoch closes here, when everything of that epoch
has arrived by every path, and only then handed to the store to be noted as applied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from typing_extensions import override

from events.errors import StoreError
from events.log import Mark, furthest

X = TypeVar("X")


class EpochWriter(ABC, Generic[X]):
    """What a store must do to be driven by a dataflow. It takes the same items twice without harm."""

    def begin(self, *, resumed: bool) -> None:
        """Learn, before anything is written, whether the flow goes on where it was; if not, it reads everything anew.

        Nothing for a store to which that makes no difference.
        """

    @abstractmethod
    def write(self, items: Sequence[X]) -> None:
        """Take items in; they may become visible at once."""

    @abstractmethod
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        """Finish what `write` has begun and note `marks` as applied, in one commit with the last data."""

    @abstractmethod
    def identity(self) -> str:
        """Return what tells this store from another one in its place."""

    def progress(self) -> int:
        """Return a number that grows with what the store has noted as applied, and that its older copies have lower.

        Always 0 for a store that cannot tell itself from its older copies.
        """
        return 0

    @abstractmethod
    def close(self) -> None:
        """Let go of the store."""


State = tuple[str, int]
"""Identity and progress of the store."""


class _StorePartition(StatefulSinkPartition[X | Mark, State], Generic[X]):
    def __init__(self, writer: EpochWriter[X]) -> None:
        self._writer = writer
        self._marks: dict[tuple[str, str], Mark] = {}

    @override
    def write_batch(self, values: list[X | Mark]) -> None:
        items: list[X] = []
        for value in values:
            if isinstance(value, Mark):
                self._hold(value)
            else:
                items.append(value)
        if items:
            self._writer.write(items)

    @override
    def snapshot(self) -> State:
        marks = list(self._marks.values())
        self._marks.clear()
        self._writer.close_epoch(marks)
        return self._writer.identity(), self._writer.progress()

    @override
    def close(self) -> None:
        self._writer.close()

    def _hold(self, mark: Mark) -> None:
        key = mark.source, mark.partition
        self._marks[key] = furthest(mark, self._marks.get(key))


class StoreSink(FixedPartitionedSink[X | Mark, State], Generic[X]):
    """Sink of `(key, item)` and `(key, mark)` pairs into one store; the key does not matter.

    :arg open_writer: Opens the store for writing; called once, on the one worker that has this sink.
    """

    def __init__(self, open_writer: Callable[[], EpochWriter[X]]) -> None:
        self._open_writer = open_writer

    @override
    def list_parts(self) -> list[str]:
        return ["store"]

    @override
    def part_fn(self, item_key: str) -> int:
        del item_key
        return 0

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: State | None) -> _StorePartition[X]:
        writer = self._open_writer()
        # Before there was progress, the state was the identity alone.
        known = (resume_state, 0) if isinstance(resume_state, str) else resume_state
        identity, progress = known or (writer.identity(), 0)
        if identity != writer.identity():
            writer.close()
            detail = f"{step_id}: the recovery folder belongs to another store than the one found"
            raise StoreError(detail, "put the old store back, or remove the recovery folder to read everything again")
        if progress > writer.progress():
            writer.close()
            detail = f"{step_id}: the store is older than the recovery folder: a copy, or it has lost its last commits"
            raise StoreError(detail, "remove the recovery folder: the flow then goes on from what the store holds")
        try:
            writer.begin(resumed=resume_state is not None)
        except BaseException:
            writer.close()
            raise
        return _StorePartition(writer)
