"""Answers put together beside the loop, by an embedder that takes its time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from typing_extensions import override

from serving.answer.extracting import THREADS, Extracting
from serving.answer.extractive import Extract
from stores.embedders.base import Embedder, Model, Vectors
from stores.embedders.hashing import HashingEmbedder
from tests.serving.answer.samples import BIKES

SOON = 20.0
"""Seconds after which a test gives up."""


class Loading(Embedder):
    """A model that is being loaded until it is let go on; counts who waits for it."""

    def __init__(self) -> None:
        self._real = HashingEmbedder()
        self.loaded = threading.Event()
        self.asked = 0

    @property
    @override
    def model(self) -> Model:
        return self._real.model

    @override
    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += 1
        assert self.loaded.wait(SOON)
        return self._real.embed(texts)

    @override
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._real.count_tokens(texts)

    @override
    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._real.token_spans(text)


@contextmanager
def loading() -> Iterator[Loading]:
    embedder = Loading()
    try:
        yield embedder
    finally:
        embedder.loaded.set()


async def many(extracting: Extracting, number: int) -> list[Extract]:
    asked = (extracting.extract(BIKES, degraded=False) for _ in range(number))
    return await asyncio.wait_for(asyncio.gather(*asked), SOON)


def test_by_words_alone_it_is_put_together_on_another_thread() -> None:
    before = set(threading.enumerate())
    extracting = Extracting(None)
    (found,) = asyncio.run(many(extracting, 1))
    assert "A bicycle costs EUR 60" in found.text
    assert {thread.name[:5] for thread in {*threading.enumerate()} - before} == {"words"}


def test_while_a_model_is_loaded_few_threads_wait_for_it_and_nobody_else() -> None:
    with loading() as embedder:
        extracting = Extracting(embedder, seconds=0.05)
        alone = asyncio.run(many(Extracting(None), 1))
        found = asyncio.run(many(extracting, 30))
        assert found == alone * 30
        waiting = embedder.asked
        assert 1 <= waiting <= THREADS
        assert asyncio.run(many(extracting, 30)) == alone * 30, "from another loop as well"
        assert embedder.asked == waiting, "nobody joined them"


def test_once_the_model_is_there_meaning_is_looked_at_again() -> None:
    with loading() as embedder:
        extracting = Extracting(embedder, seconds=0.05)
        asyncio.run(many(extracting, 1))
        asked = embedder.asked
        embedder.loaded.set()
        deadline = time.monotonic() + SOON
        while embedder.asked == asked:
            assert time.monotonic() < deadline
            asyncio.run(many(extracting, 1))
