"""Streams that are kept in shards, which are split and merged: Kinesis, DynamoDB Streams.

Invariants: a shard is given only after those that it came from have been given to their end, so that what has one key
keeps its order; and what retention removes before it was given is an error, or said, never skipped silently.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from events.errors import StoreError, UnreachableError
from events.log import LogRecord

CLOSED, OLDEST = "closed", "trim"
"""Places of a shard that has been given to its end, and of one of which nothing has been given."""

_SINCE, _WITHIN = "@", ":"


def since(millis: int) -> str:
    """Return the place of a shard from which only what is not older than this is wanted (ms since epoch)."""
    return f"{_SINCE}{millis}"


def millis_of(place: str) -> int | None:
    """Return what `since` was made of, None for any other place."""
    return int(place.removeprefix(_SINCE)) if place.startswith(_SINCE) else None


def within(sequence: str, index: int) -> str:
    """Return the place inside an aggregated record: behind the record of that index in it."""
    return f"{sequence}{_WITHIN}{index}"


def sequence_of(place: str) -> str | None:
    """Return the sequence number that a place stands at, None for one that stands at none."""
    return None if place in {CLOSED, OLDEST} or place.startswith(_SINCE) else place.partition(_WITHIN)[0]


class ShardPlace(msgspec.Struct, frozen=True):
    """How far a stream has been given.

    :arg stream: What tells it from another one of its name.
    :arg shards: For each shard its place: `closed`, `trim`, `@` and a time, or the sequence number of the record that
        was given last; with `:` and an index if that record is an aggregated one which was not given to its end.
    :arg seen: Everything that came before this moment has been given (ms since epoch); None if that is not known.
    """

    stream: str
    shards: dict[str, str]
    seen: int | None = None


class Shard(NamedTuple):
    """One shard.

    :arg parents: Those that it came from: one after a split, two after a merge.
    :arg closed: Whether nothing more comes into it.
    :arg hashes: Lowest and highest hash key of what belongs into it.
    """

    id: str
    parents: tuple[str, ...] = ()
    closed: bool = False
    hashes: tuple[int, int] | None = None


class Listing(NamedTuple):
    """What shards there are.

    :arg stream: What tells this stream from another one of its name.
    :arg at: The service's time (ms since epoch).
    :arg retention: How long a record is kept (ms).
    """

    stream: str
    shards: Mapping[str, Shard]
    at: int
    retention: int


class Found(NamedTuple):
    """One record of a shard.

    :arg sequence: Its sequence number.
    :arg place: The shard's place once it has been given.
    :arg record: None if there is nothing to give.
    """

    sequence: str
    place: str
    record: LogRecord | None


class Page(NamedTuple):
    """What one read of a shard has found.

    :arg following: Iterator to go on with; None at the end of a closed shard.
    :arg at: The service's time (ms since epoch).
    :arg behind: How far behind the shard's end this is (ms); None if the service does not tell.
    """

    found: list[Found]
    following: str | None
    at: int
    behind: int | None


class Later(UnreachableError):
    """What a service refuses for now, or what did not reach it: to be tried again."""


class Gone(StoreError):
    """There is no such stream, or it is not there any more."""


class Lapsed(Exception):  # not an error: it happens to each that has waited long
    """An iterator can no longer be used."""


class Trimmed(Exception):  # whether it is an error, who reads decides
    """A shard no longer has what the place of it says."""


class ShardedStream(ABC):
    """A service's stream. It is asked by several threads at once.

    All verbs raise `Later` for what may pass, and StoreError for what is wrong for good.
    """

    @abstractmethod
    def look(self) -> Listing:
        """Return the shards that there are at this moment: also those that are closed, until retention takes them."""

    @abstractmethod
    def iterator(self, shard: Shard, place: str) -> str:
        """Return an iterator that begins *with* the record whose sequence number `place` names.

        For the other places it begins at the oldest record, or at the oldest of that time or some before it. When the
        record is not there any more, it begins at the oldest one that came after it.

        :raises Trimmed: When the record is not there any more, for a service that says so.
        """

    @abstractmethod
    def read(self, shard: Shard, iterator: str) -> Page:
        """Return what comes next, which may be nothing although there is more.

        :raises Lapsed: When the iterator can no longer be used.
        :raises Trimmed: As `iterator`.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the service."""
