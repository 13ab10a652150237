"""The embedding cache against a plain dictionary: it may forget, it never errs."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stores.embedders.cache import CachedEmbedder, EmbeddingCache
from stores.embedders.hashing import HashingEmbedder

FILE = "embeddings.sqlite3"
KEYS = st.integers(0, 30).map(lambda number: number.to_bytes(16, "little"))
TEXTS = st.lists(st.one_of(st.text(max_size=3), st.sampled_from(["a b", "a  b", "A b", ""])), max_size=12)


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=8))
def test_each_different_text_is_embedded_once_and_right(calls: list[tuple[list[str], bool]]) -> None:
    seen: set[str] = set()
    embedded = 0
    with TemporaryDirectory() as folder:
        cached = CachedEmbedder(HashingEmbedder(), EmbeddingCache(Path(folder) / FILE))
        for texts, reopened in calls:
            np.testing.assert_array_equal(cached.embed(texts), HashingEmbedder().embed(texts))
            different = {re.sub("[ \t\r\n]+", " ", text) for text in texts}
            embedded += len(different - seen)
            seen |= different
            assert cached.embedded == embedded
            if reopened:
                cached.close()
        cached.close()


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.dictionaries(KEYS, st.integers(1, 120_000), min_size=1, max_size=12),
            st.lists(KEYS, min_size=1, max_size=12, unique=True),
            st.none(),
        ),
        max_size=25,
    )
)
def test_a_bounded_cache_returns_what_was_put_last_or_nothing(
    steps: list[dict[bytes, int] | list[bytes] | None],
) -> None:
    put: dict[bytes, bytes] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        cache = EmbeddingCache(path, megabytes=1)
        for number, step in enumerate(steps):
            if step is None:
                cache.close()
            elif isinstance(step, dict):
                fresh = {key: key[:1] + bytes([number]) * size for key, size in step.items()}
                cache.put(fresh)
                put |= fresh
                last = next(reversed(fresh))
                assert cache.get([last]) == {last: fresh[last]}
            else:
                found = cache.get(step)
                assert found.items() <= {key: put[key] for key in step if key in put}.items()
            assert not path.exists() or path.stat().st_size <= 2**20
        cache.close()
