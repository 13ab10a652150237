"""The knowledge flow over recorded streams: the same content whatever the workers and batches, and nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from events.clock import system_clock
from stores.dead_letters import DeadLetters
from stores.vectors.lance_reader import LanceReader
from tests.dataflows.knowledge_content import content, replay

STREAMS = Path(__file__).parents[2] / "fixtures" / "streams"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Return what one worker makes of the recorded stream."""
    return replay(STREAMS, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_content_depends_neither_on_workers_nor_on_batches(
    tmp_path: Path, plain: dict[str, object], workers: int, batch: int
) -> None:
    assert replay(STREAMS, tmp_path, workers=workers, batch=batch) == plain


def test_the_documents_are_those_of_the_recorded_final_state(plain: dict[str, object]) -> None:
    expected = json.loads((STREAMS / "documents.final.json").read_text(encoding="utf-8"))
    documents = plain["documents"]
    assert isinstance(documents, dict)
    assert set(documents) == {f"documents/{uri}" for uri in expected}
    assert all(document["pieces"] for document in documents.values())


def test_a_second_replay_changes_nothing(tmp_path: Path, plain: dict[str, object]) -> None:
    assert replay(STREAMS, tmp_path) == plain
    before = {found.uri: found.applied_at for found in LanceReader(tmp_path / "vectors").documents()}
    assert replay(STREAMS, tmp_path) == plain
    assert {found.uri: found.applied_at for found in LanceReader(tmp_path / "vectors").documents()} == before


def test_broken_events_become_dead_letters_and_the_rest_arrives(tmp_path: Path) -> None:
    held = replay(STREAMS, tmp_path, stream="documents-broken")
    letters = DeadLetters(tmp_path / "dead_letters.sqlite3", system_clock)
    assert letters.counts().get("knowledge", 0) > 0
    assert all(kept.letter.reason for kept in letters.list())
    assert held["applied"]


def test_every_piece_is_within_the_models_window(plain: dict[str, object], tmp_path: Path) -> None:
    from events.documents import embedded_text
    from stores.embedders.choose import choose_embedder

    documents = plain["documents"]
    assert isinstance(documents, dict)
    texts = [embedded_text(piece[1], piece[2]) for document in documents.values() for piece in document["pieces"]]
    assert max(choose_embedder("hashing", 0).count_tokens(texts)) <= 240
    assert content(tmp_path) == {"documents": {}, "applied": {}}
