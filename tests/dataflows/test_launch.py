"""What stops a flow is said in one line by the process that has met it, in a cluster as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, TestingSource, run_main
from typing_extensions import override

from dataflows.unfailing import watched
from events.errors import EXPLAINED, PASSING, StoreError
from serving.cluster.ports import Ports

ROOT = Path(__file__).parents[2]

# Every worker would read its own part for ever; only the one that has the store is refused.
FLOW = """
import os, signal
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from events import errors
from stores.sink import StoreSink

KIND = getattr(errors, os.environ["KIND"])

class Part(StatefulSourcePartition):
    def next_batch(self):
        return [1]
    def next_awake(self):
        return datetime.now(timezone.utc) + timedelta(milliseconds=5)
    def snapshot(self):
        return None

class Parts(FixedPartitionedSource):
    def list_parts(self):
        return [str(number) for number in range(4)]
    def build_part(self, step_id, for_part, resume_state):
        return Part()

def refuse():
    raise KIND("the store is gone", "bring it back")

flow = Dataflow("refused")
read = op.input("read", flow, Parts())
op.output("store", op.key_on("key", read, str), StoreSink(refuse))
"""


@pytest.mark.parametrize(("kind", "code"), [("StoreError", EXPLAINED), ("UnreachableError", PASSING)])
def test_one_of_a_cluster_says_what_it_has_met_and_whether_that_may_pass(tmp_path: Path, kind: str, code: int) -> None:
    (tmp_path / "refused.py").write_text(FLOW)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    environment = {**os.environ, "PYTHONPATH": path, "KIND": kind}
    with Ports(2) as ports:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "dataflows.launch", "2", str(os.getpid()), "refused", "-s", "1",
                 "-i", str(number), "-a", ports.addresses],
                env=environment, stderr=subprocess.PIPE, text=True,
            )
            for number in range(2)
        ]  # fmt: skip
        try:
            said = [process.communicate(timeout=60)[1] for process in started]
        finally:
            for process in started:
                process.kill()
    codes = [process.returncode for process in started]
    assert codes.count(code) == 1
    assert said[codes.index(code)].splitlines()[-1] == "headrace: the store is gone (bring it back)"


class Failing(StatefulBatchLogic[int, int, None]):
    @override
    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        _fail(values)
        return [], False

    @override
    def snapshot(self) -> None:
        return None


def _fail(*_: Any) -> Any:
    detail = "no more of this"
    raise StoreError(detail, "stop")


def flow_that_fails(where: str) -> Dataflow:
    flow = Dataflow("flow")
    numbers = op.input("in", flow, TestingSource([1, 2, 3]))
    if where == "mapper":
        numbers = op.map("fail", numbers, _fail)
    keyed = op.key_on("key", numbers, _fail if where == "key" else str)
    if where == "logic":
        keyed = op.stateful_batch("fail", keyed, lambda _: Failing())
    if where == "builder":
        keyed = op.stateful_batch("fail", keyed, _fail)
    op.output("out", keyed, TestingSink([]))
    return flow


@pytest.mark.parametrize("where", ["mapper", "key", "logic", "builder"])
def test_an_error_is_heard_wherever_it_is_raised(where: str) -> None:
    heard: list[Exception] = []
    with pytest.raises(BaseException, match=r"."):  # whatever the engine makes of it
        run_main(watched(flow_that_fails(where), heard.append))
    assert [str(error) for error in heard] == ["no more of this (stop)"]


def test_the_end_of_a_source_is_no_error() -> None:
    heard: list[Exception] = []
    found: list[int] = []
    flow = Dataflow("flow")
    op.output("out", op.input("in", flow, TestingSource([1, 2])), TestingSink(found))
    run_main(watched(flow, heard.append))
    assert (found, heard) == ([1, 2], [])
