"""A stream in shards that is kept in memory: it splits, merges, forgets, and fails as it is told to."""

from __future__ import annotations

import threading
from typing import NamedTuple

from events.log import LogRecord
from stores.capture.shards import (
    OLDEST,
    Found,
    Lapsed,
    Later,
    Listing,
    Page,
    Shard,
    ShardedStream,
    Trimmed,
    millis_of,
    sequence_of,
)

KEYS = 16
RETENTION = 1000


class Put(NamedTuple):
    number: int
    key: int
    at: int


class ShardsModel(ShardedStream):
    """The stream. A record's sequence number is the count of all that came before it."""

    def __init__(self, *, page: int = 3, tells: bool = True) -> None:
        self.now = 1_000_000
        self.name = "orders@1"
        self.puts: list[Put] = []
        self.faults: list[Exception] = []
        self.reads: list[str] = []
        self._lock = threading.Lock()
        self._page = page
        self._tells = tells
        self._made = 0
        self._shards: dict[str, tuple[Shard, list[Put]]] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        self._make((0, KEYS - 1), ())

    def put(self, key: int) -> None:
        with self._lock:
            one = Put(len(self.puts), key, self.now)
            self.puts.append(one)
            self._shards[self._shard_of(key)][1].append(one)

    def split(self, key: int) -> None:
        with self._lock:
            name = self._shard_of(key)
            low, high = self._ranges[name]
            if low < high:
                self._close(name)
                middle = (low + high) // 2
                self._make((low, middle), (name,))
                self._make((middle + 1, high), (name,))

    def merge(self, key: int) -> None:
        with self._lock:
            name = self._shard_of(key)
            low, high = self._ranges[name]
            if high < KEYS - 1:
                other = self._shard_of(high + 1)
                above = self._ranges[other][1]
                self._close(name)
                self._close(other)
                self._make((low, above), (name, other))

    def trim(self) -> None:
        """Let go of all that is older than retention, whole shards among it."""
        with self._lock:
            for name, (shard, puts) in list(self._shards.items()):
                kept = [one for one in puts if one.at >= self.now - RETENTION]
                if not kept and shard.closed:
                    del self._shards[name]
                else:
                    self._shards[name] = (shard, kept)

    def look(self) -> Listing:
        with self._lock:
            self._fail(Later)
            shards = {name: shard for name, (shard, _) in self._shards.items()}
            return Listing(self.name, shards, self.now, RETENTION)

    def iterator(self, shard: Shard, place: str) -> str:
        with self._lock:
            self._fail(Later, Trimmed)
            moment, sequence = millis_of(place), sequence_of(place)
            if moment is not None:
                first = next((one.number for one in self._shards[shard.id][1] if one.at >= moment), len(self.puts))
                return f"{shard.id}|{first}"
            return f"{shard.id}|{0 if place == OLDEST else sequence}"

    def read(self, shard: Shard, iterator: str) -> Page:
        with self._lock:
            self._fail(Later, Lapsed)
            name, _, begin = iterator.partition("|")
            assert name == shard.id
            self.reads.append(name)
            closed, puts = self._shards[name][0].closed, self._shards[name][1]
            ahead = [one for one in puts if one.number >= int(begin)]
            taken = ahead[: self._page]
            rest = ahead[self._page :]
            following = None if closed and not rest else f"{name}|{taken[-1].number + 1 if taken else begin}"
            behind = (self.now - rest[0].at + 1 if rest else 0) if self._tells else None
            return Page([_found(name, one) for one in taken], following, self.now, behind)

    def close(self) -> None:
        """Nothing: it is kept in memory."""

    def _fail(self, *kinds: type[Exception]) -> None:
        if self.faults and isinstance(self.faults[-1], kinds):
            raise self.faults.pop()

    def _shard_of(self, key: int) -> str:
        return next(
            name
            for name, (low, high) in self._ranges.items()
            if low <= key <= high and not self._shards[name][0].closed
        )

    def _make(self, keys: tuple[int, int], parents: tuple[str, ...]) -> None:
        name = f"shard-{self._made}"
        self._made += 1
        self._ranges[name] = keys
        self._shards[name] = (Shard(name, parents), [])

    def _close(self, name: str) -> None:
        shard, puts = self._shards[name]
        self._shards[name] = (shard._replace(closed=True), puts)
        del self._ranges[name]


def _found(shard: str, one: Put) -> Found:
    record = LogRecord("orders", 0, 0, one.at, str(one.key).encode(), str(one.number).encode(), {"shard": shard})
    return Found(str(one.number), str(one.number), record)
