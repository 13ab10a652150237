"""The whole source in a running dataflow: a real folder, real hints, a real clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, run_main

from events.clock import system_clock
from stores.documents.batch import DocumentBatch, Known
from stores.documents.folder import FolderSource, FormerPartition
from stores.documents.inotify import InotifyWatch
from stores.documents.portable import PortableWatch
from stores.documents.watch import OpenWatch
from stores.settings import KnowledgeSettings
from tests.stores.folder_samples import NAME, MemoryStore, media_type_of

SECONDS = 30.0
ROOT = Path(__file__).parents[2]
watches = pytest.mark.parametrize(
    "open_watch",
    [
        pytest.param(InotifyWatch, marks=pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")),
        PortableWatch,
    ],
)


class _Part(StatelessSinkPartition[DocumentBatch]):
    def __init__(self, running: Running) -> None:
        self._running = running

    def write_batch(self, items: list[DocumentBatch]) -> None:
        with self._running.lock:
            for item in items:
                self._running.store.take(item)


class _Sink(DynamicSink[DocumentBatch]):
    def __init__(self, running: Running) -> None:
        self._running = running

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Part:
        return _Part(self._running)


class Running:
    """A folder and a live dataflow over it in a thread; leaving the context ends the dataflow."""

    def __init__(self, root: Path, open_watch: OpenWatch) -> None:
        self.root = root
        self.store = MemoryStore()
        self.lock = threading.Lock()
        self._stop = threading.Event()
        settings = KnowledgeSettings.model_validate({"folders": [{"name": NAME, "path": root}]})
        source = FolderSource(
            settings,
            lambda _: self.store.known(),
            media_type_of,
            heartbeat_seconds=0.2,
            requests=lambda _: self._asked,
            open_watch=open_watch,
        )
        flow = Dataflow("folder")
        op.output("out", op.input("in", flow, source), _Sink(self))
        self._flow = flow
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _asked(self) -> list[str]:
        if self._stop.is_set():
            raise AbortExecution
        return []

    def _run(self) -> None:
        run_main(self._flow)

    def __enter__(self) -> Running:
        self._thread.start()
        self.wait(lambda: bool(self.store.marks) and self.store.marks[-1].caught_up)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds of the store."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with self.lock:
                if condition():
                    return
            threading.Event().wait(0.002)
        with self.lock:
            pytest.fail(f"after {SECONDS} s the store holds {self.store.contents()}")

    def holds(self, contents: dict[str, str]) -> None:
        """Wait until the store holds exactly these documents and says that it is caught up."""
        expected: dict[str, bytes | None] = {uri: text.encode() for uri, text in contents.items()}
        self.wait(lambda: self.store.contents() == expected and self.store.marks[-1].caught_up)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("headrace")] == []


@watches
def test_the_life_of_documents(root: Path, open_watch: OpenWatch) -> None:
    (root / "first.md").write_text("first")
    with Running(root, open_watch) as running:
        running.holds({"first.md": "first"})
        (root / "new.md").write_text("new")
        running.holds({"first.md": "first", "new.md": "new"})
        with (root / "new.md").open("a") as file:
            file.write(" and more")
        running.holds({"first.md": "first", "new.md": "new and more"})
        (root / ".new.md.swp").write_text("replaced")
        (root / ".new.md.swp").replace(root / "new.md")
        running.holds({"first.md": "first", "new.md": "replaced"})
        (root / "new.md").rename(root / "renamed.md")
        running.holds({"first.md": "first", "renamed.md": "replaced"})
        assert running.store.documents["renamed.md"].moved == "new.md"
        (root / "first.md").unlink()
        running.holds({"renamed.md": "replaced"})


@watches
def test_the_life_of_directories(root: Path, open_watch: OpenWatch) -> None:
    with Running(root, open_watch) as running:
        (root / "a/b").mkdir(parents=True)
        (root / "a/b/1.md").write_text("1")
        (root / "a/2.md").write_text("2")
        running.holds({"a/b/1.md": "1", "a/2.md": "2"})
        (root / "a").rename(root / "z")
        running.holds({"z/b/1.md": "1", "z/2.md": "2"})
        (root / "z/b/1.md").write_text("edited in its new place")
        (root / "z/b/3.md").write_text("3")
        running.holds({"z/b/1.md": "edited in its new place", "z/2.md": "2", "z/b/3.md": "3"})
        (root / "a").mkdir()
        (root / "z/b").rename(root / "a/c")
        (root / "a/c/1.md").write_text("again")
        running.holds({"a/c/1.md": "again", "z/2.md": "2", "a/c/3.md": "3"})
        shutil.rmtree(root / "a")
        running.holds({"z/2.md": "2"})
        outside = root.with_name("outside")
        outside.mkdir()
        (outside / "in.md").write_text("came in")
        outside.rename(root / "moved in")
        running.holds({"z/2.md": "2", "moved in/in.md": "came in"})
        (root / "z").rename(root.with_name("moved out"))
        running.holds({"moved in/in.md": "came in"})


@watches
def test_a_file_deleted_and_made_again_at_once_is_never_deleted(root: Path, open_watch: OpenWatch) -> None:
    (root / "a.md").write_text("0")
    with Running(root, open_watch) as running:
        for number in range(1, 6):
            (root / "a.md").unlink()
            (root / "a.md").write_text(str(number))
            running.holds({"a.md": str(number)})
        assert [change.op for change in running.store.changes] == ["upsert"] * len(running.store.changes)


@watches
def test_a_folder_taken_away_and_brought_back_goes_on(root: Path, open_watch: OpenWatch) -> None:
    (root / "a.md").write_text("one")
    with Running(root, open_watch) as running:
        root.rename(root.with_name("away"))
        running.wait(lambda: not running.store.marks[-1].caught_up)
        (root.with_name("away") / "a.md").write_text("two!")
        root.with_name("away").rename(root)
        running.holds({"a.md": "two!"})
        (root / "a.md").write_text("three")
        running.holds({"a.md": "three"})
        assert [change.op for change in running.store.changes] == ["upsert"] * 3


@watches
def test_a_name_that_is_not_utf8_does_not_end_the_watch(root: Path, open_watch: OpenWatch) -> None:
    with Running(root, open_watch) as running:
        with open(os.fsencode(root) + b"/\xff.md", "wb") as file:
            file.write(b"x")
        running.wait(lambda: len(running.store.dead) == 1)
        (root / "a.md").write_text("one")
        running.holds({"a.md": "one"})


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")
def test_what_a_link_leads_to_is_not_watched(root: Path) -> None:
    outside = root.with_name("outside")
    (outside / "deep").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    watch = InotifyWatch(str(root), system_clock)
    watch.add("link")
    (outside / "x.md").write_text("x")
    assert watch.take().paths == set()
    assert watch.problem == ""
    watch.close()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")
def test_a_moved_directory_is_heard_by_its_new_path(root: Path) -> None:
    for name in ("a", "b"):
        (root / name).mkdir()
    watch = InotifyWatch(str(root), system_clock)
    for name in ("a", "b"):
        watch.add(name)
    (root / "a").rename(root / "tmp")
    (root / "b").rename(root / "a")
    (root / "tmp").rename(root / "b")
    for name in ("a", "b"):
        watch.add(name)
    watch.take()
    (root / "a/x.md").write_text("x")
    assert watch.take().paths == {"a/x.md"}
    (root / "b/y.md").write_text("y")
    assert watch.take().paths == {"b/y.md"}
    watch.close()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is of Linux")
def test_an_overflow_of_the_queue_is_told(root: Path) -> None:
    watch = InotifyWatch(str(root), system_clock)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for name in ("a", "b"):
        (root / name).touch()
    for _ in range(limit // 2 + 1):
        for name in ("a", "b"):
            os.utime(root / name)
    told = [watch.take() for _ in range(limit * 32 // (8 * 2**16) + 2)]
    assert [news.lost for news in told].count(True) == 1
    watch.close()


def flow_over(root: Path, out: list[Any], **more: Any) -> Dataflow:
    settings = KnowledgeSettings.model_validate({"folders": [{"name": NAME, "path": root}]})
    source = FolderSource(settings, more.pop("known", lambda _: {}), media_type_of, live=False, **more)
    flow = Dataflow("folder")
    op.output("out", op.input("in", flow, source), TestingSink(out))
    return flow


def test_a_replay_ends_and_a_recovered_one_counts_on(root: Path, tmp_path: Path) -> None:
    recovery = tmp_path / "recovery"
    recovery.mkdir()
    init_db_dir(recovery, 1)
    for number in range(100):
        (root / f"{number}.md").write_text(str(number))
    first: list[DocumentBatch] = []
    run_main(flow_over(root, first), recovery_config=RecoveryConfig(recovery))
    assert [change.position for batch in first for change in batch.changes] == list(range(1, 101))
    second: list[DocumentBatch] = []
    run_main(flow_over(root, second), recovery_config=RecoveryConfig(recovery))
    assert [change.position for batch in second for change in batch.changes] == list(range(101, 201))


def test_without_recovery_positions_count_on_from_what_the_store_has_noted(root: Path) -> None:
    (root / "a.md").write_text("a")
    for known, offset, expected in (({}, 0, 1), ({}, 8, 8), ({"b.md": Known("", 11)}, 8, 12)):
        out: list[DocumentBatch] = []
        run_main(flow_over(root, out, known=lambda _, known=known: known, after=lambda _, offset=offset: offset))
        assert next(change.position for batch in out for change in batch.changes) == expected


def test_a_former_folder_stays_listed_and_empty(root: Path) -> None:
    settings = KnowledgeSettings.model_validate({"folders": [{"name": NAME, "path": root}]})
    source = FolderSource(settings, lambda _: {}, media_type_of, former=lambda: ["gone", NAME])
    assert source.list_parts() == [NAME, "gone"]
    part = source.build_part("in", "gone", 7)
    assert isinstance(part, FormerPartition)
    assert part.snapshot() == 7
    with pytest.raises(StopIteration):
        part.next_batch()


SCRIPT = """
import sys
import bytewax.operators as op
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from stores.documents.folder import FolderSource
from stores.documents.{module} import {watch}
from stores.settings import KnowledgeSettings

settings = KnowledgeSettings.model_validate({{"folders": [{{"name": "f", "path": sys.argv[1]}}]}})
source = FolderSource(settings, lambda _: {{}}, lambda _: "text/plain", open_watch={watch})
flow = Dataflow("f")
seen = op.map("see", op.input("in", flow, source), lambda batch: print("caught up", flush=True))
op.output("out", seen, StdOutSink())
run_main(flow)
"""


@watches
def test_an_interrupt_ends_the_process_at_once(root: Path, open_watch: type) -> None:
    script = SCRIPT.format(module=open_watch.__module__.rpartition(".")[2], watch=open_watch.__name__)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "caught up\n"
        process.send_signal(2)
        assert process.wait(SECONDS) != 0
