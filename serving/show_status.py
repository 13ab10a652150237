"""How the overview looks on a terminal: what is not as it should be is told in colour and in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from events.clock import to_iso, to_millis
from serving.cluster.health import ClusterHealth
from serving.overview import Overview, SourceState
from serving.printable import counted, printable
from serving.render import span
from serving.supervise.health import Health

_LONGEST_POSITION = 40


def shown(
    seen: Overview, up: Health | None, data: str, *, clusters: Sequence[ClusterHealth] = (), rates: bool = False
) -> RenderableType:
    """Draw everything.

    :arg up: What `headrace up` runs, if it does.
    :arg data: The data folder.
    :arg clusters: Flows that run in several processes.
    :arg rates: Also how many events a second are taken in; known only to those who look several times.
    """
    lines = [*_tables(seen), *_persons(seen), *_feedback(seen), *_lake(seen), _documents(seen)]
    lines += [f"[red]{escape(name)} cannot be read: {escape(why)}[/]" for name, why in seen.unavailable.items()]
    lines += _supervised(up, seen.at)
    lines += [_cluster(cluster, seen.at) for cluster in clusters]
    lines.append(f"[dim]data in {escape(data)}[/]")
    sources = _sources(seen, rates=rates)
    if not sources.row_count:
        nothing = Text("nothing is configured here: name folders and streams in headrace.toml", "yellow")
        return Group(nothing, *(Text.from_markup(line) for line in lines))
    return Group(sources, *(Text.from_markup(line) for line in lines))


def _sources(seen: Overview, *, rates: bool) -> Table:
    columns = ["flow", "source", "state", "lag", "objective", "newest change", "position", "backlog"]
    if rates:
        columns.append("rate")
    drawn = Table(*columns, "dead letters", box=None, header_style="bold")
    told: set[str] = set()
    for source in seen.sources:
        letters = seen.dead_letters.get(source.flow, 0) if source.flow not in told else None
        told.add(source.flow)
        cells = [
            source.flow,
            source.source,
            _state(source),
            "[dim]not known[/]" if source.lag is None else span(source.lag),
            f"[dim]{span(source.objective)}[/]",
            "never" if source.newest is None else f"{span(max(0, seen.at - source.newest))} ago",
            _positions(source.positions),
            "[dim]not known[/]" if source.backlog is None else "none" if not source.backlog else f"{source.backlog:,}",
        ]
        if rates:
            cells.append("" if source.rate is None else f"{source.rate:,.1f} /s")
        cells.append("" if letters is None else f"[yellow]{letters:,}[/]" if letters else "none")
        drawn.add_row(*cells)
    for flow in sorted(seen.wanted - {source.flow for source in seen.sources}):
        drawn.add_row(flow, "", "[yellow]not running[/]" if flow not in seen.running else "runs")
    return drawn


def _state(source: SourceState) -> str:
    if not source.configured:
        return "[yellow]not in the settings any more[/]"
    if not source.partitions and not source.read:
        return "nothing on the log yet" if source.running else "[yellow]not running[/], nothing on the log"
    if not source.running:
        return "[red]not running[/]" if source.met is False else "[yellow]not running[/]"
    if source.met is None:
        return "[yellow]reading[/]" if source.read else "[yellow]never read[/]"
    reading = "" if source.caught_up else ", reading"
    return f"[green]on time[/]{reading}" if source.met else f"[red]behind[/]{reading}"


def _positions(positions: dict[str, str]) -> str:
    if len(positions) == 1:
        (text,) = positions.values()
    else:
        text = ", ".join(f"{database} {position}" for database, position in positions.items())
    return escape(printable(text if len(text) <= _LONGEST_POSITION else f"{text[:_LONGEST_POSITION]}…"))


def _tables(seen: Overview) -> list[str]:
    lines = []
    for name, table in seen.stores.get("tables", {}).items():
        held = table["held"]
        waiting = f", [yellow]{held} of them with held deletes: `headrace held list`[/]" if held else ""
        newest = "" if table["newest"] is None else f", newest change {_ago(table['newest'], seen.at)}"
        lines.append(f"live table [bold]{escape(name)}[/]: {table['rows'] + held:,} rows{waiting}{newest}")
    return lines


def _ago(moment: str, now: int) -> str:
    then = to_millis(datetime.fromisoformat(moment.replace("Z", "+00:00")))
    return f"{span(max(0, now - then))} ago"


def _persons(seen: Overview) -> list[str]:
    if "persons" not in seen.stores:
        return []
    persons = counted(seen.stores["persons"], "person", "persons")
    return [f"{persons} of {counted(seen.stores['records'], 'record', 'records')}"]


def _feedback(seen: Overview) -> list[str]:
    counts, too_late = seen.stores.get("feedback") or {}, seen.stores.get("too_late", 0)
    if not counts:
        return []
    facts = ", ".join(
        counted(count, kind.removesuffix("s"), kind)
        for kind, count in counts.items()
        if kind not in {"kpis", "alerts"} and count
    )
    stand = counted(counts["alerts"], "alert stands", "alerts stand")
    standing = f"[yellow]{stand}: `headrace alerts`[/]" if counts["alerts"] else "no alert stands"
    late = f"; [yellow]{counted(too_late, 'event', 'events')} came after the horizon[/]" if too_late else ""
    values = counted(counts["kpis"], "value of a KPI", "values of KPIs")
    return [f"feedback: {facts or 'no facts'}; {values}; {standing}{late}"]


def _lake(seen: Overview) -> list[str]:
    lake = seen.stores.get("lake")
    if lake is None or not (lake["rows"] or lake["kept"]):
        return []
    written = "not written yet" if lake["committed_at"] is None else f"written {_ago(lake['committed_at'], seen.at)}"
    amendable = f"{lake['kept']:,} of them may still be amended" if lake["kept"] else "none can be amended"
    waiting = f", [yellow]{lake['waiting']:,} wait for a turn[/]" if lake["waiting"] else ""
    out = counted(lake["left_out"], "event was", "events were")
    left_out = f"; [yellow]{out} left out, as their conversations had no room[/]" if lake["left_out"] else ""
    return [
        f"lake: {counted(lake['rows'], 'conversation', 'conversations')}, {written}; {amendable}{waiting}{left_out}"
    ]


def _documents(seen: Overview) -> str:
    letters = ", ".join(f"{count} in {flow}" for flow, count in seen.dead_letters.items()) or "none"
    documents, pieces = seen.stores.get("documents"), seen.stores.get("pieces")
    held = "documents not known" if documents is None else f"{documents} documents, {pieces} pieces"
    return f"{held}; dead letters waiting: {letters}"


def _supervised(up: Health | None, now: int) -> list[str]:
    if up is None:
        return []
    lines = [f"`headrace up` runs since {span(max(0, now - up.since))}, process {up.pid}"]
    for name, process in up.processes.items():
        again = f"{name} was started again {counted(process.restarts, 'time', 'times')}"
        said = f": {escape(printable(process.said))}" if process.said else ""
        if process.state == "given up":
            lines.append(f"[red]{name} was given up at {to_iso(process.since)}{said}[/]")
        elif process.state == "waiting":
            lines.append(f"[yellow]{again}, and waits to be so{said}[/]")
        elif process.restarts:
            lines.append(f"[yellow]{again}, last {span(max(0, now - process.since))} ago[/]")
    return lines


def _cluster(cluster: ClusterHealth, now: int) -> str:
    several = f"{cluster.flow} runs in {len(cluster.processes)} processes"
    if cluster.state == "stuck":
        return f"[red]{several}, but nothing was finished for {span(max(0, now - cluster.since))}: see logs/[/]"
    if not cluster.restarts and cluster.state == "running":
        return several
    again = f"all were started again {counted(cluster.restarts, 'time', 'times')}"
    error = f": {escape(printable(cluster.error))}" if cluster.error else ""
    if cluster.state == "waiting":
        return f"[yellow]{several}; {again}, and wait to be so{error}[/]"
    return f"[yellow]{several}; {again}, last {span(max(0, now - cluster.since))} ago{error}[/]"
