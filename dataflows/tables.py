"""tables: change events become live tables, the newest snapshot of operational data.

    change events → decode → [bucket] order → row store
                       └→ dead letters

The row store decides last what is newer, so that the flow may start with or without its recovery state and end in the
same content.
"""

from __future__ import annotations

import functools
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from dataflows.barred import Barred
from dataflows.decoding import Decoding
from dataflows.module import flow_of
from dataflows.outputs import keep_dead, write_to_store
from events.alerts import Alert
from events.clock import system_clock, to_iso
from events.log import control_stream, replay_stream
from operators.changes.order import DAY, order
from stores.alerts import raise_alert
from stores.log.choose import open_log, open_own_log
from stores.log.source import LogSource
from stores.rows.choose import open_row_reader, open_row_writer
from stores.rows.holds import Hold
from stores.rows.intake import RowIntake
from stores.settings import Settings

FLOW = "tables"

REMEMBERED = 16
"""Records that each bucket remembers: what comes twice or late mostly does so soon. The store knows the rest."""


def build(settings: Settings) -> Dataflow:
    """Wire the flow. Opens nothing: sources and stores open on the workers that use them.

    :raises SettingsError: When a column's encoding is unknown.
    """
    log, own_log = open_log(settings), open_own_log(settings)
    barred = Barred(settings)
    decoding = Decoding(FLOW, "tables.live", settings.tables, settings.tables.live, barred.change)

    @functools.cache
    def applied() -> dict[tuple[str, str], int]:
        reader = open_row_reader(settings)
        marks = {(mark.source, mark.partition): mark.offset for mark in reader.applied()}
        reader.close()
        return marks

    flow = Dataflow(FLOW)
    source = LogSource(
        log,
        [*(stream.name for stream in settings.tables.streams), replay_stream(FLOW), control_stream(FLOW)],
        batch_size=settings.tables.batch_size,
        tail=settings.mode == "live",
        heartbeat_seconds=settings.tables.heartbeat_seconds,
        clock=system_clock,
        start=lambda stream, partition: applied().get((stream, str(partition))),
        on_expired=settings.log.on_expired,
        reader=FLOW,
    )
    records = op.input("log", flow, source)
    decoded = op.flat_map_batch("decode", records, decoding.batches)
    changes = op.flat_map("changes", decoded, lambda batch: batch.rows)
    others = op.flat_map("others", decoded, lambda batch: batch.others)
    dead = op.flat_map("dead", decoded, lambda batch: batch.dead)
    horizon = round(settings.tables.tombstone_days * DAY)
    # Former values are told in contexts, of the tables that look-ups name; of others nobody asks for them.
    told = (
        {lookup.table for lookup in settings.serving.lookups} if settings.serving.context.superseded_minutes else set()
    )
    keeps_former = bool(told) and settings.tables.former_hours > 0
    ordered = order("order", changes, keep=REMEMBERED, horizon=horizon, late=keeps_former)

    def open_intake() -> RowIntake:
        writer = open_row_writer(settings, system_clock)
        return RowIntake(
            writer,
            settings.tables,
            system_clock,
            lambda hold: raise_alert(own_log, _alert(hold)),
            barred=barred.change,
            former=told,
        )

    arriving: Any = op.merge("arriving", ordered, others)
    write_to_store(arriving, open_intake)
    keep_dead(dead, settings)
    return flow


def _alert(hold: Hold) -> Alert:
    text = (
        f"{hold.deleted} of {hold.rows} rows of the live table {hold.table!r} were deleted at their source between "
        f"{to_iso(hold.begin)} and {to_iso(hold.end)}; the deletes are held back: see `headrace held list`"
    )
    return Alert(f"mass-delete/{hold.table}/{hold.slice}", "mass-delete", hold.table, text, hold.begin)


__getattr__ = flow_of(build)
