"""What cannot be read, must not be read, or is not there: reasons and remedies, never a crash."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.errors import HeadraceError, StoreError
from stores.documents.files import OutsideError, PassingError, examine, read
from stores.documents.folder import FolderSource
from stores.settings import KnowledgeSettings
from tests.stores.folder_samples import NAME, OLD, Desk, media_type_of

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def readable_by_all() -> Iterator[Path]:
    """Yield a folder that permissions apply to: the superuser becomes somebody else for the time of the test."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    superuser = os.geteuid() == 0
    if superuser:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if superuser:
            os.seteuid(0)
        for directory, _, _ in os.walk(folder):
            os.chmod(directory, 0o700)
        shutil.rmtree(folder)


def reasons(desk: Desk) -> dict[str, str]:
    return {(letter.record.key or b"").decode(): letter.reason for letter in desk.store.dead}


def test_a_document_over_the_limit_is_not_read(root: Path) -> None:
    desk = Desk(root, max_document_bytes=100)
    desk.write("fits.md", "x" * 100)
    desk.write("big.md", "x" * 101)
    huge = root / "huge.md"
    with huge.open("wb") as file:
        file.truncate(10**12)
    os.utime(huge, (OLD, OLD))
    desk.settle()
    assert list(desk.store.documents) == ["fits.md"]
    assert reasons(desk).keys() == {"big.md", "huge.md"}
    assert "101 bytes" in reasons(desk)["big.md"]
    assert "limit of 100" in reasons(desk)["big.md"]
    letter = desk.store.dead[0]
    record = letter.record
    assert (letter.flow, letter.step) == ("knowledge", "folders")
    assert (record.stream, record.partition, record.offset, record.value) == (NAME, 0, 0, None)
    assert record.event_time == OLD * 1000


def test_a_dead_letter_is_said_once_for_each_state_and_again_after_a_restart(root: Path) -> None:
    desk = Desk(root, max_document_bytes=10)
    desk.write("a.md", "x" * 11)
    desk.settle()
    desk.clock.now += 400_000
    desk.settle("a.md")
    assert len(desk.store.dead) == 1
    desk.write("a.md", "x" * 12)
    desk.settle("a.md")
    assert len(desk.store.dead) == 2
    Desk(root, desk.store, desk.clock, max_document_bytes=10).settle()
    assert len(desk.store.dead) == 3
    assert len({letter.id for letter in desk.store.dead}) == 1
    desk.write("a.md", "fits")
    assert desk.changed("a.md") == [("upsert", "a.md")]


def test_a_document_that_becomes_too_large_is_withdrawn_until_it_fits_again(root: Path) -> None:
    desk = Desk(root, max_document_bytes=10)
    desk.write("a.md", "small")
    desk.settle()
    desk.write("a.md", "x" * 11)
    assert desk.changed("a.md") == [("delete", "a.md")]
    assert desk.store.contents() == {}
    assert list(reasons(desk)) == ["a.md"]
    desk.write("a.md", "again")
    assert desk.changed("a.md") == [("upsert", "a.md")]


def test_a_document_without_permission_is_refused_and_read_once_it_is_given(readable_by_all: Path) -> None:
    desk = Desk(readable_by_all)
    file = desk.write("a.md", "secret")
    file.chmod(0)
    desk.settle()
    assert reasons(desk) == {"a.md": "permission denied (let the user that runs the flow read it)"}
    file.chmod(0o600)
    assert desk.changed("a.md") == [("upsert", "a.md")]


def test_the_documents_of_a_directory_that_cannot_be_listed_stay(readable_by_all: Path) -> None:
    desk = Desk(readable_by_all)
    desk.write("a/b.md", "one")
    desk.settle()
    (readable_by_all / "a").chmod(0)
    desk.clock.now += 400_000
    assert desk.changed("a") == []
    assert list(desk.store.documents) == ["a/b.md"]
    assert "a/" in reasons(desk)
    (readable_by_all / "a").chmod(0o700)
    desk.write("a/b.md", "other")
    assert desk.changed("a") == [("upsert", "a/b.md")]


def test_a_folder_that_may_not_be_listed_stops_the_start(readable_by_all: Path) -> None:
    readable_by_all.chmod(0)
    with pytest.raises(StoreError, match=r"may not be listed.*let the user that runs the flow read it"):
        Desk(readable_by_all)


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_folder_that_is_none_stops_the_start_with_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "place"
    if kind == "file":
        path.touch()
    settings = KnowledgeSettings.model_validate({"folders": [{"name": NAME, "path": path}]})
    with pytest.raises(HeadraceError) as caught:
        FolderSource(settings, lambda _: {}, media_type_of)
    assert str(path) in str(caught.value)
    assert "knowledge.folders" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_not_utf8_is_refused_in_a_form_that_can_be_shown(root: Path) -> None:
    desk = Desk(root)
    name = os.fsencode(root) + b"/caf\xe9.md"
    with open(name, "wb") as file:
        file.write(b"x")
    inner = os.fsencode(root) + b"/d\xff"
    os.mkdir(inner)
    with open(inner + b"/a.md", "wb") as file:
        file.write(b"x")
    desk.settle()
    assert reasons(desk) == {
        "caf\\xe9.md": r"the name 'caf\\xe9.md' is not in UTF-8 (rename it)",
        "d\\xff/a.md": r"the name 'd\\xff/a.md' is not in UTF-8 (rename it)",
    }
    os.unlink(name)
    assert desk.changed(os.fsdecode(b"caf\xe9.md")) == []


def test_links_that_lead_outside_are_refused_once(root: Path) -> None:
    outside = root.with_name("outside")
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    (root / "file.md").symlink_to(outside / "secret.md")
    (root / "directory").symlink_to(outside)
    (root / "picture.png").symlink_to(outside / "secret.md")
    desk = Desk(root)
    desk.settle()
    desk.clock.now += 400_000
    desk.settle("file.md", "directory")
    assert sorted(letter.record.key or b"" for letter in desk.store.dead) == [b"directory", b"file.md"]
    assert all(letter.reason.startswith("symbolic link leads outside the folder") for letter in desk.store.dead)
    assert desk.store.documents == {}


def test_a_document_replaced_by_a_link_to_the_outside_is_gone(root: Path) -> None:
    desk = Desk(root)
    desk.write("a.md", "mine")
    desk.settle()
    (root / "a.md").unlink()
    (root / "a.md").symlink_to("/etc/hostname")
    assert desk.changed("a.md") == [("delete", "a.md")]
    assert list(reasons(desk)) == ["a.md"]


def test_a_link_to_a_document_inside_follows_its_target(root: Path) -> None:
    desk = Desk(root)
    desk.write("docs/real.md", "one")
    (root / "link.md").symlink_to("docs/real.md")
    desk.settle()
    assert desk.store.contents() == {"docs/real.md": b"one", "link.md": b"one"}
    desk.write("docs/real.md", "two!")
    assert desk.changed("docs/real.md") == [("upsert", "docs/real.md"), ("upsert", "link.md")]
    (root / "docs/real.md").unlink()
    assert desk.changed("docs/real.md") == [("delete", "docs/real.md"), ("delete", "link.md")]
    desk.write("docs/real.md", "back")
    assert desk.changed("docs/real.md") == [("upsert", "docs/real.md"), ("upsert", "link.md")]


def test_documents_behind_a_switched_directory_link_are_read_again(root: Path) -> None:
    desk = Desk(root)
    desk.write(".v1/a.md", "one")
    desk.write(".v2/a.md", "two")
    (root / "..data").symlink_to(".v1")
    (root / "a.md").symlink_to("..data/a.md")
    desk.settle()
    assert desk.store.contents() == {"a.md": b"one"}
    (root / "..next").symlink_to(".v2")
    (root / "..next").replace(root / "..data")
    assert desk.changed("..data") == [("upsert", "a.md")]
    assert desk.store.contents() == {"a.md": b"two"}


def test_links_in_a_ring_to_nowhere_and_to_directories_inside_are_no_documents(root: Path) -> None:
    desk = Desk(root)
    desk.write("a/b.md", "one")
    (root / "a/up").symlink_to(root)
    (root / "self.md").symlink_to("self.md")
    (root / "nowhere.md").symlink_to("missing.md")
    (root / "dir.md").symlink_to("a")
    desk.settle()
    assert list(desk.store.documents) == ["a/b.md"]
    assert desk.store.dead == []


def test_a_directory_replaced_by_a_link_has_lost_its_documents(root: Path) -> None:
    desk = Desk(root)
    desk.write("a/x.md", "one")
    desk.settle()
    (root / "a").rename(root / "b")
    (root / "a").symlink_to("b")
    assert desk.changed("a", "b") == [("upsert", "b/x.md"), ("delete", "a/x.md")]


def test_what_is_no_regular_file_is_never_opened(root: Path) -> None:
    desk = Desk(root)
    os.mkfifo(root / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(root, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{here}/socket.md")
        finally:
            os.close(here)
        assert desk.changed("pipe.md", "socket.md") == []
    assert desk.store.dead == []


def test_a_pipe_slipped_in_after_the_look_neither_blocks_nor_is_read(root: Path) -> None:
    os.mkfifo(root / "a.md")
    with pytest.raises(PassingError, match="not a regular file"):
        read(str(root), "a.md", 100)


def test_a_link_slipped_in_after_the_look_is_not_followed(root: Path) -> None:
    outside = root.with_name("outside")
    outside.mkdir()
    (outside / "a.md").write_text("secret")
    (root / "a.md").symlink_to(outside / "a.md")
    (root / "d").symlink_to(outside)
    for path in ("a.md", "d/a.md"):
        with pytest.raises(PassingError):
            read(str(root), path, 100)
    with pytest.raises(OutsideError):
        examine(str(root), "a.md")
