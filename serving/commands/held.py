"""Deletes that the mass-delete guard holds back: look at them, let them take effect or discard them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import typer

from events.changes import Decision
from events.clock import system_clock, to_iso
from events.errors import HeadraceError
from events.log import LogRecord, control_stream
from serving.tables import LiveTables
from stores.log.choose import open_log
from stores.settings import load

FLOW = "tables"

app = typer.Typer(
    help="Deletes held back because too much of a table disappeared at once: list, release or discard them.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(metavar="TABLE", help="The live table.")]
Slice = Annotated[int | None, typer.Argument(metavar="[SLICE]", help="As listed; default: all of the table.")]


@app.command("list")
def list_() -> None:
    """List the held deletes, table by table, and slice by slice of event time."""
    from rich.console import Console
    from rich.table import Table

    from serving.render import span

    drawn = Table("table", "slice", "from", "to", "deletes", "of rows", "held for", box=None, header_style="bold")
    holds = LiveTables.of(load()).holds()
    for hold in holds:
        times = to_iso(hold.begin)[:19].replace("T", " "), to_iso(hold.end)[11:19]
        numbers = str(hold.deleted), str(hold.rows)
        drawn.add_row(hold.table, str(hold.slice), *times, *numbers, span(max(0, system_clock() - hold.since)))
    console = Console()
    if holds:
        console.print(drawn)
    console.print(f"{len(holds)} slices hold deletes back" if holds else "No deletes are held back.")


@app.command()
def release(table: Name, slice_: Slice = None) -> None:
    """Let the deletes take effect: they were meant."""
    _decide(table, slice_, "release")


@app.command()
def discard(
    table: Name,
    slice_: Slice = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Even while the slice is not over.")] = False,
) -> None:
    """Discard the deletes: the rows stay as they are until their source changes them again.

    That is true of all deletes of the slice, whenever they come: so it can be decided when the slice is over.
    """
    _decide(table, slice_, "discard", anyway=anyway)


def _decide(table: str, slice_: int | None, verdict: Literal["release", "discard"], *, anyway: bool = False) -> None:
    settings = load()
    holds = [hold for hold in LiveTables.of(settings).holds() if hold.table == table and slice_ in (None, hold.slice)]
    if not holds:
        detail = f"no deletes of {table!r} are held back" + ("" if slice_ is None else f" in slice {slice_}")
        raise HeadraceError(detail, "`headrace held list` shows them")
    stream, now = control_stream(FLOW), system_clock()
    end = max(hold.end for hold in holds)
    if verdict == "discard" and now < end and not anyway:
        detail = f"the deletes of {table!r} up to {to_iso(end)} would be discarded as well, also those that are meant"
        raise HeadraceError(detail, "wait until then, or say --anyway")
    decisions = [Decision(hold.table, hold.slice, verdict) for hold in holds]
    records = [
        LogRecord(stream, 0, 0, now, decision.table.encode(), msgspec.json.encode(decision)) for decision in decisions
    ]
    open_log(settings).append(stream, records)
    count = sum(hold.deleted for hold in holds)
    typer.echo(f"{verdict} {count} deletes of {table}: handed to the flow, which does so as soon as it runs")
