"""Commands that show KPIs and alerts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from events.clock import system_clock
from events.errors import HeadraceError
from serving.kpis import Kpis, Series, alert_json, value_json
from serving.printable import json_text, moment, printable, shown
from serving.render import span
from serving.sparklines import sparkline
from stores.kpis.reader import KpiReader, StoredAlert, StoredValue
from stores.settings import load

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EMPTY = (
    "no KPIs yet: name the streams of feedback as [[feedback.streams]] in headrace.toml, then `headrace run feedback`"
)
WATCH_SECONDS = 1.0
_STAGES = {"early": "[dim]early[/]", "final": "final", "corrected": "[yellow]corrected[/]"}
_SEVERITIES = {"critical": "[bold red]critical[/]", "warning": "[yellow]warning[/]", "info": "[cyan]info[/]"}
_COLOURS = {1: "green", -1: "red"}
_ARROWS = {1: "▲", 0: " ", -1: "▼"}
_LONGEST = 40

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
            _console().print(draw())

    def draw() -> RenderableType:
        if not name:
            return _overview(kpis, window, last or 30)
        if fields:
            return _groups(kpis, kpis.series(name, window=window, by=fields, where=conditions, last=last or 30))
        return _windows(kpis, kpis.values(name, window=window, where=conditions, last=last or 20))

    if not watch:
        show()
        return
    _watch(show if as_json else None, draw)


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
                _print_alert(stored)
        return len(changed)

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
    console = _console()
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
        found = [series.newest for series in kpis.overview(window, last or 30)]
    for value in found:
        typer.echo(json_text(value_json(value)))


def _overview(kpis: Kpis, window: str, last: int) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    found = kpis.overview(window, last)
    if not found:
        return Text(EMPTY)
    room = max(8, _console().width - 66)
    drawn = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("KPI", "window", "begins (UTC)"):
        drawn.add_column(column, no_wrap=True)
    drawn.add_column("value", justify="right", no_wrap=True)
    drawn.add_column("", no_wrap=True, ratio=1)
    drawn.add_column("", no_wrap=True)
    for series in found:
        newest = series.newest
        group = "".join(f" {value or '(unknown)'}" for _, value in newest.group)
        drawn.add_row(
            _short(newest.kpi + group, 26),
            newest.window,
            moment(newest.start)[5:16],
            _valued(kpis, series),
            sparkline(series.past, min(room, last)),
            _STAGES[newest.stage],
        )
    return drawn


def _groups(kpis: Kpis, found: list[Series]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not found:
        return Text("no values in these windows")
    fields = [field for field, _ in found[0].newest.group]
    room = max(8, _console().width - 58 - 8 * (len(fields) - 1))
    drawn = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for field in fields:
        drawn.add_column(_short(field), no_wrap=True)
    for column in ("value", "count", "late"):
        drawn.add_column(column, justify="right", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    for series in found:
        newest = series.newest
        drawn.add_row(
            *(_short(value or "(unknown)", 24) for _, value in newest.group),
            _valued(kpis, series),
            f"{newest.count:,}",
            f"{newest.late:,}" if newest.late else "",
            sparkline(series.past, room),
            _STAGES[newest.stage],
        )
    newest = found[0].newest
    head = f"[bold]{_short(newest.kpi)}[/] in windows of {newest.window}, the newest of {moment(newest.start)} UTC"
    return Group(Text.from_markup(head), drawn)


def _windows(kpis: Kpis, values: list[StoredValue]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not values:
        return Text("no values in these windows")
    fields = [field for field, _ in values[0].group]
    # A KPI that has no total shows a line for each of its groups.
    drawn = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    drawn.add_column("begins (UTC)", no_wrap=True)
    for field in fields:
        drawn.add_column(_short(field), no_wrap=True)
    for column in ("value", "count", "late"):
        drawn.add_column(column, justify="right", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    for value in values:
        drawn.add_row(
            moment(value.start),
            *(_short(text or "(unknown)", 24) for _, text in value.group),
            kpis.written(value),
            f"{value.count:,}",
            f"{value.late:,}" if value.late else "",
            _STAGES[value.stage],
        )
    newest = values[-1]
    line = sparkline([value.value for value in values]) if len({value.group for value in values}) == 1 else ""
    head = f"[bold]{_short(newest.kpi)}[/] in windows of {newest.window}  {line}"
    texts = kpis.reader.texts(newest.examples)
    named = [Text(f"  “{printable(texts[id_])[:200]}”") for id_ in newest.examples if id_ in texts]
    heading = [Text.from_markup("[bold]of the newest window[/]")] if named else []
    return Group(Text.from_markup(head), drawn, *heading, *named)


def _valued(kpis: Kpis, series: Series) -> str:
    colour = _COLOURS.get(kpis.goodness(series))
    text = f"{kpis.written(series.newest)} {_ARROWS[series.trend]}"
    return f"[{colour}]{text}[/]" if colour else text


def _short(text: str, longest: int = _LONGEST) -> str:
    from rich.markup import escape

    text = shown(text)
    return escape(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _print_alert(stored: StoredAlert) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    alert, console = stored.alert, _console()
    since = alert.since or alert.event_time
    ago = span(max(0, system_clock() - since))
    state = "[green]over[/]" if alert.state == "over" else _SEVERITIES[alert.severity]
    console.print(f"{state} [bold]{escape(shown(alert.rule or alert.kind))}[/] since {moment(since)} UTC ({ago} ago)")
    lines = [escape(printable(alert.text))]
    if alert.documents:
        lines.append("[bold]documents[/] " + ", ".join(escape(printable(document)) for document in alert.documents))
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2)))
    if alert.rows:
        # On one line, however long: it is there to be copied.
        quoted = printable(alert.rows).replace('"', '\\"')
        console.print(f'  headrace sql --kpis "{quoted}"', markup=False, highlight=False, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)
