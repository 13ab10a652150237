"""KPIs and alerts on a terminal: tables with sparklines, within its width, values being no commands to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from events.clock import system_clock
from serving.kpis import Kpis, Series
from serving.printable import moment, printable, shown
from serving.render import span
from serving.sparklines import sparkline
from stores.kpis.reader import StoredAlert, StoredValue

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EMPTY = (
    "no KPIs yet: name the streams of feedback as [[feedback.streams]] in headrace.toml, then `headrace run feedback`"
)
_STAGES = {"early": "[dim]early[/]", "final": "final", "corrected": "[yellow]corrected[/]"}
_SEVERITIES = {"critical": "[bold red]critical[/]", "warning": "[yellow]warning[/]", "info": "[cyan]info[/]"}
_COLOURS = {1: "green", -1: "red"}
_ARROWS = {1: "▲", 0: " ", -1: "▼"}
_LONGEST = 40


def overview(kpis: Kpis, window: str, last: int) -> RenderableType:
    """Draw the newest value of each KPI, with its recent past."""
    from rich.table import Table
    from rich.text import Text

    found = kpis.overview(window, last)
    if not found:
        return Text(EMPTY)
    rows = [
        [
            _short(series.newest.kpi + _group(series.newest), 20),
            series.newest.window,
            moment(series.newest.start)[5:16],
            _valued(kpis, series),
            _STAGES[series.newest.stage],
        ]
        for series in found
    ]
    drawn = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    head = ["KPI", "window", "begins", "value"]
    for column in head:
        drawn.add_column(column, no_wrap=True, justify="right" if column == "value" else "left")
    drawn.add_column("", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    room = _room([head, *rows])
    for series, row in zip(found, rows, strict=True):
        drawn.add_row(*row[:-1], sparkline(series.past, min(room, last)), row[-1])
    return drawn


def groups(kpis: Kpis, found: list[Series]) -> RenderableType:
    """Draw a line for each group of a KPI."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if not found:
        return Text("no values in these windows")
    fields = [field for field, _ in found[0].newest.group]
    drawn = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for field in fields:
        drawn.add_column(_short(field), no_wrap=True)
    for column in ("value", "count", "late"):
        drawn.add_column(column, justify="right", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    rows = [
        [
            *(_short(value or "(unknown)", 24) for _, value in series.newest.group),
            _valued(kpis, series),
            f"{series.newest.count:,}",
            f"{series.newest.late:,}" if series.newest.late else "",
            _STAGES[series.newest.stage],
        ]
        for series in found
    ]
    room = _room([[*fields, "value", "count", "late"], *rows])
    for series, row in zip(found, rows, strict=True):
        drawn.add_row(*row[:-1], sparkline(series.past, room), row[-1])
    newest = found[0].newest
    head = f"[bold]{_short(newest.kpi)}[/] in windows of {newest.window}, the newest of {moment(newest.start)} UTC"
    return Group(Text.from_markup(head), drawn)


def windows(kpis: Kpis, values: list[StoredValue]) -> RenderableType:
    """Draw a line for each window of a KPI, and the comments that the newest one names."""
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


def _room(rows: list[list[str]]) -> int:
    """Return how many columns of the terminal are left beside these cells, each with its margin."""
    from itertools import zip_longest

    from rich.text import Text

    widths = [max(Text.from_markup(cell).cell_len for cell in cells) for cells in zip_longest(*rows, fillvalue="")]
    return max(8, console_of_terminal().width - sum(widths) - 2 * (len(widths) + 1))


def _group(value: StoredValue) -> str:
    return "".join(f" {text or '(unknown)'}" for _, text in value.group)


def _valued(kpis: Kpis, series: Series) -> str:
    colour = _COLOURS.get(kpis.goodness(series))
    text = f"{kpis.written(series.newest)} {_ARROWS[series.trend]}"
    return f"[{colour}]{text}[/]" if colour else text


def _short(text: str, longest: int = _LONGEST) -> str:
    from rich.markup import escape

    text = shown(text)
    return escape(text if len(text) <= longest else f"{text[: longest - 1]}…")


def print_alert(stored: StoredAlert) -> None:
    """Print one alert: what it is, since when, and where to look."""
    from rich.markup import escape
    from rich.padding import Padding

    alert, console = stored.alert, console_of_terminal()
    since = alert.since or alert.event_time
    ago = span(max(0, system_clock() - since))
    state = "[green]over[/]" if alert.state == "over" else _SEVERITIES[alert.severity]
    console.print(f"{state} [bold]{escape(shown(alert.rule or alert.kind))}[/] since {moment(since)} UTC ({ago} ago)")
    lines = [escape(printable(alert.text))]
    if alert.documents:
        lines.append("[bold]documents[/] " + ", ".join(escape(printable(document)) for document in alert.documents))
    for line in lines:
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
    if alert.rows:
        # On one line, however long: it is there to be copied.
        quoted = printable(alert.rows).replace('"', '\\"')
        console.print(f'  headrace sql --kpis "{quoted}"', markup=False, highlight=False, soft_wrap=True)


def console_of_terminal() -> Console:
    """Return the terminal; no colours where it is none."""
    from rich.console import Console

    return Console(highlight=False)
