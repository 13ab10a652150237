"""The port of the log: partitioned streams that are appended to and read in order from any offset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import msgspec

from events.log import LogRecord

Judge = Callable[[LogRecord], "LogRecord | None"]
"""Decides what is to be left of a record: itself if nothing is to go, None if all of it, or one with less in its key,
value and headers."""


class Redaction(msgspec.Struct, frozen=True):
    """What became of the records of a stream from which something was to go.

    :arg removed: How many went whole.
    :arg reduced: How many have lost a part.
    :arg held: How many are as they were, and stay until retention takes them.
    """

    removed: int = 0
    reduced: int = 0
    held: int = 0


class Log(ABC):
    """Streams of records, each in partitions, each partition in the order of its appends.

    Any number of processes may read and append at once.
    """

    @abstractmethod
    def create(self, stream: str, partitions: int) -> None:
        """Make `stream` with at least this many partitions. More than before: they appear; fewer: no effect."""

    @abstractmethod
    def streams(self) -> list[str]:
        """List the streams that there are at this moment, by name."""

    @abstractmethod
    def partitions(self, stream: str) -> list[int]:
        """List the partitions that `stream` has at this moment, ascending; none if it does not exist."""

    @abstractmethod
    def append(self, stream: str, records: Sequence[LogRecord]) -> None:
        """Append records, each to the partition that its key falls into; all have reached the log on return.

        `stream`, `partition` and `offset` of the records are ignored: the log decides them. Records with one key
        land in one partition, in the order given; those without a key go round. A stream that does not exist is
        made with the default number of partitions. After a crash in the middle some of the records may be there.
        """

    @abstractmethod
    def read(self, stream: str, partition: int, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        """Return up to `limit` records from `offset` on, and the offset to go on from.

        Never blocks: at the end, and for a partition or stream that does not exist (yet), the list is empty and
        the offset is unchanged. A record whose bytes are torn is left for later if it is the last one. A broken
        one further inside is returned with its raw bytes as `value` and the header `headrace-broken` naming the
        fault, so that the flow makes a dead letter of it.

        :raises StoreError: When records at `offset` have been removed by retention, naming the oldest offset.
        """

    @abstractmethod
    def bounds(self, stream: str, partition: int) -> tuple[int, int]:
        """Return the oldest offset still there and the offset after the newest whole record; (0, 0) if absent."""

    def end(self, stream: str, partition: int) -> tuple[int, int]:
        """Return the offset after the newest whole record, and how many milliseconds ago that was so; (0, 0) if absent.

        Asked after every read: a log to which this is a journey looks now and then, for all partitions at once.
        """
        return self.bounds(stream, partition)[1], 0

    def check(self, stream: str, known: Sequence[int]) -> None:
        """Check that the stream is the one of which partitions `known` have been read before.

        :raises StoreError: When it cannot be, as it lacks some of them.
        """
        del stream, known

    def mirror(self, reader: str, places: Mapping[tuple[str, int], int]) -> None:
        """Tell others how far `reader` is: for each stream and partition, the offset to go on from.

        Only for tools that watch; nothing is read back. Never waits and never raises.
        """
        del reader, places

    def close(self) -> None:
        """Let go of files and connections; the log can be used again."""
        return

    def count(self, stream: str, partition: int, begin: int, end: int) -> int:
        """Return how many records end behind offset `begin` and not behind `end`; what retention has removed is none.

        Costs little in a log that numbers its records, which is what this one is for; elsewhere it reads that span.
        """
        oldest, newest = self.bounds(stream, partition)
        return max(0, min(end, newest) - max(begin, oldest))

    def unfinished(self, stream: str, partition: int) -> int:
        """Return the bytes behind the newest whole record: an append under way, or torn by a crash.

        Always 0 for a log whose appends are whole or not at all.
        """
        del stream, partition
        return 0

    @abstractmethod
    def retain(self, stream: str, newer_than: int) -> int:
        """Remove what is wholly older than event time `newer_than` (ms since epoch); return the bytes freed.

        Offsets of what stays do not change. The newest segment of a partition always stays.
        """

    @abstractmethod
    def redact(self, stream: str, judge: Judge) -> Redaction:
        """Take out of `stream` what `judge` does not leave, in all records that are there when it begins.

        Offsets stay as they are, and whoever reads or appends meanwhile goes on undisturbed. A record that went whole
        is read as one with the header `headrace-erased` and neither key nor value, or not at all. Twice does no harm.

        A log that cannot change what it holds, such as a broker's, appends a tombstone for the key of each of these
        records, so that compaction removes them where the topic is compacted, and counts them as `held`: those are in
        the log until its retention has passed.

        :raises StoreError: When the log cannot be written to; some of the records may be redacted then.
        """
