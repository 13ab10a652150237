"""Searching files for texts: every way in which they are written, across the borders of pieces, nothing made up."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from stores import scan as module
from stores.scan import Needles, Scanned, scan, scan_file


def hits(folder: Path, *texts: str) -> dict[str, dict[str, int]]:
    found = scan([folder], Needles(texts))
    return {path.name: counts for path, counts in found.hits.items()}


def test_a_text_is_found_as_utf8_and_as_json_escapes_it(tmp_path: Path) -> None:
    name = 'Zoë "Zo" Šimić😀'
    (tmp_path / "plain").write_text(name, encoding="utf-8")
    (tmp_path / "json").write_text(json.dumps({"name": name}, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "ascii").write_text(json.dumps({"name": name}), encoding="utf-8")
    (tmp_path / "upper").write_text('{"name":"Zo\\u00EB \\"Zo\\" \\u0160imi\\u0107\\uD83D\\uDE00"}', encoding="utf-8")
    (tmp_path / "other").write_text("Zoe Simic", encoding="utf-8")
    assert hits(tmp_path, name) == {file: {name: 1} for file in ("plain", "json", "ascii", "upper")}


def test_texts_run_together_as_in_a_database_are_found(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"\x00\x17defaultemail:anna@x.orgcrm/customers/4711\x00")
    assert hits(tmp_path, "anna@x.org", "crm/customers/4711", "email:anna@x.org") == {
        "page": {"email:anna@x.org": 1, "anna@x.org": 1, "crm/customers/4711": 1}
    }


def test_texts_of_less_than_four_characters_are_left_out() -> None:
    needles = Needles(["abc", "", "ééé", "four"])
    assert needles.texts == {"four"}
    assert not Needles(["abc"])


def test_nothing_is_looked_for_where_there_is_nothing_to_look_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"anything")
    assert scan([tmp_path], Needles([])).hits == {}


def test_files_are_counted_once_and_what_is_left_out_is(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for name in ("a", "log/b", "c"):
        (tmp_path / name).write_bytes(b"anna here")
    found = scan([tmp_path, tmp_path / "log"], Needles(["anna"]), besides=[tmp_path / "c"])
    assert (found.files, found.size) == (2, 18)
    assert {path.name for path in found.hits} == {"a", "b"}


@pytest.mark.parametrize("seed", range(20))
def test_the_count_is_that_of_a_plain_search_wherever_pieces_end(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(module, "_PIECE", chance.randrange(5, 60))
    texts = sorted({"".join(chance.choices("ab", k=chance.randrange(4, 9))) for _ in range(6)})
    data = "".join(chance.choices("abc", k=700)).encode()
    (tmp_path / "file").write_bytes(data)
    scanned = Scanned()
    scan_file(tmp_path / "file", Needles(texts), scanned)
    wanted: dict[str, int] = {}
    for place in range(len(data)):
        # Of several texts at one place the longest counts.
        there = [text for text in texts if data.startswith(text.encode(), place)]
        if there:
            longest = max(there, key=len)
            wanted[longest] = wanted.get(longest, 0) + 1
    assert scanned.hits.get(tmp_path / "file", {}) == wanted
    assert scanned.size == len(data)
