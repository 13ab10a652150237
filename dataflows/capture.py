"""capture: what changes elsewhere goes onto the log: databases by their own logs, Kinesis, DynamoDB, buckets.

    tap → log, for each of them

Invariant: nothing between a source and the log is skipped; after a crash some records come a second time. What the log
refuses becomes a dead letter. Of several sources one that fails is tried again while the others go on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from dataflows.module import flow_of
from dataflows.outputs import write_to_store
from dataflows.taps import open_tap
from events.clock import system_clock
from events.errors import SettingsError
from stores.capture.places import Places
from stores.capture.source import LogIntake, TapSource
from stores.dead_letters import DeadLetters
from stores.log.choose import open_log
from stores.settings import Settings

FLOW = "capture"


def build(settings: Settings) -> Dataflow:
    """Wire the flow. Opens nothing: taps and log open on the workers that use them.

    :raises SettingsError: When there is nothing to capture.
    """
    if not settings.capture.taps:
        detail = "there is nothing to capture"
        raise SettingsError(detail, "add [[capture.postgres]], or one for another source, to headrace.toml")
    flow = Dataflow(FLOW)
    drawn: list[Any] = []
    places = Places(settings.places_path)
    alone = len(settings.capture.taps) == 1
    for tap in settings.capture.taps:
        opened: Callable[[Any], Any] = functools.partial(open_tap, tap, settings)
        source = TapSource(
            tap.name, opened, places, batch_size=settings.capture.batch_size, clock=system_clock, alone=alone
        )
        # The engine has the period for itself.
        drawn.append(op.input(f"tap_{tap.name.replace('.', '~')}", flow, source))
    arriving: Any = op.merge("arriving", *drawn)
    bury = DeadLetters(settings.dead_letters_path, system_clock).write
    write_to_store(arriving, lambda: LogIntake(open_log(settings), places, system_clock, bury), "log", "log_key")
    return flow


__getattr__ = flow_of(build)
