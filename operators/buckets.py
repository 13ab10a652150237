"""Keyed state in buckets: a fixed number of state keys, each holding a dict over many ids.

Bytewax snapshots every key that an epoch touched, so one key per id is too many and one key for all is too
large. Logic here sees ids; only the wrapper sees buckets. State is plain tuples, so that a snapshot never
depends on where a class lives.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic
from typing_extensions import override

BUCKETS = 4096
"""Number of state keys of every bucketed step. Part of the state's schema: never changes."""
_KEYS = [f"{number:04d}" for number in range(BUCKETS)]
SLICES = 64
"""Into so many slices the buckets are cut, for what all of them must be told but not at once."""

V = TypeVar("V")
W = TypeVar("W")

Entry: TypeAlias = "tuple[Any, ...]"
"""State of one id: plain values only."""

Snapshot: TypeAlias = "tuple[int, dict[str, Entry], int | None]"
"""Version of the layout, the entries, the watermark."""


def bucket_of(id_: str) -> str:
    """Return the state key of `id_`: the same in every process, on every machine, for ever."""
    return _KEYS[zlib.crc32(id_.encode()) % BUCKETS]


class Bucket(ABC, Generic[V, W]):
    """Pure logic over the ids of one bucket.

    A subclass implements `step` and keeps what it must remember in `entries`. `watermark` is the newest event
    time seen in this bucket (ms since epoch), fed by `event_time`; entries that `expired` names are dropped once
    the watermark has moved on by more than `HORIZON`, so that what is forgotten depends on the events alone.

    :arg VERSION: Layout of the entries. A resumed bucket with another version goes through `migrate`.
    :arg HORIZON: Milliseconds of event time that tombstones are remembered; None: for ever. Settings may give another
        one to `horizon`.
    """

    VERSION: ClassVar[int] = 1
    HORIZON: ClassVar[int | None] = None

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.watermark: int | None = None
        self.horizon = self.HORIZON
        self._swept: int | None = None

    @abstractmethod
    def step(self, id_: str, value: V) -> Iterable[W]:
        """Take one value of one id, update `entries`, return what follows from it."""

    def event_time(self, value: V) -> int | None:
        """Return the event time of `value` (ms since epoch), or None if it has none."""
        del value
        return None

    def expired(self, entry: Entry, before: int) -> bool:
        """Tell whether `entry` need not be remembered, `before` being the watermark less the horizon."""
        del entry, before
        return False

    def migrate(self, version: int, entries: dict[str, Entry]) -> dict[str, Entry]:
        """Bring entries of an older layout to this one.

        :raises ValueError: When there is no way from `version`.
        """
        del entries
        message = f"{type(self).__name__}: state of layout {version} cannot be read by layout {self.VERSION}"
        raise ValueError(message)

    def take(self, items: Iterable[tuple[str, V]]) -> list[W]:
        """Run `step` over `items` in order and forget what has expired."""
        out: list[W] = []
        step, event_time, newest = self.step, self.event_time, self.watermark
        for id_, value in items:
            out += step(id_, value)
            time = event_time(value)
            if time is not None and (newest is None or time > newest):
                self.watermark = newest = time
        self._sweep()
        return out

    def snapshot(self) -> Snapshot:
        """Return the live state, uncopied: nothing but `take` changes it (facts of the engine, not of chance)."""
        return (self.VERSION, self.entries, self.watermark)

    def resume(self, state: Snapshot) -> None:
        """Take over the state of an earlier run."""
        version, entries, self.watermark = state
        self.entries = entries if version == self.VERSION else self.migrate(version, entries)

    def _sweep(self) -> None:
        # Looking at all entries costs as much as there are: once per tenth of the horizon is enough.
        if self.horizon is None or self.watermark is None:
            return
        if self._swept is not None and self.watermark - self._swept < self.horizon // 10:
            return
        self._swept = self.watermark
        before = self.watermark - self.horizon
        for id_ in [id_ for id_, entry in self.entries.items() if self.expired(entry, before)]:
            del self.entries[id_]


class BucketLogic(StatefulBatchLogic[list[tuple[str, V]], W, Snapshot]):
    """What the engine calls: one bucket, fed with lists of `(id, value)` pairs."""

    def __init__(self, bucket: Bucket[V, W]) -> None:
        self._bucket = bucket

    @override
    def on_batch(self, values: list[list[tuple[str, V]]]) -> tuple[Iterable[W], bool]:
        return self._bucket.take(item for items in values for item in items), StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> Snapshot:
        return self._bucket.snapshot()


def _to_one(value: object) -> bool:
    del value
    return False


def buckets_of_slice(number: int) -> list[str]:
    """Return the state keys of one slice of the buckets; none where there is no slice of that number."""
    return _KEYS[number::SLICES] if 0 <= number < SLICES else []


def group_by_bucket(
    items: Iterable[tuple[str, V]],
    to_all: Callable[[V], bool] = _to_one,
    slice_of: Callable[[V], int | None] | None = None,
) -> list[tuple[str, list[tuple[str, V]]]]:
    """Gather `(id, value)` pairs into one list per bucket, order kept within each.

    A value that is `to_all` goes to every bucket: to that of its id as any other, to the rest under the empty id.
    A value that has a slice goes to the buckets of this slice and no others, to all under the empty id.
    """
    groups: dict[str, list[tuple[str, V]]] = {}
    for item in items:
        if slice_of is not None and (number := slice_of(item[1])) is not None:
            for key in buckets_of_slice(number):
                groups.setdefault(key, []).append(("", item[1]))
            continue
        home = bucket_of(item[0])
        if home in groups:
            groups[home].append(item)
        else:
            groups[home] = [item]
        if to_all is not _to_one and to_all(item[1]):
            for key in _KEYS:
                if key != home:
                    groups.setdefault(key, []).append(("", item[1]))
    return list(groups.items())


@operator
def bucketed(
    step_id: str,
    up: Stream[V],
    id_of: Callable[[V], str],
    make: Callable[[], Bucket[V, W]],
    to_all: Callable[[V], bool] = _to_one,
    *,
    slice_of: Callable[[V], int | None] | None = None,
) -> Stream[W]:
    """Keep state per id, in buckets.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Stream. The values of one id keep their order if they come from one worker.
    :arg id_of: Returns the id of a value.
    :arg make: Makes the empty logic of one bucket.
    :arg to_all: Tells which values concern every bucket, as what happens to a whole table: they go to all, to those
        that are not of their id under the empty id.
    :arg slice_of: Tells which values are for one of the `SLICES` slices of the buckets instead of one id: they go to
        all buckets of the slice, under the empty id. Returns None for all other values, which have an id.
    :returns: What the logic returned, the bucket gone.
    """

    def shim_group(values: list[V]) -> Iterable[tuple[str, list[tuple[str, V]]]]:
        return group_by_bucket(((id_of(value), value) for value in values), to_all, slice_of)

    def shim_builder(state: Snapshot | None) -> BucketLogic[V, W]:
        bucket = make()
        if state is not None:
            bucket.resume(state)
        return BucketLogic(bucket)

    # Lists cross between workers, not single items: each crossing costs the same.
    grouped: KeyedStream[list[tuple[str, V]]] = op.flat_map_batch("group", up, shim_group)
    stepped = op.stateful_batch("step", grouped, shim_builder)
    return op.key_rm("unkey", stepped)
