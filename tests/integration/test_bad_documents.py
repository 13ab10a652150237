"""Documents that nobody should have to fear: each becomes one dead letter with its reason, and the rest is indexed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bytewax.testing import run_main

from dataflows.knowledge import build
from events.clock import system_clock
from stores.dead_letters import DeadLetters
from stores.settings import load
from stores.vectors.lance_reader import LanceReader

ROOT = Path(__file__).parents[2]

PDF_WITHOUT_TEXT = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], set[str]]:
    """Index a folder of good and bad documents; return the reasons of the dead letters, and what was indexed."""
    home = tmp_path_factory.mktemp("bad")
    folder = home / "docs"
    folder.mkdir()
    (folder / "good.md").write_text("# Good\n\nThis page can be read.\n")
    (folder / "empty.md").write_bytes(b"")
    (folder / "binary.md").write_bytes(bytes(range(256)) * 20)
    (folder / "latin.txt").write_bytes("Gepäck kostet 30 €".encode("utf-16-le") + b"\xff\xfe\xff")
    (folder / "broken.txt").write_bytes(b"plain until here: \xff\xfe and on\n")
    with (folder / "huge.md").open("wb") as file:
        file.truncate(200 * 2**20)
    (folder / "bomb.html").write_text("<html><body>" + "<div>" * 200_000 + "deep" + "</div>" * 200_000)
    (folder / "scanned.pdf").write_bytes(PDF_WITHOUT_TEXT)
    (folder / "not-a-pdf.pdf").write_bytes(b"this is no PDF at all")
    (folder / "not-a-zip.docx").write_bytes(b"PK\x03\x04 and then nothing")
    (folder / "secret.md").write_text("---\naudience: [staff\n---\n\n# Secret\n")
    (home / "outside.md").write_text("# Outside\n\nNot for this index.\n")
    (folder / "link.md").symlink_to(home / "outside.md")
    settings = load(
        data_dir=home / "data",
        mode="replay",
        embedding={"backend": "hashing"},
        knowledge={"folders": [{"name": "docs", "path": folder}], "streams": [], "parse_seconds": 10},
    )
    run_main(build(settings))
    letters = DeadLetters(settings.dead_letters_path, system_clock).list()
    reasons = {(kept.letter.record.key or b"").decode(): kept.letter.reason for kept in letters}
    return reasons, {found.uri for found in LanceReader(settings.vectors_dir).documents()}


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("binary.md", "not UTF-8"),
        ("latin.txt", "not UTF-8"),
        ("broken.txt", "0xff at offset 18"),
        ("huge.md", "209715200"),
        ("scanned.pdf", "no text"),
        ("not-a-pdf.pdf", "PDF"),
        ("not-a-zip.docx", "DOCX"),
        ("secret.md", "front matter"),
        ("link.md", "outside"),
    ],
)
def test_each_bad_document_is_a_dead_letter_with_its_reason(
    indexed: tuple[dict[str, str], set[str]], uri: str, reason: str
) -> None:
    reasons, documents = indexed
    assert reason in reasons[uri]
    assert "\n" not in reasons[uri]
    assert "unexpected" not in reasons[uri]
    assert uri not in documents


def test_the_good_documents_are_indexed_and_an_empty_one_is_no_error(
    indexed: tuple[dict[str, str], set[str]],
) -> None:
    reasons, documents = indexed
    assert {"good.md", "empty.md"} <= documents
    assert not {"good.md", "empty.md"} & set(reasons)


def test_a_html_bomb_ends_one_way_or_the_other(indexed: tuple[dict[str, str], set[str]]) -> None:
    reasons, documents = indexed
    assert ("bomb.html" in reasons) != ("bomb.html" in documents)


@pytest.mark.parametrize(
    ("path", "said"),
    [("absent", "absent"), ("file", "not a folder")],
)
def test_a_wrong_folder_is_one_line_and_no_start(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "file").write_text("x")
    folders = json.dumps([{"name": "docs", "path": str(tmp_path / path)}])
    variables = {"HEADRACE_DATA_DIR": str(tmp_path / "data"), "HEADRACE_KNOWLEDGE__FOLDERS": folders}
    command = [sys.executable, "-m", "bytewax.run", "dataflows.knowledge"]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode != 0
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_an_empty_folder_is_complete_at_once(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    settings = load(
        data_dir=tmp_path / "data",
        mode="replay",
        embedding={"backend": "hashing"},
        knowledge={"folders": [{"name": "docs", "path": tmp_path / "docs"}], "streams": []},
    )
    run_main(build(settings))
    reader = LanceReader(settings.vectors_dir)
    assert [(mark.source, mark.caught_up) for mark in reader.applied()] == [("docs", True)]
    assert list(reader.documents()) == []
