"""Reindexing: another model's vectors, the same content, and a store that works whatever interrupts it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from events.errors import StoreError
from events.log import Mark
from stores.embedders.base import Model
from stores.vectors.base import Query, VectorReader
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_reindex import reindex
from stores.vectors.lance_writer import LanceWriter
from tests.stores.vector_samples import MODEL, delete, embed, upsert, vector_of

LARGER = Model(name="words", version="2", dimension=96, max_tokens=254)


def embed_larger(texts: Sequence[str]) -> list[bytes]:
    return [np.asarray(vector_of(text, LARGER.dimension), dtype="<f4").tobytes() for text in texts]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with LanceWriter(tmp_path, MODEL, embed=embed, clock=lambda: 9) as writer:
        writer.write(
            [upsert("a", "one thing", "two things", heading=("H",)), upsert("b", "three"), upsert("c", "four")]
        )
        writer.write([upsert("a", "two things", "1 thing", position=2, heading=("H",)), delete("c", position=2)])
        writer.write([], [Mark("docs", "0", 4, 5, 6, caught_up=True)])
    return tmp_path


def tables(place: Path) -> list[str]:
    return [path.stem for path in place.iterdir() if path.suffix == ".lance"]


def content(reader: VectorReader) -> object:
    return list(reader.documents()), [reader.chunks("docs", uri) for uri in "abc"], reader.applied()


def test_a_reindexed_store_holds_the_same_and_finds_it_by_the_new_vectors(place: Path) -> None:
    reader = LanceReader(place)
    before = content(reader)
    told: list[tuple[int, int]] = []
    embedded: list[str] = []

    def embed_and_note(texts: Sequence[str]) -> list[bytes]:
        embedded.extend(texts)
        return embed_larger(texts)

    assert reindex(place, LARGER, embed=embed_and_note, progress=lambda done, total: told.append((done, total))) == 3
    assert sorted(embedded) == ["H\n\n1 thing", "H\n\ntwo things", "three"]
    assert told[-1] == (3, 3)
    assert content(reader) == content(LanceReader(place)) == before
    query = Query(vector=vector_of("H two things", LARGER.dimension), k=1)
    assert [item.text for item in LanceReader(place, LARGER).search(query)] == ["two things"]
    assert [item.text for item in reader.search(Query(text="three"))] == ["three"]
    with pytest.raises(StoreError, match="headrace reindex"):
        LanceReader(place, MODEL).search(Query(text="three"))


def test_writing_goes_on_after_a_reindex_with_the_new_model_and_the_old_identity(place: Path) -> None:
    with LanceWriter(place, MODEL, embed=embed, clock=lambda: 9) as writer:
        identity = writer.identity()
    reindex(place, LARGER, embed=embed_larger)
    with pytest.raises(StoreError, match="headrace reindex"):
        LanceWriter(place, MODEL, embed=embed, clock=lambda: 9)
    with LanceWriter(place, LARGER, embed=embed_larger, clock=lambda: 9) as writer:
        assert writer.identity() == identity
        assert writer.write([upsert("c", "old", position=1, vectors=False)]).stale == 1
        writer.write([upsert("b", "three", "new", position=2, vectors=False)])
    assert [item.text for item in LanceReader(place, LARGER).chunks("docs", "b")] == ["three", "new"]


def test_an_interrupted_reindex_leaves_the_store_as_it_was_and_the_next_one_succeeds(place: Path) -> None:
    reader = LanceReader(place, MODEL)
    before = content(reader)

    def fail(texts: Sequence[str]) -> list[bytes]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reindex(place, LARGER, embed=fail)
    assert content(reader) == before
    assert [item.text for item in reader.search(Query(vector=vector_of("three"), k=1))] == ["three"]
    assert reindex(place, LARGER, embed=embed_larger) == 3
    # The one that was active, and the one that is.
    assert len(tables(place)) == 2


def test_what_an_interrupted_reindex_left_is_cleared_by_the_next_writer(place: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        reindex(place, LARGER, embed=lambda texts: [b""] * (1 // 0))
    with LanceWriter(place, MODEL, embed=embed, clock=lambda: 9):
        assert len(tables(place)) == 1


def test_a_cut_goes_on_with_the_table_that_a_reindex_has_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = LanceReader(place, MODEL)
    before = content(reader)
    query = Query(vector=vector_of("H two things"), text="things", k=3)
    with reader.cut() as cut:
        found = cut.search(query)
        reindex(place, LARGER, embed=embed_larger)
        with LanceWriter(place, LARGER, embed=embed_larger, clock=lambda: 9) as writer:
            writer.write([upsert("b", "three", "new", position=2, vectors=False)])
        assert content(cut) == before
        assert cut.search(query) == found
    with pytest.raises(StoreError, match="headrace reindex"):
        reader.search(query)
    monkeypatch.setattr("stores.vectors.lance_maintenance.RETAIN", timedelta(0))
    with LanceWriter(place, LARGER, embed=embed_larger, clock=lambda: 9, optimize_every=1) as writer:
        writer.write([upsert("b", "three", "newer", position=3, vectors=False)])
        deadline = time.monotonic() + 20.0
        while len(tables(place)) > 1:
            assert time.monotonic() < deadline, "the former table was not dropped in time"
    assert [item.text for item in LanceReader(place, LARGER).chunks("docs", "b")] == ["three", "newer"]


def test_a_store_can_be_reindexed_with_its_own_model(place: Path) -> None:
    before = content(LanceReader(place))
    assert reindex(place, MODEL, embed=embed) == 3
    assert content(LanceReader(place)) == before


def test_a_reindex_beside_a_writer_is_refused(place: Path) -> None:
    with (
        LanceWriter(place, MODEL, embed=embed, clock=lambda: 9),
        pytest.raises(StoreError, match="has a writer already"),
    ):
        reindex(place, LARGER, embed=embed_larger)


def test_a_reindex_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no vector store"):
        reindex(tmp_path / "nowhere", LARGER, embed=embed_larger)
    assert not (tmp_path / "nowhere").exists()
