"""Questions to the knowledge base: the same model that indexed, the newest commit, only what the reader may see."""

from __future__ import annotations

from collections.abc import Sequence

from events.context import FoundChunk
from stores.embedders.base import Embedder
from stores.embedders.choose import choose_embedder
from stores.settings import Settings
from stores.vectors.base import Query, VectorReader
from stores.vectors.choose import open_vector_reader


class Knowledge:
    """Searches the vector store by meaning and by words.

    :arg reader: The vector store.
    :arg embedder: The model that the store was built with.
    """

    def __init__(self, reader: VectorReader, embedder: Embedder) -> None:
        self.reader = reader
        self.embedder = embedder

    @classmethod
    def of(cls, settings: Settings) -> Knowledge:
        """Open the knowledge base that `settings` name; nothing is loaded before the first question."""
        embedder = choose_embedder(settings.embedding.backend, settings.embedding.threads)
        return cls(open_vector_reader(settings, embedder.model), embedder)

    def search(
        self, question: str, k: int = 8, audiences: Sequence[str] = ("public",), source: str = "", prefix: str = ""
    ) -> list[FoundChunk]:
        """Return the best `k` pieces for `question`, best first.

        :arg audiences: The asker's labels; documents for others do not take part.
        :arg source: Only documents of this folder or stream.
        :arg prefix: Only documents whose uri begins so.
        """
        if not question.strip():
            return []
        vector = self.embedder.embed([question])[0].tolist()
        query = Query(vector=vector, text=question, k=k, audiences=tuple(audiences), source=source, uri_prefix=prefix)
        return self.reader.search(query)
