"""Answers put together beside the event loop: by meaning where that is looked at in time, else by words alone.

Invariant: the loop never waits, and no more than a few threads are ever at it. One that has not come to its end in
time, as while a model is being loaded, keeps the others from joining it: until it is through, answers go by words.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from events.context import Context
from events.errors import HeadraceError
from serving.answer.extractive import Extract, extract
from serving.answer.ranking import Ranking
from stores.embedders.base import Embedder

SECONDS = 3.0
"""Meaning is left aside where it is not looked at within this time."""

THREADS = 2
"""At work on each of the two ways at once."""


class Extracting:
    """Puts answers together, any number at once, for one event loop or one after another.

    :arg embedder: Tells meaning; None: words alone count.
    :arg seconds: Meaning is waited for so long.
    """

    def __init__(self, embedder: Embedder | None, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._by_meaning = Ranking(embedder) if embedder is not None else None
        self._by_words = Ranking()
        # Apart, so that who goes by words never stands behind who waits for a model.
        self._meaning = ThreadPoolExecutor(THREADS, thread_name_prefix="meaning")
        self._words = ThreadPoolExecutor(THREADS, thread_name_prefix="words")
        self._late: Future[Extract] | None = None

    async def extract(self, context: Context, *, degraded: bool) -> Extract:
        """Return the answer to a context's question; see `extract`."""
        if self._by_meaning is not None and (self._late is None or self._late.done()):
            begun = self._meaning.submit(extract, context, self._by_meaning, degraded=degraded)
            try:
                with suppress(HeadraceError):
                    return await asyncio.wait_for(asyncio.wrap_future(begun), self._seconds)
            except asyncio.TimeoutError:
                # Whoever still stood in the queue has been taken out of it.
                if not begun.done():
                    self._late = begun
        by_words = self._words.submit(extract, context, self._by_words, degraded=degraded)
        return await asyncio.wrap_future(by_words)
