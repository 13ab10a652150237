"""delivery: records of the log go elsewhere: to Kinesis, and into files in a bucket.

    log → outbox → target, for each delivery
              └→ dead letters

Each delivery reads its streams for itself, and the order of each partition is kept. All of them are one flow, though,
which waits for every request: a slow target slows down the others, and one that does not answer holds them up for a
minute or two at a time. One that refuses, or takes nothing for longer than its deliverer waits, ends the flow for all
of them until it is started again; nothing is lost by that. Deliveries that must not wait for each other run over the
same log from data folders of their own.

What has been taken stands in the outbox, so that the flow may start with or without its recovery state and go on where
it was.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from dataflows.module import flow_of
from dataflows.outputs import write_to_store
from events.clock import system_clock
from events.errors import SettingsError
from events.log import Mark, replay_stream
from stores.dead_letters import DeadLetters
from stores.delivery.choose import open_deliverer
from stores.delivery.intake import DeliveryIntake, Records
from stores.delivery.outbox import Outbox, read_applied
from stores.delivery_settings import FilesDeliverySettings, KinesisDeliverySettings
from stores.log.base import Log
from stores.log.choose import open_log
from stores.log.source import LogBatch, LogSource
from stores.settings import Settings

FLOW = "delivery"
STEP = "deliver"


def build(settings: Settings) -> Dataflow:
    """Wire the flow. Opens nothing: the log and the targets open on the workers that use them.

    :raises SettingsError: When there is nothing to deliver.
    """
    sinks = settings.delivery.sinks
    if not sinks:
        detail = "there is nothing to deliver"
        raise SettingsError(detail, "add [[delivery.files]] or [[delivery.kinesis]] to headrace.toml")
    flow = Dataflow(FLOW)
    log = open_log(settings)
    for sink in sinks:
        _wire(flow, settings, sink, log)
    return flow


def reader_of(name: str) -> str:
    """Return the name under which a delivery reads the log, keeps its dead letters, and takes them again."""
    return f"{FLOW}.{name}"


def _wire(flow: Dataflow, settings: Settings, sink: KinesisDeliverySettings | FilesDeliverySettings, log: Log) -> None:
    path = settings.delivered_dir / f"{sink.name}.sqlite3"
    reader = reader_of(sink.name)
    # The engine has the period for itself.
    step = sink.name.replace(".", "~")

    @functools.cache
    def applied() -> dict[tuple[str, str], int]:
        return {(mark.source, mark.partition): mark.offset for mark in read_applied(path)}

    source = LogSource(
        log,
        [*sink.streams, replay_stream(reader)],
        batch_size=settings.delivery.batch_size,
        tail=settings.mode == "live",
        heartbeat_seconds=settings.heartbeat_seconds,
        clock=system_clock,
        start=lambda stream, partition: applied().get((stream, str(partition))),
        on_expired=settings.log.on_expired,
        reader=reader,
    )
    batches = op.input(f"log_{step}", flow, source)
    arriving: Any = op.flat_map(f"arriving_{step}", batches, _parts)
    opened = _opener(settings, sink, log, reader)
    write_to_store(arriving, opened, f"deliver_{step}", f"key_{step}")


def _opener(
    settings: Settings, sink: KinesisDeliverySettings | FilesDeliverySettings, log: Log, reader: str
) -> Callable[[], DeliveryIntake]:
    def open_intake() -> DeliveryIntake:
        outbox = Outbox(settings.delivered_dir / f"{sink.name}.sqlite3")
        deliverer = None
        try:
            deliverer = open_deliverer(sink, outbox, system_clock)
            return DeliveryIntake(
                reader,
                STEP,
                outbox,
                deliverer,
                bury=DeadLetters(settings.dead_letters_path, system_clock).write,
                ends=lambda stream, partition: log.bounds(stream, partition)[1],
                clock=system_clock,
                batch_size=settings.delivery.batch_size,
                finish=settings.mode == "replay",
            )
        except BaseException:
            if deliverer is not None:
                deliverer.close()
            outbox.close()
            raise

    return open_intake


def _parts(batch: LogBatch) -> list[Records | Mark]:
    return [batch.records, batch.mark] if batch.records else [batch.mark]


__getattr__ = flow_of(build)
