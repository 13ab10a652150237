"""Which embedder runs: the one the settings name, or the fastest one that is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from stores.embedders.base import Embedder
from stores.embedders.cache import CachedEmbedder, EmbeddingCache
from stores.settings import Settings

Backend = Literal["auto", "openvino", "sentence-transformers", "hashing"]


def choose_embedder(backend: Backend = "auto", threads: int = 0) -> Embedder:
    """Return the embedder of `backend`, nothing of it loaded yet.

    :arg backend: `auto` takes openvino where it is installed, else sentence-transformers.
    :arg threads: Processor threads; 0: all.
    :raises MissingExtraError: When `openvino` is named and not installed.
    """
    if backend == "auto":
        backend = "openvino" if find_spec("openvino") else "sentence-transformers"
    if backend == "openvino":
        from stores.embedders.openvino import OpenVinoEmbedder

        return OpenVinoEmbedder(threads)
    if backend == "hashing":
        from stores.embedders.hashing import HashingEmbedder

        return HashingEmbedder()
    from stores.embedders.sentence import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder(threads)


def open_embedder(settings: Settings) -> CachedEmbedder:
    """Return the embedder of `settings` behind its cache, nothing of either opened yet."""
    embedder = choose_embedder(settings.embedding.backend, settings.embedding.threads)
    return CachedEmbedder(embedder, EmbeddingCache(settings.cache_path, settings.embedding.cache_megabytes))
