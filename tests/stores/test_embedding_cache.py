"""The embedding cache: nothing embedded twice, a bounded file, and vectors whatever happens to it."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from events.errors import StoreError
from stores.embedders import cache_file
from stores.embedders.base import Model, Vectors
from stores.embedders.cache import CachedEmbedder, EmbeddingCache
from stores.embedders.hashing import HashingEmbedder

ROOT = Path(__file__).parents[2]
MEGABYTE = 2**20
WRITE_AHEAD_LOG = 4 * MEGABYTE


class Renamed(HashingEmbedder):
    """The hashing embedder under another identity and, on demand, with shorter vectors."""

    def __init__(self, name: str, version: str = "1", dimension: int = 384, *, folds_space: bool = False) -> None:
        super().__init__()
        self._model = Model(name, version, dimension, 254, folds_space=folds_space)

    @property
    def model(self) -> Model:
        return self._model

    def embed(self, texts: Sequence[str]) -> Vectors:
        return super().embed(texts)[:, : self._model.dimension]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "embeddings.sqlite3"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., CachedEmbedder]]:
    made: list[CachedEmbedder] = []

    def make(embedder: HashingEmbedder | None = None, megabytes: int = 64) -> CachedEmbedder:
        made.append(CachedEmbedder(embedder or HashingEmbedder(), EmbeddingCache(path, megabytes)))
        return made[-1]

    yield make
    for cached in made:
        cached.close()


Opened = Callable[..., CachedEmbedder]


def texts(count: int, start: int = 0) -> list[str]:
    return [f"passage number {number}" for number in range(start, start + count)]


def entries(path: Path) -> int:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        dangling = db.execute("SELECT count(*) FROM entries WHERE id NOT IN (SELECT id FROM vectors)").fetchone()
        unreachable = db.execute("SELECT count(*) FROM vectors WHERE id NOT IN (SELECT id FROM entries)").fetchone()
        assert (dangling, unreachable) == ((0,), (0,))
        return int(db.execute("SELECT count(*) FROM entries").fetchone()[0])
    finally:
        db.close()


def bytes_on_disk(path: Path) -> int:
    return sum(path.with_name(path.name + suffix).stat().st_size for suffix in ("", "-wal"))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_same_text_is_embedded_once(opened: Opened) -> None:
    embedder = HashingEmbedder()
    cached = opened(embedder)
    wanted = HashingEmbedder().embed(["a b", "c d", "a b"])
    np.testing.assert_array_equal(cached.embed(["a b", "c d", "a b"]), wanted)
    np.testing.assert_array_equal(cached.embed(["c d", "e f"])[0], wanted[1])
    assert (cached.embedded, cached.hits, cached.misses) == (3, 1, 3)
    assert (embedder.embedded, embedder.calls) == (3, 2)


def test_vectors_survive_a_restart(opened: Opened) -> None:
    first = opened()
    before = first.embed_bytes(texts(1200))
    first.close()
    second = opened()
    assert second.embed_bytes(texts(1200)) == before
    assert (first.embedded, second.embedded, second.hits) == (1200, 0, 1200)


def test_bytes_are_the_little_endian_vector(opened: Opened) -> None:
    assert opened().embed_bytes(["a b"]) == [HashingEmbedder().embed(["a b"])[0].astype("<f4").tobytes()]


def test_no_text_asks_nobody(opened: Opened) -> None:
    embedder = HashingEmbedder()
    cached = opened(embedder)
    assert cached.embed_bytes([]) == []
    assert embedder.calls == 0


def test_the_result_may_be_written_to(opened: Opened) -> None:
    cached = opened()
    cached.embed(["a b"])[:] = 0.0
    np.testing.assert_array_equal(cached.embed(["a b"]), HashingEmbedder().embed(["a b"]))


def test_texts_are_told_apart_to_the_last_character(opened: Opened) -> None:
    cached = opened()
    cached.embed(["", " ", "a", "a ", "A", "a\x00", "\ud83d", "\ufffd", "e\u0301", "\u00e9"])
    assert cached.embedded == 10


@pytest.mark.parametrize("other", [Renamed("other"), Renamed("hashing", "2")], ids=["name", "version"])
def test_vectors_of_two_models_never_mix(opened: Opened, other: HashingEmbedder) -> None:
    opened().embed(["a b"])
    cached = opened(other)
    cached.embed(["a b"])
    assert (cached.hits, cached.embedded) == (0, 1)


def test_a_vector_of_the_wrong_length_is_embedded_anew_and_replaced(opened: Opened, path: Path) -> None:
    opened(Renamed("hashing", dimension=16)).embed(texts(5))
    cached = opened()
    np.testing.assert_array_equal(cached.embed(texts(5)), HashingEmbedder().embed(texts(5)))
    cached.embed(texts(5))
    assert (cached.embedded, cached.hits) == (5, 5)
    assert entries(path) == 5


def test_the_file_stays_within_its_bound_and_keeps_the_newest(opened: Opened, path: Path) -> None:
    cached = opened(megabytes=2)
    for start in range(0, 6000, 400):
        cached.embed(texts(400, start))
        assert path.stat().st_size <= 2 * MEGABYTE
        assert bytes_on_disk(path) <= 2 * MEGABYTE + WRITE_AHEAD_LOG
    before = cached.embedded
    cached.embed(texts(400, 5600))
    assert cached.embedded == before
    cached.embed(texts(400))
    assert cached.embedded == before + 400
    assert entries(path) > 0.75 * 2 * MEGABYTE / 1536


def test_one_call_larger_than_the_bound_stays_within_it(opened: Opened, path: Path) -> None:
    cached = opened(megabytes=1)
    np.testing.assert_array_equal(cached.embed(texts(3000)), HashingEmbedder().embed(texts(3000)))
    assert path.stat().st_size <= MEGABYTE


def test_what_is_used_again_and_again_is_not_given_up(opened: Opened) -> None:
    cached = opened(megabytes=2)
    favourites = texts(100)
    cached.embed(favourites)
    for start in range(1000, 7000, 100):
        cached.embed(texts(100, start))
        cached.embed(favourites)
    assert cached.embedded == 100 + 6000
    assert cached.hits == 60 * 100


def test_a_smaller_bound_shrinks_the_file(opened: Opened, path: Path) -> None:
    large = opened(megabytes=8)
    large.embed(texts(4000))
    large.close()
    assert path.stat().st_size > 6 * MEGABYTE
    small = opened(megabytes=2)
    small.embed(texts(10, 5000))
    small.close()
    assert path.stat().st_size <= 2 * MEGABYTE


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(100_000))


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 77)


def _overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(path.stat().st_size - 8192))


@pytest.mark.parametrize("damage", [_garbage, _truncated, _overwritten])
def test_a_damaged_file_is_moved_aside_with_one_warning(
    opened: Opened, path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    whole = opened()
    whole.embed(texts(600))
    whole.close()
    damage(path)
    cached = opened()
    for _ in range(3):
        np.testing.assert_array_equal(cached.embed(texts(600)), HashingEmbedder().embed(texts(600)))
    assert cached.embedded <= 1200
    assert path.with_name("embeddings.sqlite3.damaged").is_file()
    assert len(warned(caplog)) == 1
    assert "is damaged" in warned(caplog)[0]
    cached.close()
    assert entries(path) == 600


def test_an_empty_file_is_a_beginning(opened: Opened, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.touch()
    cached = opened()
    cached.embed(texts(3))
    cached.embed(texts(3))
    assert cached.embedded == 3
    assert warned(caplog) == []


def test_a_database_of_another_kind_is_refused_and_left_alone(opened: Opened, path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE invoices (id INTEGER)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="of another kind"):
        opened().embed(["a b"])
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cached = CachedEmbedder(HashingEmbedder(), EmbeddingCache(tmp_path / "file" / "embeddings.sqlite3"))
    for _ in range(3):
        np.testing.assert_array_equal(cached.embed(texts(9)), HashingEmbedder().embed(texts(9)))
    assert cached.embedded == 27
    assert len(warned(caplog)) == 1
    assert "going on without" in warned(caplog)[0]


def test_a_writer_that_never_ends_costs_one_warning_and_no_hit(
    opened: Opened, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().embed(texts(9))
    monkeypatch.setattr(cache_file, "_WAIT_SECONDS", 0.01)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    cached = opened()
    np.testing.assert_array_equal(cached.embed(texts(12)), HashingEmbedder().embed(texts(12)))
    cached.embed(texts(12))
    assert (cached.hits, cached.embedded) == (18, 6)
    assert len(warned(caplog)) == 1
    blocker.execute("ROLLBACK")
    blocker.close()
    cached.embed(texts(12))
    cached.embed(texts(12))
    assert cached.embedded == 9


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from stores.embedders.cache import CachedEmbedder, EmbeddingCache
from stores.embedders.hashing import HashingEmbedder

resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
cached = CachedEmbedder(HashingEmbedder(), EmbeddingCache(Path(sys.argv[1]), 64))
texts = [f"passage number {number}" for number in range(2000)]
for start in range(0, 2000, 100):
    part = texts[start : start + 100]
    assert np.array_equal(cached.embed(part), HashingEmbedder().embed(part))
kept = cached.embedded
cached.embed(texts[:100])
print(cached.embedded - kept)
"""


def test_a_full_disk_stops_the_caching_only(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "0\n"
    assert run.stderr.count("cannot be used") == 1
    assert 0 < entries(path) < 2000


WORKER = """
import random, sys
from pathlib import Path
import numpy as np
from stores.embedders.cache import CachedEmbedder, EmbeddingCache
from stores.embedders.hashing import HashingEmbedder

path, seed, rounds, megabytes = Path(sys.argv[1]), *map(int, sys.argv[2:])
draw = random.Random(seed)
cached = CachedEmbedder(HashingEmbedder(), EmbeddingCache(path, megabytes))
for _ in range(rounds):
    texts = [f"passage number {number}" for number in draw.sample(range(2000), 50)]
    assert np.array_equal(cached.embed(texts), HashingEmbedder().embed(texts))
    print("round", flush=True)
cached.close()
"""


def start_worker(path: Path, seed: int, rounds: int, megabytes: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(path), str(seed), str(rounds), str(megabytes)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("megabytes", [64, 1], ids=["all fits", "evicting"])
def test_processes_share_a_file_that_none_has_made_before(path: Path, megabytes: int) -> None:
    workers = [start_worker(path, seed, 60, megabytes) for seed in range(4)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert (worker.returncode, errors) == (0, "")
    drawn = entries(path)
    assert path.stat().st_size <= megabytes * MEGABYTE
    assert (drawn > 1900) if megabytes == 64 else (300 < drawn < 700)


def test_a_killed_process_leaves_a_whole_file(path: Path, opened: Opened) -> None:
    for seed, rounds in enumerate([1, 20, 47]):
        worker = start_worker(path, seed, 1_000_000, 1)
        try:
            assert worker.stdout is not None
            assert [worker.stdout.readline() for _ in range(rounds)] == ["round\n"] * rounds
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
        assert entries(path) > 0
    np.testing.assert_array_equal(opened().embed(texts(2000)), HashingEmbedder().embed(texts(2000)))


def test_threads_share_a_cache(opened: Opened, path: Path) -> None:
    cached = opened()

    def embed(start: int) -> bool:
        wanted = texts(300, start * 100)
        return bool(np.array_equal(cached.embed(wanted), HashingEmbedder().embed(wanted)))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(embed, range(20)))
    assert entries(path) == 2200
    assert cached.hits + cached.misses == 20 * 300
    assert cached.embedded == cached.misses


def test_entries_are_counted(path: Path) -> None:
    cache = EmbeddingCache(path)
    assert cache.count() == 0
    cache.put({b"a": b"1", b"b": b"2"})
    cache.put({b"b": b"3"})
    assert cache.count() == 2
    cache.close()


@pytest.mark.parametrize(("folds", "embedded"), [(True, 1), (False, 2)])
def test_a_paragraph_wrapped_anew_is_embedded_again_only_for_a_model_that_tells_it_apart(
    opened: Callable[..., CachedEmbedder], folds: bool, embedded: int
) -> None:
    cached = opened(Renamed("folding", folds_space=folds))
    vectors = {*cached.embed_bytes(["fare\n\none two  three"]), *cached.embed_bytes(["fare\none\r\ntwo\tthree"])}
    assert len(vectors) == 1
    assert cached.embedded == embedded
