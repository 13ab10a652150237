"""The folder source of a dataflow: each configured folder is one partition, first read whole, then watched.

What has been read is not kept here but asked of the store that it went to, so a restart, with or without recovery
state, hands on exactly what differs from the store. The recovery state of a partition is its last position.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from typing_extensions import override

from events.clock import Clock, system_clock
from stores.documents.batch import DocumentBatch, Known
from stores.documents.reader import FolderReader
from stores.documents.root import Root
from stores.documents.rules import MediaTypeOf
from stores.documents.scout import Requests
from stores.documents.watch import OpenWatch, open_watch
from stores.settings import KnowledgeSettings

__all__ = ["DocumentBatch", "FolderPartition", "FolderSource", "FormerPartition", "Known"]

_log = logging.getLogger(__name__)


class FolderPartition(StatefulSourcePartition[DocumentBatch, int]):
    """One folder. Looks for news every few milliseconds and never blocks."""

    def __init__(self, reader: FolderReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    @override
    def next_batch(self) -> list[DocumentBatch]:
        if self._reader.finished:
            raise StopIteration
        batch = self._reader.turn()
        return [] if batch is None else [batch]

    @override
    def next_awake(self) -> datetime | None:
        pause = self._reader.pause
        return datetime.fromtimestamp((self._clock() + pause) / 1000, tz=timezone.utc) if pause else None

    @override
    def snapshot(self) -> int:
        return self._reader.position

    @override
    def close(self) -> None:
        self._reader.close()


class FormerPartition(StatefulSourcePartition[DocumentBatch, int]):
    """A folder that is not configured any more: it has ended, and keeps its position."""

    def __init__(self, position: int) -> None:
        self._position = position

    @override
    def next_batch(self) -> list[DocumentBatch]:
        raise StopIteration

    @override
    def snapshot(self) -> int:
        return self._position


class FolderSource(FixedPartitionedSource[DocumentBatch, int]):
    """All folders of the knowledge base.

    :arg settings: The folders, and what holds for all of them.
    :arg known: Returns what the store holds of the folder of this name: by uri, the last fingerprint and position.
        Called once a partition, when it is built.
    :arg media_type_of: Returns the media type for a uri, None for what cannot be parsed.
    :arg live: Whether to go on after each folder has been read once.
    :arg heartbeat_seconds: How often an idle folder confirms that it is idle.
    :arg requests: Called once a partition with the folder's name. What it returns is called ten times a second for
        uris that shall be handed on again though they are unchanged, such as those of replayed dead letters.
    :arg after: Returns what the next position of the folder of this name must be at least, so that it is above all
        that the store has seen, deletes of which it has not noted the mark yet among them.
    :arg former: Returns the names of folders that were configured once; recovery needs them to stay listed.
    :raises StoreError: When a folder is missing, is not a folder or cannot be listed.
    """

    def __init__(
        self,
        settings: KnowledgeSettings,
        known: Callable[[str], Mapping[str, Known]],
        media_type_of: MediaTypeOf,
        *,
        clock: Clock = system_clock,
        live: bool = True,
        heartbeat_seconds: float = 5.0,
        requests: Callable[[str], Requests] | None = None,
        after: Callable[[str], int] | None = None,
        former: Callable[[], Sequence[str]] = tuple,
        open_watch: OpenWatch = open_watch,
    ) -> None:
        self._settings = settings
        self._folders = {folder.name: folder for folder in settings.folders}
        self._known = known
        self._media_type_of = media_type_of
        self._clock = clock
        self._live = live
        self._heartbeat_millis = int(heartbeat_seconds * 1000)
        self._requests = requests
        self._after = after
        self._former = former
        self._open_watch = open_watch
        for folder in settings.folders:
            Root(folder.name, folder.path)  # says what is wrong before the dataflow starts

    @override
    def list_parts(self) -> list[str]:
        return [*self._folders, *(name for name in self._former() if name not in self._folders)]

    @override
    def build_part(
        self, step_id: str, for_part: str, resume_state: int | None
    ) -> StatefulSourcePartition[DocumentBatch, int]:
        position = resume_state or 0
        folder = self._folders.get(for_part)
        if folder is None:
            count = len(self._known(for_part))
            if count:
                _log.warning(
                    "%s is not configured any more: its %d documents stay as they are; `headrace drop %s` removes them",
                    for_part,
                    count,
                    for_part,
                )
            return FormerPartition(position)
        if self._after is not None:
            position = max(position, self._after(for_part) - 1)
        reader = FolderReader(
            folder,
            self._settings,
            self._known(for_part),
            media_type_of=self._media_type_of,
            clock=self._clock,
            position=position,
            live=self._live,
            heartbeat_millis=self._heartbeat_millis,
            requests=None if self._requests is None else self._requests(for_part),
            open_watch=self._open_watch,
        )
        return FolderPartition(reader, self._clock)
