"""Pieces of documents for a question: by meaning and by words, from one cut, of those for the asker's audiences.

The vector of a question is made beside the other reads, once; questions that come again find theirs made already.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from events.context import FoundChunk
from serving.context.candidate import Candidate
from serving.render import place
from stores.embedders.base import Embedder
from stores.vectors.base import Query, VectorReader

STORE = "knowledge"
BEST, LEAST = 0.7, 0.3
"""Scores of the best piece and of one that is worth next to nothing beside it: those of a search mean nothing across
searches, only what a piece is beside the best one does."""

_VECTORS = 1024
_THREADS = 2
_WORDS_CHARS = 600
"""Of a question, as it is searched by words: each word costs, and a long question says what it is about early."""
logger = logging.getLogger(__name__)


class Questions:
    """Vectors of questions. Threads may share it.

    :arg embedder: The model that the documents were embedded with.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        # By fingerprints: what was asked is not to be found here.
        self._known: OrderedDict[bytes, Future[list[float] | None]] = OrderedDict()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="question")

    def begin(self, question: str) -> Future[list[float] | None]:
        """Begin to embed a question; None comes of one for which the model cannot be used."""
        fingerprint = hashlib.blake2b(question.encode(), digest_size=16).digest()
        with self._lock:
            found = self._known.get(fingerprint)
            if found is not None:
                self._known.move_to_end(fingerprint)
                return found
            found = self._known[fingerprint] = self._pool.submit(self._embed, question)
            while len(self._known) > _VECTORS:
                self._known.popitem(last=False)
        found.add_done_callback(lambda done: self._forget_failed(fingerprint, done))
        return found

    def _embed(self, question: str) -> list[float] | None:
        try:
            vector: list[float] = self._embedder.embed([question])[0].tolist()
        except Exception:
            logger.exception("the question could not be embedded: pieces of documents are found by words alone")
            return None
        return vector

    def _forget_failed(self, fingerprint: bytes, done: Future[list[float] | None]) -> None:
        if done.result() is None:
            with self._lock:
                self._known.pop(fingerprint, None)


def find(
    question: str, vector: Sequence[float] | None, documents: VectorReader, audiences: tuple[str, ...], most: int
) -> list[Candidate]:
    """Return the best pieces of documents, best first.

    :arg vector: Of the question; None: search by words alone.
    :arg audiences: Only documents for one of these take part.
    """
    query = Query(vector=vector, text=question[:_WORDS_CHARS], k=most, audiences=audiences)
    found = documents.search(query)
    best = max((chunk.score for chunk in found), default=0.0)
    return [_candidate(chunk, best) for chunk in found]


def _candidate(chunk: FoundChunk, best: float) -> Candidate:
    return Candidate(
        kind="chunk",
        id=chunk.id,
        store=STORE,
        source=chunk.source,
        place=chunk.uri,
        title=place(chunk),
        text=chunk.text,
        position=str(chunk.position),
        as_of=chunk.as_of,
        since=chunk.since,
        applied_at=chunk.applied_at,
        score=LEAST + (BEST - LEAST) * (chunk.score / best if best > 0 else 1.0),
        data={"heading": list(chunk.heading), "ordinal": chunk.ordinal},
    )
