"""Commands that show KPIs and alerts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from events.errors import HeadraceError
from serving.kpis import Kpis, alert_json, interruptible, value_json
from serving.printable import json_text
from serving.show_kpis import console_of_terminal, groups, overview, print_alert, windows
from stores.kpis.reader import KpiReader, StoredAlert
from stores.settings import load

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_SECONDS = 1.0
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON Lines for other programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(kpi)
    app.command()(alerts)


def kpi(
    name: Annotated[str, typer.Argument(help="A KPI; without it all are shown.")] = "",
    by: Annotated[str, typer.Option(help="Show its groups by this field; several with commas between.")] = "",
    where: Annotated[
        list[str] | None, typer.Option("--where", "-w", metavar="FIELD=VALUE", help="Only of this group; repeat.")
    ] = None,
    window: Annotated[str, typer.Option(help="Which windows, such as 1m or 1h; default: the shortest.")] = "",
    last: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="How many windows back; default: 20, drawn 30.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again each second until interrupted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what KPIs are, window by window: early, final, or corrected by what came late.

    Example: headrace kpi bad_share --by topic --window 1m --last 60
    """
    kpis = Kpis.of(load())
    fields = tuple(field.strip() for field in by.split(",") if field.strip())
    if not name and (fields or where):
        detail = "it is not clear of which KPI"
        raise HeadraceError(detail, "name one; `headrace kpi` shows all")
    conditions = dict(_condition(text) for text in where or [])

    def show() -> None:
        if as_json:
            _print_json(kpis, name, window, fields, conditions, last)
        else:
            console_of_terminal().print(draw())

    def draw() -> RenderableType:
        if not name:
            return overview(kpis, window, last or 30)
        if fields:
            return groups(kpis, kpis.series(name, window=window, by=fields, where=conditions, last=last or 30))
        return windows(kpis, kpis.values(name, window=window, where=conditions, last=last or 20))

    with interruptible():
        if watch:
            _watch(show if as_json else None, draw)
        else:
            show()


def alerts(
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing those that come.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show alerts: what is abnormal, since when, what was expected, and the documents and rows behind it.

    Example: headrace alerts --follow
    """
    reader = KpiReader(load().kpis_path)
    seen: dict[str, tuple[str, int]] = {}

    def show() -> int:
        # Whatever has changed since the last look, oldest first.
        found = reader.alerts(over=every or bool(seen) or follow, limit=limit)
        changed = [stored for stored in reversed(found) if seen.get(stored.alert.id) != _version(stored)]
        if not seen and follow and not every:
            changed = [stored for stored in changed if stored.alert.state == "raised"]
        seen.update((stored.alert.id, _version(stored)) for stored in found)
        for stored in changed:
            if as_json:
                typer.echo(json_text(alert_json(stored)))
            else:
                print_alert(stored)
        return len(changed)

    with interruptible():
        if not show() and not as_json and not follow:
            typer.echo("no alerts" if every else "no alerts stand; `headrace alerts --all` shows those that are over")
        while follow:
            time.sleep(WATCH_SECONDS)
            show()


def _version(stored: StoredAlert) -> tuple[str, int]:
    return stored.alert.state, stored.updated_at


def _condition(text: str) -> tuple[str, str]:
    field, sign, value = text.partition("=")
    if not sign or not field.strip():
        detail = f"{text!r} is not a condition"
        raise HeadraceError(detail, "write FIELD=VALUE, such as topic=refund")
    return field.strip(), value.strip()


def _watch(show: Callable[[], None] | None, draw: Callable[[], RenderableType]) -> None:
    console = console_of_terminal()
    if show is not None or not console.is_terminal:
        while True:
            if show is not None:
                show()
            else:
                console.print(draw())
            sys.stdout.flush()
            time.sleep(WATCH_SECONDS)
    from rich.live import Live

    with Live(draw(), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            live.update(draw(), refresh=True)


def _print_json(
    kpis: Kpis, name: str, window: str, fields: tuple[str, ...], conditions: dict[str, str], last: int | None
) -> None:
    if name:
        found = kpis.values(name, window=window, by=fields, where=conditions, last=last or 20)
    else:
        found = [line.series.newest for line in kpis.overview(window, last or 30) if line.series is not None]
    for value in found:
        typer.echo(json_text(value_json(value)))
