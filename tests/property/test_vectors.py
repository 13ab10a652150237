"""The vector store against a plain dictionary: whatever comes, in whatever portions, the same content."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given

from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from tests.property.vectors_model import History, calls, check
from tests.stores.vector_samples import MODEL, embed


@given(calls)
def test_any_sequence_of_updates_ends_in_what_a_dictionary_says(history: History) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "vectors"

        def writer() -> LanceWriter:
            return LanceWriter(place, MODEL, embed=embed, clock=lambda: 7, optimize_every=2, index_above=10**9)

        check(history, writer, LanceReader(place, MODEL))
