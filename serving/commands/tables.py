"""Commands that read the live tables."""

from __future__ import annotations

import math
import os
import re
import sys
from typing import Annotated

import typer

from events.changes import parse_position, position_text
from events.clock import system_clock, to_iso
from events.errors import HeadraceError, RejectedError
from serving.freshness import Demand
from serving.kpis import Kpis, interruptible
from serving.printable import json_text, shown
from serving.render import span
from serving.tables import LiveRow, LiveTables
from serving.tables import as_json as rendered
from stores.kpis.statement import TABLES as FEEDBACK_TABLES
from stores.settings import load

_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|h|d)?")
_NO_TABLE = re.compile(r"(?:no such table: |relation \")(?:\w+\.)?(\w+)")
_UNITS = {"ms": 1, None: 1000, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}

PROVENANCE = {"_source", "_key", "_position", "_as_of", "_applied_at", "_initiator", "_unknown_since"}

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON Lines for other programs.")]
MaxAge = Annotated[
    str | None, typer.Option(metavar="SPAN", help="Wait until the tables are no older than this, e.g. 5s.")
]
MinPosition = Annotated[
    str | None, typer.Option(metavar="POSITION", help="Wait until everything up to this position of the source is in.")
]
Source = Annotated[str, typer.Option(help="The source that the position is of; default: the only one.")]
Wait = Annotated[str, typer.Option(metavar="SPAN", help="How long to wait for that before refusing.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(table)
    app.command()(sql)


def table(
    name: Annotated[str, typer.Argument(help="A live table; without it all are listed.")] = "",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", "-w", metavar="CONDITION", help="COLUMN=VALUE, or != < <= > >= ~ (contains); repeat."),
    ] = None,
    columns: Annotated[str, typer.Option(help="Columns to show, with commas between; default: all.")] = "",
    order: Annotated[str, typer.Option(help="Column to sort by; with a minus in front, descending.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many rows at most.")] = 20,
    schema: Annotated[bool, typer.Option("--schema", help="Show the history of the table's columns instead.")] = False,
    max_age: MaxAge = None,
    min_position: MinPosition = None,
    source: Source = "",
    wait: Wait = "5s",
    as_json: AsJson = False,
) -> None:
    """Show the newest rows of a live table, each with its source, position and age.

    Example: headrace table flights --where status=cancelled --max-age 5s
    """
    tables = LiveTables.of(load())
    demand = demanded(max_age, min_position, source, wait)
    if not name:
        if where or columns or order or schema or max_age is not None or min_position is not None:
            detail = "it is not clear of which table"
            raise HeadraceError(detail, f"name one of: {', '.join(tables.names()) or 'none is configured'}")
        _list(tables, as_json)
        return
    if schema:
        _schema(tables, name, as_json)
        return
    chosen = [column.strip() for column in columns.split(",") if column.strip()]
    for column in (*chosen, *filter(None, [order.removeprefix("-")])):
        tables.check_column(name, column)
    found = tables.rows(
        name,
        [tables.condition(name, text) for text in where or []],
        order=order.removeprefix("-"),
        descending=order.startswith("-"),
        limit=limit,
        demand=demand,
    )
    if as_json:
        _print_json(found)
    else:
        _print_rows(found, chosen, limit)


def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT.")],
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many rows at most.")] = 100,
    seconds: Annotated[float, typer.Option(min=0.01, max=3600, help="How long it may take.")] = 5.0,
    max_age: MaxAge = None,
    min_position: MinPosition = None,
    source: Source = "",
    wait: Wait = "5s",
    kpis: Annotated[bool, typer.Option("--kpis", help="Ask the facts, KPIs and alerts of feedback instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the live tables in SQL: reading only, limited in time and rows.

    Every live table is a view with its columns and _source, _key, _position, _as_of, _applied_at, _initiator and
    _unknown_since. Numbers are the database's: SQLite keeps 15 digits of a decimal, `headrace table` all of them.

    Example: headrace sql "SELECT status, count(*) FROM flights GROUP BY status"

    With --kpis it is DuckDB's SQL over the view kpis (kpi, windows, start, until, grouping, a column for each field
    grouped by, value, count, late, stage, examples), the facts answers, questions, ratings, comments, contexts and
    points, and alerts. Moments are in UTC.

    Example: headrace sql --kpis "SELECT start, topic, value FROM kpis WHERE kpi = 'bad_share' AND grouping = 'topic'"
    """
    settings, demand = load(), demanded(max_age, min_position, source, wait)
    ask = Kpis.of(settings).sql if kpis else LiveTables.of(settings).sql
    try:
        with interruptible():
            answer = ask(statement, rows=limit, seconds=seconds, demand=demand)
    except RejectedError as error:
        raise RejectedError(error.detail, _remedy(error, seconds, kpis)) from None
    if as_json:
        for row in answer.rows:
            typer.echo(json_text(dict(zip(answer.columns, row, strict=True))))
        return
    from rich.markup import escape

    # What the row is comes before where it is from.
    order = sorted(range(len(answer.columns)), key=lambda number: answer.columns[number] in PROVENANCE)
    lines = [[escape(shown(row[number])) for number in order] for row in answer.rows]
    _draw([escape(answer.columns[number]) for number in order], lines)
    typer.echo(f"{_count(len(answer.rows))}{f'; there are more: --limit {limit * 10}' if answer.cut else ''}")


def _remedy(error: RejectedError, seconds: float, kpis: bool) -> str:
    """Return what to do about a statement that could not be run, as the store itself does not know the options."""
    if "took longer than" in error.detail:
        return f"give it more time, such as --seconds {math.ceil(seconds * 4)}, or ask for less"
    if "Permission Error" in error.detail:
        return f"only this store can be read, no file and no other database; there are: {FEEDBACK_TABLES}"
    missing = _NO_TABLE.search(error.detail)
    if missing and not kpis and missing[1].lower() in FEEDBACK_TABLES.split(", "):
        return f"{missing[1]!r} is of feedback: ask with --kpis"
    return error.hint


def demanded(max_age: str | None, min_position: str | None, source: str, wait: str) -> Demand:
    """Read the options that say how fresh an answer must be.

    :raises HeadraceError: When one of them cannot be read.
    """
    try:
        position = () if min_position is None else parse_position(min_position)
    except ValueError:
        detail = f"{min_position!r} is not a position"
        raise HeadraceError(detail, "take one that `headrace table` shows, or an LSN such as 0/16B3748") from None
    return Demand(None if max_age is None else millis(max_age), source, position, millis(wait) / 1000)


def millis(text: str) -> int:
    """Read a time span such as `500ms`, `5s`, `2min`, `1.5h`; without a unit it is in seconds.

    :raises HeadraceError: When it is none.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        detail = f"{text!r} is not a time span"
        raise HeadraceError(detail, "write a number and ms, s, min, h or d")
    return round(float(found[1]) * _UNITS[found[2]])


def _list(tables: LiveTables, as_json: bool) -> None:
    counts, now = tables.reader.counts(), system_clock()
    names = [*tables.names(), *(name for name in counts if name not in tables.names())]
    if as_json:
        for name in names:
            live, held, newest = counts.get(name, (0, 0, None))
            typer.echo(
                json_text(
                    {"table": name, "rows": live, "held": held, "newest": None if newest is None else to_iso(newest)}
                )
            )
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table("live table", "rows", "deletes held", "newest change", box=None, header_style="bold")
    for name in names:
        live, held, newest = counts.get(name, (0, 0, None))
        changed = "never" if newest is None else f"{span(max(0, now - newest))} ago"
        drawn.add_row(name, str(live + held), str(held or ""), changed)
    Console().print(drawn)


def _schema(tables: LiveTables, name: str, as_json: bool) -> None:
    columns = tables.schema(name)
    if as_json:
        for column in columns:
            seen = {kind.kind: {"first": to_iso(kind.first), "last": to_iso(kind.last)} for kind in column.seen}
            absent = None if column.absent_since is None else to_iso(column.absent_since)
            typer.echo(json_text({"column": column.column, "kind": column.kind, "seen": seen, "absent_since": absent}))
        return
    from rich.markup import escape

    lines = []
    for column in columns:
        kinds = ", ".join(f"{kind.kind} from {_moment(kind.first)}" for kind in column.seen)
        last = _moment(column.last) + ("" if column.absent_since is None else " [yellow]absent since[/]")
        lines.append([escape(column.column), column.kind, _moment(column.first), last, kinds])
    _draw(["column", "kind", "first seen", "last seen", "as"], lines)


def _moment(millis: int) -> str:
    return to_iso(millis)[:19].replace("T", " ")


def _print_json(found: list[LiveRow]) -> None:
    now = system_clock()
    for row in found:
        typer.echo(json_text(rendered(row, now)))


def _print_rows(found: list[LiveRow], columns: list[str], limit: int) -> None:
    from rich.markup import escape

    if not columns:
        columns = list(dict.fromkeys(column for row in found for column in (*row.key, *(row.row or {}))))
    now = system_clock()
    lines = []
    for row in found:
        cells = [_cell(row, column) for column in columns]
        if row.unknown_since is not None:
            age = f"[yellow]unknown since {span(max(0, now - row.unknown_since))}[/]"
        else:
            age = span(max(0, now - row.as_of)) + (" [yellow]delete held[/]" if row.held else "")
        lines.append([*cells, age, position_text(row.position)])
    _draw([*map(escape, columns), "age", "position"], lines)
    more = f"; there may be more: --limit {limit * 10}" if len(found) == limit else ""
    typer.echo(f"{_count(len(found))}{more}")


def _count(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"


def _cell(row: LiveRow, column: str) -> str:
    from rich.markup import escape

    image = row.key if row.unknown_since is not None else row.row or {}
    if column in row.unknown or (row.unknown_since is not None and column not in row.key):
        return "[dim]?[/]"
    return escape(shown(image.get(column)))


def _draw(columns: list[str], lines: list[list[str]]) -> None:
    """Draw lines under each other where they fit the terminal, else each as a list of its columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200)
    widths = [max(Text.from_markup(cell).cell_len for cell in cells) for cells in zip(columns, *lines, strict=True)]
    if not lines or sum(widths) + 2 * len(widths) <= console.width:
        drawn = Table(*columns, box=None, header_style="bold", padding=(0, 2, 0, 0))
        for line in lines:
            drawn.add_row(*line)
        console.print(drawn)
        return
    for number, line in enumerate(lines, 1):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", max_width=max(12, console.width // 3))
        grid.add_column(overflow="fold")
        for column, cell in zip(columns, line, strict=True):
            grid.add_row(column, cell)
        console.rule(f"row {number}", align="left", style="dim")
        console.print(grid)
