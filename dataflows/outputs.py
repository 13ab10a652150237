"""How every flow ends: in a store that has one writer in the whole cluster, and in dead letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Stream

from events.clock import system_clock
from events.dead_letters import DeadLetter
from stores.dead_letters import DeadLetters
from stores.settings import Settings
from stores.sink import EpochWriter, StoreSink


def write_to_store(
    arriving: Stream[Any], open_writer: Callable[[], EpochWriter[Any]], step: str = "store", key_step: str = "store_key"
) -> None:
    """Write items and marks to a store, which is opened by the worker that writes."""
    op.output(step, op.key_on(key_step, arriving, _one_key), StoreSink(open_writer))


def keep_dead(dead: Stream[DeadLetter], settings: Settings) -> None:
    """Keep what could not be processed."""
    path = settings.dead_letters_path
    write_to_store(dead, lambda: DeadLetters(path, system_clock), "dead_letters", "dead_key")


def _one_key(item: object) -> str:
    del item
    return "store"
