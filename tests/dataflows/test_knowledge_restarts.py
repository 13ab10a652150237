"""The knowledge flow over several runs: nothing lost, nothing revived, nothing left for eyes it is not for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import run_main

from dataflows.knowledge import build
from events.clock import system_clock
from events.documents import ChunkedDocument, DocumentChange, DocumentUpdate
from events.log import LogRecord
from stores.dead_letters import DeadLetters
from stores.embedders.choose import choose_embedder
from stores.log.files import FileLog
from stores.settings import Settings, load
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter


class Place:
    """A folder of documents and what the flow has made of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.docs = home / "docs"
        self.docs.mkdir()

    def settings(self, **folder: Any) -> Settings:
        return load(
            data_dir=self.home / "data",
            mode="replay",
            embedding={"backend": "hashing"},
            log={"segment_bytes": 1024},
            knowledge={"folders": [{"name": "docs", "path": self.docs, **folder}], "max_document_bytes": 10_000},
        )

    def run(self, **folder: Any) -> dict[str, tuple[tuple[str, ...], list[str]]]:
        """Run over everything that is there; return each document's audience and texts."""
        run_main(build(self.settings(**folder)))
        return {
            found.uri: (found.audience, [piece.text for piece in self.reader.chunks(found.source, found.uri)])
            for found in self.reader.documents()
        }

    @property
    def reader(self) -> LanceReader:
        return LanceReader(self.home / "data" / "vectors")

    def reasons(self) -> dict[str, str]:
        letters = DeadLetters(self.home / "data" / "dead_letters.sqlite3", system_clock).list()
        return {(kept.letter.record.key or b"").decode(): kept.letter.reason for kept in letters}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_document_that_comes_back_after_a_delete_whose_mark_was_lost_is_there(place: Place) -> None:
    (place.docs / "a.md").write_text("The letter a.")
    (place.docs / "b.md").write_text("The letter b.")
    assert set(place.run()) == {"a.md", "b.md"}

    # The flow dies between the commit of a delete and the close of its epoch; then the file is restored.
    model = choose_embedder("hashing").model
    with LanceWriter(place.home / "data" / "vectors", model, embed=lambda texts: [], clock=system_clock) as writer:
        change = DocumentChange("docs", "a.md", "delete", 3, system_clock())
        assert writer.write([DocumentUpdate(ChunkedDocument(change))]).removed == 1
    assert place.run()["a.md"][1] == ["The letter a."]


def test_a_document_whose_new_version_cannot_be_read_is_withdrawn(place: Place) -> None:
    page = place.docs / "page.md"
    page.write_text("---\naudience: [public]\n---\nFor everybody.")
    assert place.run()["page.md"][0] == ("public",)
    page.write_text("---\naudience: [staff\n---\nFor staff only.")
    assert place.run() == {}
    assert "front matter" in place.reasons()["page.md"]
    page.write_text("---\naudience: [staff]\n---\nFor staff only.")
    assert place.run() == {"page.md": (("staff",), ["For staff only."])}


def test_a_document_that_grows_too_large_under_stricter_rules_is_withdrawn(place: Place) -> None:
    page = place.docs / "page.md"
    page.write_text("For everybody.")
    assert place.run()["page.md"][0] == ("public",)
    page.write_text("x " * 10_000)
    assert place.run(audience=["staff"]) == {}
    assert "20000" in place.reasons()["page.md"]


def test_stricter_rules_reach_documents_that_have_not_changed(place: Place) -> None:
    (place.docs / "page.md").write_text("For staff, as it turns out.")
    assert place.run()["page.md"][0] == ("public",)
    assert place.run(audience=["staff"])["page.md"][0] == ("staff",)


def test_pieces_keep_their_age_when_the_flow_has_lost_its_state(place: Place) -> None:
    page = place.docs / "page.md"
    page.write_text("# One\n\nThe first section.\n\n# Two\n\nThe second section.\n")
    place.run()
    before = {piece.text: piece.since for piece in place.reader.chunks("docs", "page.md")}
    page.write_text("# One\n\nThe first section.\n\n# Two\n\nThe second section, edited.\n")
    place.run()
    after = {piece.text: piece.since for piece in place.reader.chunks("docs", "page.md")}
    assert after["The first section."] == before["The first section."]
    assert after["The second section, edited."] >= before["The second section."]


def test_a_lost_store_is_made_again_from_what_retention_has_left_of_the_log(place: Place) -> None:
    log = FileLog(place.home / "data" / "log", partitions=1, segment_bytes=1024)
    for number in range(40):
        uri = f"{number}.md"
        event = b'{"uri": "%s", "content": "%s"}' % (uri.encode(), b"word " * 30)
        log.append("documents", [LogRecord("documents", 0, 0, number * 1000, uri.encode(), event)])
    assert log.retain("documents", 20_000) > 0
    found = place.run()
    assert "39.md" in found
    assert 0 < len(found) < 40


def test_an_event_that_no_store_could_hold_is_a_dead_letter(place: Place) -> None:
    log = FileLog(place.home / "data" / "log")
    event = b'{"uri": "a.md", "content": "x", "position": 99999999999999999999999}'
    log.append("documents", [LogRecord("documents", 0, 0, 1, b"a.md", event)])
    (place.docs / "b.md").write_text("The letter b.")
    assert set(place.run()) == {"b.md"}
    assert "position" in place.reasons()["a.md"]
