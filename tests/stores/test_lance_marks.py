"""What a reader remembers of marks is never told of another version, or of another store."""

from __future__ import annotations

import shutil
from pathlib import Path

from events.log import Mark
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from tests.stores.vector_samples import MODEL, embed, upsert


def note(folder: Path, *offsets: int) -> None:
    with LanceWriter(folder, MODEL, embed=embed, clock=lambda: 1_000) as writer:
        for offset in offsets:
            mark = Mark("docs", "0", offset, offset, offset, caught_up=True)
            writer.write([upsert(f"{offset}.md", "text", position=offset)], [mark])


def told(reader: LanceReader) -> list[int]:
    return [mark.offset for mark in reader.applied()]


def test_each_version_has_its_own_marks(tmp_path: Path) -> None:
    note(tmp_path, 1)
    reader = LanceReader(tmp_path)
    assert told(reader) == told(reader) == [1]
    with reader.cut() as cut:
        note(tmp_path, 2)
        assert told(reader) == [2]
        assert [mark.offset for mark in cut.applied()] == [1]
    assert told(reader) == [2]


def test_a_copy_that_has_gone_its_own_way_has_its_own_marks(tmp_path: Path) -> None:
    place, copy = tmp_path / "vectors", tmp_path / "copy"
    note(place, 1)
    shutil.copytree(place, copy)
    note(place, 2)
    note(copy, 7)
    reader = LanceReader(place)
    assert told(reader) == [2]
    shutil.rmtree(place)
    copy.rename(place)
    assert told(reader) == [7]
