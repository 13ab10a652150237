"""The port of the vector store: one writer brings documents to their newest state, many readers search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

import msgspec
from typing_extensions import Self

from events.context import FoundChunk
from events.documents import DocumentUpdate
from events.log import Applied, Mark


class StoredDocument(msgspec.Struct, frozen=True):
    """A document as the store holds it: its newest applied change and the ids of its chunks in order."""

    source: str
    uri: str
    position: int
    fingerprint: str
    as_of: int
    applied_at: int
    title: str
    language: str
    audience: tuple[str, ...]
    chunk_ids: tuple[str, ...]
    metadata: dict[str, str] = {}


class WriteReport(msgspec.Struct, frozen=True):
    """What one commit did."""

    written: int = 0
    removed: int = 0
    stale: int = 0


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One search.

    :arg vector: Embedding of the question, float32 of the model's dimension; None searches by words only.
    :arg text: The question in words; empty searches by meaning only.
    :arg k: How many items at most.
    :arg audiences: The reader's labels: only documents that share one with them are ranked at all.
    :arg source: Only documents of this source, if given.
    :arg uri_prefix: Only documents whose uri begins so, if given.
    :arg language: Only documents in this language, if given.
    """

    vector: Sequence[float] | None = None
    text: str = ""
    k: int = 8
    audiences: tuple[str, ...] = ("public",)
    source: str = ""
    uri_prefix: str = ""
    language: str = ""


class VectorReader(ABC):
    """The read side. Every call sees the newest commit of whichever process, and one commit only."""

    @abstractmethod
    def search(self, query: Query) -> list[FoundChunk]:
        """Return the best items, best first. Filters apply before ranking. An empty store answers with none."""

    @abstractmethod
    def cut(self) -> AbstractContextManager[VectorReader]:
        """Hold on to one commit, the newest: all that the reader in the block is asked is answered from that one.

        The block's reader is for one thread. Many cuts may be open at once; they neither wait for each other nor for
        the writer, and maintenance takes nothing away from them.
        """

    @abstractmethod
    def documents(self, source: str = "") -> Iterator[StoredDocument]:
        """Yield every document, of one source if named, in the order of source and uri."""

    def totals(self) -> tuple[int, int]:
        """Return how many documents and how many chunks there are; adapters do it without reading them."""
        sizes = [len(document.chunk_ids) for document in self.documents()]
        return len(sizes), sum(sizes)

    @abstractmethod
    def chunks(self, source: str, uri: str) -> list[FoundChunk]:
        """Return a document's chunks in their order, all with score 0; empty if it is not there."""

    @abstractmethod
    def newest_position(self, source: str) -> int | None:
        """Return the highest position of any change of a source that the store remembers, deletes included."""

    @abstractmethod
    def applied(self) -> list[Applied]:
        """Return how far the store has taken in each partition of each source."""

    def close(self) -> None:
        """Let go of what is kept open between calls; nothing where an adapter keeps nothing. Closing twice is fine."""
        return


class VectorWriter(ABC):
    """The write side: exactly one per store, over all processes.

    :raises StoreError: On opening, when another writer holds the store, or when the store was built with another
        model than the one given (the hint names `headrace reindex`).
    """

    @abstractmethod
    def write(self, updates: Sequence[DocumentUpdate], marks: Sequence[Mark] = ()) -> WriteReport:
        """Bring the documents to the state of the updates and note the marks as applied, in one commit.

        Within one call, later updates of a document win. An update whose position is not newer than what the
        store holds of that document changes nothing and counts as stale. A document is replaced whole: no reader
        sees a part of it, or neither version. Nothing to change makes no commit. Doing it twice changes nothing.
        """

    def progress(self) -> int:
        """Return when marks were noted last (ms since epoch): an older copy of the store has a lower one; 0: never."""
        return 0

    @abstractmethod
    def identity(self) -> str:
        """Return the id that this store got when it was made: tells a store from another one in its place."""

    @abstractmethod
    def close(self) -> None:
        """Finish maintenance and let go of the store. Closing twice does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
