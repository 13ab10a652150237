"""What the tests of the folder source share: a store in memory, a clock and a watch moved by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from events.clock import Clock
from events.dead_letters import DeadLetter
from events.documents import DocumentChange
from events.log import Mark
from stores.documents.batch import DocumentBatch, Known
from stores.documents.reader import FolderReader
from stores.documents.watch import News, Watch
from stores.settings import FolderSettings, KnowledgeSettings

NAME = "handbook"
TYPES = {".md": "text/markdown", ".txt": "text/plain", ".html": "text/html"}
OLD = 1_000_000_000
"""A time of change (s since epoch) long before any test: nothing is racy about it."""


def media_type_of(uri: str) -> str | None:
    """Know three kinds of documents by their extension."""
    return TYPES.get(os.path.splitext(uri)[1].lower())


class HandClock:
    """A clock that stands still until it is moved (ms since epoch)."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class HandWatch(Watch):
    """A watch that hears what it is told."""

    def __init__(self, clock: Clock) -> None:
        self.paths: set[str] = set()
        self.settled: set[str] = set()
        self.added: list[str] = []
        self.lost = False
        self.trouble = ""
        self.closed = False
        self._clock = clock

    def add(self, directory: str) -> None:
        self.added.append(directory)

    def take(self) -> News:
        news = News(self.paths, self.lost, frozenset(self.settled))
        self.paths, self.lost, self.settled = set(), False, set()
        return news

    @property
    def heard_until(self) -> int:
        return self._clock()

    @property
    def problem(self) -> str:
        return self.trouble

    def close(self) -> None:
        self.closed = True


class MemoryStore:
    """What a vector store would hold, and every change that it got."""

    def __init__(self) -> None:
        self.documents: dict[str, DocumentChange] = {}
        self.changes: list[DocumentChange] = []
        self.dead: list[DeadLetter] = []
        self.marks: list[Mark] = []
        self._newest: dict[str, int] = {}

    def take(self, batch: DocumentBatch) -> None:
        """Apply a batch; positions of one document must grow, and upserts come before deletes."""
        operations = [change.op for change in batch.changes]
        assert operations == sorted(operations, reverse=True)
        assert len(batch.changes) + len(batch.dead) <= 64
        for change in batch.changes:
            assert change.position > self._newest.get(change.uri, -1)
            self._newest[change.uri] = change.position
            if change.op == "upsert":
                self.documents[change.uri] = change
            else:
                self.documents.pop(change.uri, None)
        if batch.changes:
            assert batch.mark.offset == batch.changes[-1].position + 1
        self.changes += batch.changes
        self.dead += batch.dead
        self.marks.append(batch.mark)

    def known(self) -> dict[str, Known]:
        """Return what a restarted source may ask for."""
        return {uri: Known(change.fingerprint, change.position) for uri, change in self.documents.items()}

    def contents(self) -> dict[str, bytes | None]:
        """Return the content by uri."""
        return {uri: change.content for uri, change in self.documents.items()}

    @property
    def last_position(self) -> int:
        """The position up to which a recovered source has come."""
        return max((change.position for change in self.changes), default=0)


class Desk:
    """A folder, its reader, and a store behind it, under a clock and a watch moved by hand."""

    def __init__(self, path: Path, store: MemoryStore | None = None, clock: HandClock | None = None, **more: object):
        self.path = path
        self.store = store or MemoryStore()
        self.clock = clock or HandClock()
        self.watch = HandWatch(self.clock)
        self.watches = 0
        self.requests: list[str] = []
        live = bool(more.pop("live", True))
        opener = more.pop("open_watch", None)
        limits = {key: more.pop(key) for key in ("max_document_bytes", "rescan_seconds") if key in more}
        self.folder = FolderSettings.model_validate({"name": NAME, "path": path, **more})
        self.settings = KnowledgeSettings.model_validate({"folders": [self.folder], **limits})
        self.reader = FolderReader(
            self.folder,
            self.settings,
            self.store.known(),
            media_type_of=media_type_of,
            clock=self.clock,
            position=self.store.last_position,
            live=live,
            requests=self._asked,
            open_watch=opener if callable(opener) else self._open_watch,
        )

    def _asked(self) -> Sequence[str]:
        asked, self.requests = self.requests, []
        return asked

    def _open_watch(self, root: str, clock: Clock) -> Watch:
        assert root == os.path.realpath(self.path)
        self.watches += 1
        return self.watch

    def write(self, path: str, content: str | bytes, at: int | None = OLD) -> Path:
        """Save a file as if at `at` (s since epoch); None: at this moment."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        if at is not None:
            os.utime(file, (at, at))
        return file

    def turn(self, millis: int = 0) -> DocumentBatch | None:
        """Let the reader do one turn, `millis` later."""
        self.clock.now += millis
        batch = self.reader.turn()
        if batch is not None:
            self.store.take(batch)
        return batch

    def settle(self, *hints: str, turns: int = 200) -> list[DocumentBatch]:
        """Hint at paths, then take turns of 25 ms until the reader is caught up; return what it handed on."""
        self.watch.paths |= set(hints)
        batches = []
        for _ in range(turns):
            batch = self.turn(25)
            if batch is not None:
                batches.append(batch)
                if batch.mark.caught_up:
                    return batches
        message = "never caught up"
        raise AssertionError(message)

    def changed(self, *hints: str) -> list[tuple[str, str]]:
        """Settle and return operation and uri of what was handed on, in order."""
        return [(change.op, change.uri) for batch in self.settle(*hints) for change in batch.changes]


Opener = Callable[[str, Clock], Watch]
