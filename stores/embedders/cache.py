"""The same text is never embedded twice: vectors are kept on disk under the hash of model and text."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence

import numpy as np

from stores.embedders.base import Embedder, Model, Vectors
from stores.embedders.cache_file import EmbeddingCache

__all__ = ["CachedEmbedder", "EmbeddingCache"]

_SPACE = re.compile(r"[ \t\r\n]+")
# What is embedded is kept at this pace, so that little is lost where a long call is cut short.
_EMBEDDED_AT_ONCE = 512


class CachedEmbedder(Embedder):
    """An embedder that asks the cache first and embeds, in whole batches, only what is not there.

    `embedded` counts the texts really embedded; `hits` and `misses` count different texts per call.
    """

    def __init__(self, embedder: Embedder, cache: EmbeddingCache) -> None:
        self._embedder = embedder
        self._cache = cache
        self._lock = threading.Lock()
        self.embedded = 0
        self.hits = 0
        self.misses = 0

    @property
    def model(self) -> Model:
        """The model behind the cache."""
        return self._embedder.model

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, in order."""
        joined = b"".join(self.embed_bytes(texts))
        # A bytearray, so that the result can be written to like any other embedder's.
        return np.frombuffer(bytearray(joined), dtype="<f4").reshape(len(texts), self.model.dimension)

    def embed_bytes(self, texts: Sequence[str]) -> list[bytes]:
        """Return each text's vector as float32 little-endian bytes, in order."""
        keys = self._keys(texts)
        wanted = dict(zip(keys, texts, strict=True))
        length = self.model.dimension * 4
        found = {key: vector for key, vector in self._cache.get(list(wanted)).items() if len(vector) == length}
        missing = [(key, text) for key, text in wanted.items() if key not in found]
        with self._lock:
            self.hits += len(found)
            self.misses += len(missing)
        for start in range(0, len(missing), _EMBEDDED_AT_ONCE):
            part = missing[start : start + _EMBEDDED_AT_ONCE]
            vectors = self._embedder.embed([text for _, text in part]).astype("<f4")
            fresh = {key: vector.tobytes() for (key, _), vector in zip(part, vectors, strict=True)}
            self._cache.put(fresh)
            found.update(fresh)
            with self._lock:
                self.embedded += len(part)
        return [found[key] for key in keys]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens by the model's own tokenizer."""
        return self._embedder.count_tokens(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return start and end character of each token of `text`."""
        return self._embedder.token_spans(text)

    def close(self) -> None:
        """Close the cache's file."""
        self._cache.close()

    def _keys(self, texts: Sequence[str]) -> list[bytes]:
        model = self.model
        begun = hashlib.blake2b(f"{model.id}\0".encode(), digest_size=16)
        keys = []
        for text in texts:
            digest = begun.copy()
            if model.folds_space:
                text = _SPACE.sub(" ", text)  # noqa: PLW2901  # the key is of what the model sees
            digest.update(text.encode("utf-8", "surrogatepass"))
            keys.append(digest.digest())
        return keys
