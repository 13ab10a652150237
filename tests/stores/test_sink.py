"""The sink: data as it comes, marks only when their epoch closes, one writer, and never another store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import bytewax.operators as op
import msgspec
import pytest
from bytewax.dataflow import Dataflow, Stream
from bytewax.operators import KeyedStream
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, run_main

from events.errors import StoreError
from events.log import Mark
from stores.sink import EpochWriter, StoreSink

if TYPE_CHECKING:
    from pathlib import Path


class Notebook(EpochWriter[str]):
    """Writes down what it is told, in order."""

    def __init__(self, name: str = "a notebook") -> None:
        self.name = name
        self.lines: list[str] = []
        self.resumed: bool | None = None

    def begin(self, *, resumed: bool) -> None:
        self.resumed = resumed

    def write(self, items: Sequence[str]) -> None:
        self.lines += [f"item {item}" for item in items]

    def close_epoch(self, marks: Sequence[Mark]) -> None:
        self.lines += [f"mark {mark.source}/{mark.partition} {mark.offset}" for mark in marks]
        self.lines.append("epoch")

    def identity(self) -> str:
        return self.name

    def close(self) -> None:
        self.lines.append("closed")


def mark(offset: int, partition: str = "0") -> Mark:
    return Mark("s", partition, offset, None, 0, caught_up=False)


def flow_into(notebook: Notebook, items: list[str | Mark], batch: int = 1) -> Dataflow:
    flow = Dataflow("writing")
    up: Stream[str | Mark] = op.input("in", flow, TestingSource(items, batch))
    keyed: KeyedStream[str | Mark] = op.key_on("key", up, lambda item: "any")
    op.output("out", keyed, StoreSink[str](lambda: notebook))
    return flow


def test_marks_wait_until_the_epoch_closes() -> None:
    notebook = Notebook()
    items: list[str | Mark] = [mark(1), "a", mark(2), "b"]
    run_main(flow_into(notebook, items), epoch_interval=timedelta(seconds=60))
    assert notebook.lines == ["item a", "item b", "mark s/0 2", "epoch", "closed"]


def test_each_epoch_notes_its_own_marks_once() -> None:
    notebook = Notebook()
    items: list[str | Mark] = ["a", mark(1), "b", mark(2), mark(7, "1")]
    run_main(flow_into(notebook, items, batch=2), epoch_interval=timedelta(0))
    marks = [line for line in notebook.lines if line.startswith("mark")]
    assert marks == ["mark s/0 1", "mark s/0 2", "mark s/1 7"]
    assert notebook.lines.index("item b") < notebook.lines.index("mark s/0 2")


def test_a_store_learns_whether_the_flow_goes_on_or_begins_anew(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    for resumed in (False, True):
        notebook = Notebook()
        run_main(flow_into(notebook, ["a"]), recovery_config=RecoveryConfig(tmp_path))
        assert notebook.resumed is resumed


def test_a_recovery_folder_of_another_store_is_refused(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    recovery = RecoveryConfig(str(tmp_path))
    items: list[str | Mark] = ["a", TestingSource.EOF(), "b"]  # type: ignore[list-item]  # a sentinel of the source
    run_main(flow_into(Notebook("first"), items), epoch_interval=timedelta(0), recovery_config=recovery)
    other = Notebook("second")
    with pytest.raises((StoreError, RuntimeError)):
        run_main(flow_into(other, items), epoch_interval=timedelta(0), recovery_config=recovery)
    assert other.lines == ["closed"]


def test_positions_of_earlier_marks_of_an_epoch_are_not_lost() -> None:
    seen: list[Mark] = []

    class Keeper(Notebook):
        def close_epoch(self, marks: Sequence[Mark]) -> None:
            seen.extend(marks)

    marks = [msgspec.structs.replace(mark(n), positions=positions) for n, positions in enumerate(POSITIONS, 1)]
    run_main(flow_into(Keeper(), list(marks)), epoch_interval=timedelta(seconds=60))
    assert [(found.offset, found.positions) for found in seen] == [(4, {"a": (0, 100), "b": (0, 3)})]


POSITIONS: list[dict[str, tuple[int, ...]]] = [{"a": (0, 100)}, {"a": (0, 7)}, {"b": (0, 3)}, {}]


def test_a_store_older_than_the_recovery_folder_is_refused(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    recovery = RecoveryConfig(str(tmp_path))
    items: list[str | Mark] = ["a", TestingSource.EOF(), "b"]  # type: ignore[list-item]  # a sentinel of the source

    class Dated(Notebook):
        date = 7

        def progress(self) -> int:
            return self.date

    run_main(flow_into(Dated(), items), epoch_interval=timedelta(0), recovery_config=recovery)
    older = Dated()
    older.date = 6
    with pytest.raises((StoreError, RuntimeError)):
        run_main(flow_into(older, items), epoch_interval=timedelta(0), recovery_config=recovery)
    assert older.lines == ["closed"]
    run_main(flow_into(Dated(), items), epoch_interval=timedelta(0), recovery_config=recovery)
