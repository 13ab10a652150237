"""The journey of changes from a log to a store, as the engine makes it, in any of the orders that it may make it in.

Partitions are read in order by workers, changes go to their bucket's worker and from there to the one sink, in order
between any two workers and in no order otherwise; epochs close when all has arrived; after a crash everything in
flight is gone, an earlier epoch is read again, and buckets have the state of that epoch, or none.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol

import msgspec

from events.changes import Change, Truncation
from operators.buckets import Snapshot, bucket_of
from operators.changes.order import OrderBucket, concerns_all, record_of
from tests.property.changes_model import Changes, Log


class Store(Protocol):
    """What a journey ends in: an `EpochWriter` that takes no marks, and can be stopped and started again."""

    def write(self, items: Changes) -> None: ...
    def close_epoch(self) -> None: ...
    def restart(self) -> None: ...


class _Saved(msgspec.Struct):
    """What recovery has of an epoch: how far each partition was read, and the buckets."""

    read: list[int]
    buckets: dict[str, bytes]


class Journey:
    """Carries the records of a log through workers and buckets to a store.

    :arg make: Makes the empty logic of one bucket.
    """

    def __init__(self, log: Log, make: Callable[[], OrderBucket], store: Store, rng: Random) -> None:
        self._log, self._make, self._store, self._rng = log, make, store, rng
        self._read = [0] * len(log)
        self._buckets: dict[str, OrderBucket] = {}
        self._saved = [_Saved(list(self._read), {})]
        events = [event for partition in log for record in partition for event in record]
        self._used = sorted({bucket_of(record_of(event)) for event in events})

    def run(self) -> None:
        crashes = self._rng.choice((0, 0, 1, 2, 3))
        while not self._done():
            if crashes and self._rng.random() < 0.3:
                crashes -= 1
                self._epoch(crash_after=self._rng.randint(0, 30))
                self._recover()
                self._store.restart()
                continue
            self._epoch()
            self._store.close_epoch()
            saved = {key: pickle.dumps(bucket.snapshot()) for key, bucket in self._buckets.items()} if crashes else {}
            self._saved.append(_Saved(list(self._read), saved))

    def _done(self) -> bool:
        return self._read == [len(records) for records in self._log]

    def _recover(self) -> None:
        # Without its own state a flow goes on at what the store says, or at the beginning of the log.
        lost = self._rng.random() < 0.4
        at = self._rng.randrange(len(self._saved))
        saved = self._saved[at]
        del self._saved[at + 1 :]
        self._read = list(saved.read)
        self._buckets = {}
        for key, state in {} if lost else saved.buckets.items():
            self._bucket(key).resume(_unpickled(state))

    def _bucket(self, key: str) -> OrderBucket:
        if key not in self._buckets:
            self._buckets[key] = self._make()
        return self._buckets[key]

    def _epoch(self, crash_after: int | None = None) -> None:
        """Read a part of the log and carry it to the store; or crash after some steps and leave the rest behind."""
        rng = self._rng
        workers = rng.randint(1, 3)
        goals = [rng.randint(read, len(records)) for read, records in zip(self._read, self._log, strict=True)]
        between: dict[tuple[int, int], deque[tuple[str, list[tuple[str, Change | Truncation]]]]] = {}
        leaving: dict[int, list[Change | Truncation]] = {}
        steps = 0
        while True:
            able: list[tuple[str, int, int]] = [
                ("read", partition, 0) for partition, goal in enumerate(goals) if self._read[partition] < goal
            ]
            able += [("step", *pair) for pair, queue in between.items() if queue]
            able += [("sink", worker, 0) for worker, events in leaving.items() if events]
            if not able or steps == crash_after:
                return
            steps += 1
            kind, one, other = rng.choice(able)
            if kind == "read":
                for key, items in self._batch(one, goals[one]):
                    pair = (one % workers, hash_of(key) % workers)
                    between.setdefault(pair, deque()).append((key, items))
            elif kind == "step":
                key, items = between[one, other].popleft()
                leaving.setdefault(other, []).extend(self._bucket(key).take(items))
            else:
                size = rng.randint(1, len(leaving[one]))
                self._store.write(leaving[one][:size])
                del leaving[one][:size]

    def _batch(self, partition: int, goal: int) -> list[tuple[str, list[tuple[str, Change | Truncation]]]]:
        begin = self._read[partition]
        end = self._read[partition] = self._rng.randint(begin + 1, goal)
        records = self._log[partition][begin:end]
        events = [event for record in records for event in record]
        groups: dict[str, list[tuple[str, Change | Truncation]]] = {}
        for event in events:
            id_ = record_of(event)
            home = bucket_of(id_)
            # As `group_by_bucket` does, but for thousands of buckets that have nothing to say to a truncation.
            for key in self._used if concerns_all(event) else (home,):
                groups.setdefault(key, []).append((id_ if key == home else "", event))
        return list(groups.items())


def hash_of(key: str) -> int:
    """Stand for the engine's own distribution of keys over workers."""
    return int(key) * 2_654_435_761 >> 7


def _unpickled(state: bytes) -> Snapshot:
    snapshot: Snapshot = pickle.loads(state)  # noqa: S301  # as the engine does
    return snapshot
