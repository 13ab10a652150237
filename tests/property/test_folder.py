"""Whatever happens to a folder, and whenever the reader looks or restarts, the store ends equal to the folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.clock import system_clock
from stores.documents.watch import open_watch
from tests.stores.folder_samples import Desk, HandClock, MemoryStore

DIRECTORIES = ["", "a", "b", "a/c"]
NAMES = ["x.md", "y.md"]
PATHS = [f"{directory}/{name}" if directory else name for directory in DIRECTORIES for name in NAMES]
PATHS += ["n.png", ".hidden.md"]
CONTENTS = [b"one", b"two", b"three"]

directories = st.sampled_from(DIRECTORIES[1:])
paths = st.sampled_from(PATHS)
pauses = st.sampled_from([0, 5, 25, 150, 2_500])
operations = st.one_of(
    st.tuples(st.just("write"), paths, st.sampled_from(CONTENTS)),
    st.tuples(st.just("replace"), paths, st.sampled_from(CONTENTS)),
    st.tuples(st.just("delete"), paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("rename"), directories, directories),
    st.tuples(st.just("rename"), directories, paths),
    st.tuples(st.just("rmtree"), directories),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("link"), paths, directories),
    st.tuples(st.just("touch"), paths),
    st.tuples(st.just("look"), pauses),
    st.tuples(st.just("look"), pauses),
    st.tuples(st.just("lose")),
    st.tuples(st.just("restart"), st.booleans()),
)


class World:
    """A folder, a hand-moved clock, and the store behind the reader."""

    def __init__(self, root: Path, *, by_hand: bool = False) -> None:
        self.root = root
        self.more: dict[str, object] = {} if by_hand else {"open_watch": open_watch}
        self.clock = HandClock(system_clock())
        self.store = MemoryStore()
        self.desk = self.start()

    def start(self) -> Desk:
        return Desk(self.root, self.store, self.clock, **self.more)

    def apply(self, operation: tuple[object, ...]) -> None:
        verb, *arguments = operation
        with suppress(OSError):  # such as a rename onto a full directory: it did not happen
            getattr(self, str(verb))(*arguments)

    def write(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self._stamp(file, path)

    def replace(self, path: str, content: bytes) -> None:
        self.write(".saving~", content)
        self._stamp(self.root / ".saving~", path)
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / ".saving~").replace(self.root / path)

    def _stamp(self, file: Path, path: str) -> None:
        """Give the file the time of a coarse clock: two edits in one second cannot be told apart by it.

        Different paths never share one: the fingerprint does not tell files of one size and one time apart.
        """
        moment = self.clock.now // 1000 * 1_000_000_000 + zlib.crc32(path.encode()) % 1_000_000
        if not file.is_symlink():
            os.utime(file, ns=(moment, moment))

    def delete(self, path: str) -> None:
        (self.root / path).unlink()

    def rename(self, old: str, new: str) -> None:
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).rename(self.root / new)

    def rmtree(self, directory: str) -> None:
        shutil.rmtree(self.root / directory)

    def link(self, path: str, target: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(self.root / target)

    def touch(self, path: str) -> None:
        moment = self.clock.now * 1_000_000
        os.utime(self.root / path, ns=(moment, moment), follow_symlinks=False)

    def look(self, pause: int) -> None:
        self.desk.turn(pause)

    def lose(self) -> None:
        """Die after handing on, before the store has taken it."""
        self.clock.now += 25
        self.desk.reader.turn()
        self.restart(True)

    def restart(self, in_a_hurry: bool) -> None:
        self.desk.reader.close()
        if not in_a_hurry:
            self.clock.now += 10_000
        self.desk = self.start()

    def expected(self) -> dict[str, bytes]:
        """Return what the folder holds, found out without any of our code."""
        found = {}
        for directory, children, names in os.walk(self.root, followlinks=False):
            children[:] = [child for child in children if not child.startswith(".")]
            for name in names:
                file = Path(directory, name)
                if name.endswith((".md", ".txt")) and not name.startswith(".") and file.is_file():
                    found[file.relative_to(self.root).as_posix()] = file.read_bytes()
        return found


@pytest.mark.skipif(sys.platform != "linux", reason="hints must come at once for a clock that is moved by hand")
@given(st.lists(operations, min_size=5, max_size=40))
def test_the_store_ends_equal_to_the_folder(history: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        try:
            for operation in history:
                world.apply(operation)
            world.desk.settle()
            assert world.store.contents() == world.expected()
            assert not world.store.dead
            world.clock.now += 400_000  # time for a whole walk: it finds nothing that the hints have not
            assert world.desk.changed() == []
        finally:
            world.desk.reader.close()


@given(st.lists(operations, min_size=5, max_size=40), st.randoms(use_true_random=False))
def test_lost_and_superfluous_hints_change_nothing_in_the_end(
    history: list[tuple[object, ...]], random: Random
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory), by_hand=True)
        for operation in history:
            world.desk.watch.paths |= {path for path in [*PATHS, *DIRECTORIES] if random.random() < 0.2}
            world.apply(operation)
        world.desk.settle()
        world.clock.now += 400_000
        world.desk.settle()
        assert world.store.contents() == world.expected()
