"""Commands of the lake of conversations: how it is, its upkeep, and its exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from events.clock import system_clock
from events.errors import HeadraceError
from serving.lake import lake_status
from serving.printable import counted, json_text
from serving.render import span
from stores.settings import Settings, load

if TYPE_CHECKING:
    from stores.lake.intake import LakeIntake

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
_KILO = 1024


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    lake = typer.Typer(help="The lake of conversations, with their feedback and the context that was shown.")
    for command in (status, compact, vacuum, export):
        lake.command()(command)
    app.add_typer(lake, name="lake")


def status(as_json: AsJson = False) -> None:
    """Show how large the lake is, how fresh, and what waits to go into it."""
    found = lake_status(load())
    if as_json:
        typer.echo(json_text(found.as_json()))
        return
    lake, working, now = found.lake, found.working, system_clock()
    written = "never" if lake.committed_at is None else f"{span(max(0, now - lake.committed_at))} ago"
    typer.echo(f"{counted(lake.rows, 'conversation', 'conversations')} in {found.folder}")
    if lake.rows:
        typer.echo(f"  days      {lake.first} to {lake.last}, {counted(lake.days, 'day', 'days')} with conversations")
        typer.echo(f"  files     {lake.files:,}, {_size(lake.size)}")
    typer.echo(f"  written   {written}, commit {lake.version:,}")
    typer.echo(f"  amendable {working.kept:,}: {working.waiting:,} wait for a turn, {working.dirty:,} for a commit")
    for mark in working.applied:
        age = "" if mark.event_time is None else f", newest event {span(max(0, now - mark.event_time))} old"
        reached = "all of it" if mark.caught_up else "catching up"
        typer.echo(f"  applied   {mark.source}/{mark.partition} up to {mark.offset:,}{age}, {reached}")


def compact() -> None:
    """Make few files of many small ones. The lake flow does so by itself; stop it first."""
    fewer = _with_writer(lambda lake: lake.compact())
    typer.echo(f"{counted(fewer, 'file', 'files')} fewer")


def vacuum() -> None:
    """Remove files that have been replaced, once readers had time to let go of them. Stop the lake flow first.

    How long they are kept is lake.retain_hours in the settings. The lake flow does so by itself about once an hour.
    """
    removed = _with_writer(lambda lake: lake.vacuum())
    typer.echo(f"{counted(removed, 'file', 'files')} removed")


def export(
    to: Annotated[Path, typer.Option("--to", help="The file to be written.")],
    form: Annotated[str, typer.Option("--format", help="parquet, json (JSON Lines) or avro.")] = "parquet",
    since: Annotated[str, typer.Option(help="Conversations that began then or later: a day, or a moment.")] = "",
    until: Annotated[str, typer.Option(help="Conversations that began before then.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the lake, or a span of time of it, to one file. The lake flow may run meanwhile.

    Example: headrace lake export --format avro --to november.avro --since 2026-11-01 --until 2026-12-01
    """
    from rich.console import Console
    from rich.progress import Progress

    from stores.lake.choose import open_lake_reader
    from stores.lake.export import FORMATS, millis_of
    from stores.lake.export import export as write
    from stores.lake.reader import opened

    if form not in FORMATS:
        detail = f"there is no format {form!r}"
        raise HeadraceError(detail, f"use one of {', '.join(FORMATS)}")
    begin, end = (millis_of(text) if text else None for text in (since, until))
    if begin is not None and end is not None and begin >= end:
        detail = f"nothing is from {since} on and before {until}"
        raise HeadraceError(detail, "give an --until that is after --since")
    settings = load()
    if opened(settings.lake_dir) is None:
        raise _no_lake(settings)
    reader = open_lake_reader(settings)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("export", total=reader.count() if begin is None and end is None else None)
        count = write(
            reader.rows(begin, end),
            to,
            form,
            force=force,
            progress=lambda rows: bar.update(task, completed=rows),
        )
    typer.echo(f"{counted(count, 'conversation', 'conversations')} written to {to}")


def _with_writer(work: Callable[[LakeIntake], int]) -> int:
    from operators.feedback.configure import objectives
    from stores.lake.choose import open_lake

    settings = load()
    if not settings.lake_dir.is_dir():
        raise _no_lake(settings)
    lake = open_lake(settings, system_clock, objectives(settings.feedback).of)
    try:
        return work(lake)
    finally:
        lake.close()


def _no_lake(settings: Settings) -> HeadraceError:
    return HeadraceError(f"there is no lake in {settings.lake_dir}", "`headrace run lake` makes it")


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _KILO:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= _KILO
    return f"{size:,.1f} TiB"
