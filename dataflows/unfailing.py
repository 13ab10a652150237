"""A flow whose errors are heard where they leave what we have written, before the engine makes anything of them.

In a cluster the engine loses the error of a worker: the threads between the processes panic, and that panic is all that
is left. So everything that the engine calls (sources, sinks, steps, and what they build) is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bytewax.dataflow import Dataflow, Operator

Hear = Callable[[Exception], None]
"""Told each error at once, by the thread that has met it."""

_LAZY = ("mapper", "next_batch")
"""What may return an iterator, and so raise only when the engine takes from it, which it does at once."""
_CALLED = ("predicate", "mapper", "inspector", "builder")
_BUILDING = ("build_part", "build", "list_parts")
_BUILT = (
    "next_batch",
    "next_awake",
    "write_batch",
    "snapshot",
    "on_batch",
    "on_notify",
    "on_eof",
    "notify_at",
    "close",
)


def watched(flow: Dataflow, hear: Hear) -> Dataflow:
    """Return the flow with `hear` in it; the end of a source is no error."""
    waiting: list[Operator] = list(flow.substeps)
    while waiting:
        step = waiting.pop()
        waiting += step.substeps
        if not step.substeps:  # one of the engine's own: the others consist of them
            _watch_step(step, hear)
    return flow


def _watch_step(step: Operator, hear: Hear) -> None:
    for name in _CALLED:
        called = getattr(step, name, None)
        if called is not None:
            # Steps are frozen for those who wire them; the engine reads them once, later.
            object.__setattr__(step, name, _heard(name, called, hear, builds=name == "builder"))
    for name in ("source", "sink"):
        place = getattr(step, name, None)
        if place is not None:
            _watch(place, _BUILDING, hear, builds=True)


def _watch(found: Any, names: tuple[str, ...], hear: Hear, *, builds: bool = False) -> None:
    """Watch methods of one object; one without a dictionary of its own is left alone."""
    own = getattr(found, "__dict__", None)
    if own is None:
        return
    for name in names:
        if name not in own and (method := getattr(found, name, None)) is not None:
            own[name] = _heard(name, method, hear, builds=builds and name != "list_parts")


def _heard(name: str, called: Callable[..., Any], hear: Hear, *, builds: bool) -> Callable[..., Any]:
    lazy = name in _LAZY

    def call(*arguments: Any) -> Any:
        try:
            made = called(*arguments)
            if lazy and isinstance(made, Iterator):
                made = list(made)
        except StopIteration:
            raise
        except Exception as error:
            hear(error)
            raise
        if builds:
            _watch(made, _BUILT, hear)
        return made

    return call
