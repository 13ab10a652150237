import hashlib
import re
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.corpus import MARK, SECTIONS, Corpus, Edit

WORD = re.compile(r"token-\d{6}")


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(60, seed=3)


def digest(files: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def test_the_same_seed_makes_the_same_files_and_edits_and_another_seed_does_not() -> None:
    first, second, other = Corpus(20, seed=1), Corpus(20, seed=1), Corpus(20, seed=2)
    assert first.files() == second.files()
    assert list(first.edits(30)) == list(second.edits(30))
    assert first.files() != other.files()


def test_another_process_with_another_hash_seed_makes_the_same_files(corpus: Corpus) -> None:
    code = (
        "from benchmarks.corpus import Corpus; import hashlib;"
        "print(hashlib.sha256(repr(sorted(Corpus(60, seed=3).files().items())).encode()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    output = subprocess.check_output([sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": "99"}, text=True)
    assert output.strip() == digest(corpus.files())


def test_a_file_has_a_title_and_its_sections_and_about_six_hundred_words(corpus: Corpus) -> None:
    files = corpus.files().values()
    assert all(len(re.findall(r"^# ", content, re.M)) == 1 for content in files)
    assert all(len(re.findall(r"^## ", content, re.M)) == SECTIONS for content in files)
    assert 550 < statistics.mean(len(content.split()) for content in files) < 650


def test_every_file_has_one_mark_that_is_its_own(corpus: Corpus) -> None:
    marks = [re.findall(rf"{MARK}\d+", content) for content in corpus.files().values()]
    assert [len(found) for found in marks] == [1] * 60
    assert len({found[0] for found in marks}) == 60


def test_what_is_written_is_what_was_made(corpus: Corpus, tmp_path: Path) -> None:
    corpus.write(tmp_path)
    found = {path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.md")}
    assert found == corpus.files()


def test_an_edit_replaces_one_paragraph_and_leaves_the_rest_of_the_file_alone(corpus: Corpus) -> None:
    before = corpus.files()
    for edit in corpus.edits(40):
        old, new = Counter(before[edit.path].split("\n\n")), Counter(edit.content.split("\n\n"))
        assert list((new - old).elements()) == [edit.paragraph]
        assert len(list((old - new).elements())) == 1
        assert not next((old - new).elements()).startswith("#")
        before[edit.path] = edit.content


def test_a_token_is_in_its_own_edit_only_and_no_token_begins_another(corpus: Corpus) -> None:
    original = "".join(corpus.files().values())
    edits = list(corpus.edits(130))
    tokens = [edit.token for edit in edits]
    assert not WORD.search(original)
    assert len(set(tokens)) == 130
    assert all(WORD.fullmatch(token) for token in tokens)
    assert all(edit.paragraph.count(edit.token) == 1 for edit in edits)


def test_edits_of_the_same_file_build_on_each_other() -> None:
    corpus = Corpus(1)
    edits: list[Edit] = list(corpus.edits(3))
    assert {edit.path for edit in edits} == set(corpus.files())
    assert corpus.files()[edits[-1].path] == edits[-1].content
    assert edits[1].content != edits[0].content


def test_no_file_is_edited_twice_before_all_had_their_turn(corpus: Corpus) -> None:
    paths = [edit.path for edit in corpus.edits(120)]
    assert sorted(paths[:60]) == sorted(paths[60:]) == sorted(corpus.files())
