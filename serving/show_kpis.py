"""KPIs and alerts on a terminal: tables with sparklines, within its width, values being no commands to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from events.clock import system_clock
from serving.kpis import Kpis, Line, Series
from serving.printable import moment, printable, shown
from serving.render import span
from serving.sparklines import sparkline
from stores.kpis.reader import StoredAlert, StoredValue

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

NO_STREAMS = "no streams of feedback: name them as [[feedback.streams]] in headrace.toml, then `headrace run feedback`"
NO_FACTS = "no facts yet: `headrace run feedback` reads them"
_STAGES = {"early": "[dim]early[/]", "final": "final", "corrected": "[yellow]corrected[/]"}
_SEVERITIES = {"critical": "[bold red]critical[/]", "warning": "[yellow]warning[/]", "info": "[cyan]info[/]"}
_COLOURS = {1: "green", -1: "red"}
_ARROWS = {1: "▲", 0: " ", -1: "▼"}
_LONGEST = 40
_WHOLE = 1000
_SHORTEST_LINE = 8
_SPARE_LINE = 2
_GAP = 2


class _Column(NamedTuple):
    """A column of a table.

    :arg cells: Markup.
    :arg spare: The higher, the earlier it is left out where the terminal is narrow; 0: never.
    """

    head: str
    cells: list[str]
    spare: int = 0
    right: bool = False


def overview(kpis: Kpis, window: str, last: int) -> RenderableType:
    """Draw the newest value of each KPI, with its recent past."""
    from rich.console import Group
    from rich.text import Text

    lines = kpis.overview(window, last)
    there = [line.series for line in lines]
    columns = [
        _Column("KPI", [_named(line) for line in lines]),
        _Column("window", [line.window for line in lines], spare=3),
        _Column("begins", [moment(one.newest.start)[5:16] if one else "" for one in there], spare=4),
        _Column("value", [_valued(kpis, one) if one else "-  " for one in there], right=True),
        _Column("", [_STAGES[one.newest.stage] if one else "[dim]no values[/]" for one in there], spare=1),
    ]
    drawn = _fitted(columns, [one.past if one else () for one in there], last)
    if any(there) or not (kpis.lacks_streams() or kpis.is_empty()):
        return drawn
    note = Text(NO_STREAMS if kpis.lacks_streams() else NO_FACTS)
    return Group(drawn, note) if lines else note


def groups(kpis: Kpis, found: list[Series]) -> RenderableType:
    """Draw a line for each group of a KPI."""
    from rich.console import Group
    from rich.text import Text

    if not found:
        return Text("no values in these windows")
    newest = [series.newest for series in found]
    columns = [
        *_fields(newest),
        _Column("value", [_valued(kpis, series) for series in found], right=True),
        *_counts(newest),
        _Column("", [_STAGES[value.stage] for value in newest], spare=1),
    ]
    drawn = _fitted(columns, [series.past for series in found], max(len(series.past) for series in found))
    first = newest[0]
    head = f"[bold]{_short(first.kpi)}[/] in windows of {first.window}, the newest of {moment(first.start)} UTC"
    return Group(Text.from_markup(head), drawn)


def windows(kpis: Kpis, values: list[StoredValue]) -> RenderableType:
    """Draw a line for each window of a KPI, and the comments that the newest one names."""
    from rich.console import Group
    from rich.text import Text

    if not values:
        return Text("no values in these windows")
    # A KPI that has no total shows a line for each of its groups.
    columns = [
        _Column("begins (UTC)", [moment(value.start) for value in values]),
        *_fields(values),
        _Column("value", [kpis.written(value) for value in values], right=True),
        *_counts(values),
        _Column("", [_STAGES[value.stage] for value in values], spare=1),
    ]
    newest = values[-1]
    line = sparkline([value.value for value in values]) if len({value.group for value in values}) == 1 else ""
    head = f"[bold]{_short(newest.kpi)}[/] in windows of {newest.window}  {line}"
    texts = kpis.reader.texts(newest.examples)
    named = [Text(f"  “{printable(texts[id_])[:200]}”") for id_ in newest.examples if id_ in texts]
    heading = [Text.from_markup("[bold]of the newest window[/]")] if named else []
    return Group(Text.from_markup(head), _fitted(columns), *heading, *named)


def _fields(values: list[StoredValue]) -> list[_Column]:
    return [
        _Column(_short(field), [_short(value.group[place][1] or "(unknown)", 24) for value in values])
        for place, (field, _) in enumerate(values[0].group)
    ]


def _counts(values: list[StoredValue]) -> list[_Column]:
    return [
        _Column("count", [f"{value.count:,}" for value in values], spare=2, right=True),
        _Column("late", [f"{value.late:,}" if value.late else "" for value in values], spare=4, right=True),
    ]


def _fitted(columns: list[_Column], pasts: Sequence[Sequence[float | None]] = (), last: int = 0) -> Table:
    """Draw what the terminal has room for, none of it cut: sparklines are shorter, then columns are left out.

    :arg pasts: What sparklines are of, which stand before the last column; none: no sparklines.
    :arg last: How long they are at most.
    """
    from rich.table import Table

    width = console_of_terminal().width
    least = min(last, _SHORTEST_LINE)
    spares = sorted({column.spare for column in columns} | ({_SPARE_LINE} if pasts else set()), reverse=True)
    while spares and spares[0] and _taken(columns) + (least + _GAP if pasts else 0) > width:
        spare = spares.pop(0)
        columns = [column for column in columns if column.spare != spare]
        pasts = () if spare == _SPARE_LINE else pasts
    drawn = Table(box=None, header_style="bold", padding=(0, _GAP, 0, 0), pad_edge=False)
    cells = [column.cells for column in columns]
    heads = [(column.head, column.right) for column in columns]
    if pasts:
        room = max(least, min(last, width - _taken(columns) - _GAP))
        place = len(columns) - (columns[-1].head == "")
        cells.insert(place, [sparkline(past, room) for past in pasts])
        heads.insert(place, ("", False))
    for head, right in heads:
        drawn.add_column(head, overflow="fold", justify="right" if right else "left")
    for row in zip(*cells, strict=True):
        drawn.add_row(*row)
    return drawn


def _taken(columns: list[_Column]) -> int:
    """Return how many columns of the terminal a table takes."""
    from rich.text import Text

    widths = [max(Text.from_markup(cell).cell_len for cell in (one.head, *one.cells)) for one in columns]
    return sum(widths) + _GAP * (len(widths) - 1)


def _named(line: Line) -> str:
    if line.series is None:
        return _short(line.kpi, _WHOLE)
    of = f" ({line.groups:,} groups)" if line.groups > 1 else ""
    return f"{_short(line.kpi, _WHOLE)}{_short(_group(line.series.newest), 16)}{of}"


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
