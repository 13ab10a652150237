"""Small private files: old or new at every moment, and seen anew by whoever follows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.errors import StoreError
from serving.access.private_file import Followed, alone, replace


def test_a_file_is_read_once_for_each_version(tmp_path: Path) -> None:
    path, read = tmp_path / "file", list[bytes]()

    def parse(content: bytes) -> bytes:
        read.append(content)
        return content.upper()

    followed = Followed(path, parse)
    assert followed.get() is None
    for content in (b"one", b"two"):
        replace(path, content)
        assert [followed.get() for _ in range(3)] == [content.upper()] * 3
    assert read == [b"one", b"two"]


def test_what_a_crash_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / "file.new").write_bytes(b"half")
    replace(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_read_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(StoreError, match="cannot be read: Is a directory") as refused:
        Followed(tmp_path / "file", bytes).get()
    assert refused.value.hint


def test_a_writer_that_does_not_come_to_its_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.access.private_file._WAIT_SECONDS", 0.05)
    path = tmp_path / "file"
    with alone(path), pytest.raises(StoreError, match="has a writer already: process"), alone(path):
        pass
    with alone(path):
        replace(path, b"")
