"""Commands that show where things stand: freshness of every source, dead letters, the settings."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from events.changes import position_text
from events.clock import system_clock, to_iso
from serving.lake import LakeStatus, lake_status
from serving.printable import counted
from stores.settings import load


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(status)
    app.command()(settings)


def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show how fresh everything is, source by source, and what could not be processed.

    "complete" says when a source was last seen to hold nothing that is not in the store yet.
    """
    from stores.dead_letters import DeadLetters
    from stores.kpis.reader import KpiReader
    from stores.profiles.choose import open_profile_reader
    from stores.rows.choose import open_row_reader
    from stores.vectors.lance_reader import LanceReader

    configured = load()
    reader = LanceReader(configured.vectors_dir)
    rows, profiles = open_row_reader(configured), open_profile_reader(configured)
    feedback, lake = KpiReader(configured.kpis_path), lake_status(configured)
    documents = list(reader.documents())
    marks = [
        (flow, mark)
        for flow, applied in (
            ("knowledge", reader.applied()),
            ("tables", rows.applied()),
            ("profiles", profiles.applied()),
            ("feedback", feedback.applied()),
            ("lake", lake.working.applied),
        )
        for mark in sorted(applied, key=lambda mark: (mark.source, mark.partition))
    ]
    records, persons = profiles.totals()
    seen = {
        "marks": marks,
        "documents": len(documents),
        "pieces": sum(len(document.chunk_ids) for document in documents),
        "tables": rows.counts(),
        "records": records,
        "persons": persons,
        "feedback": feedback.counts(),
        "too_late": sum(count for _, _, count in feedback.late()),
        "lake": lake,
        "dead_letters": DeadLetters(configured.dead_letters_path, system_clock).counts(),
    }
    if as_json:
        _print_json(seen)
    else:
        _print_tables(seen, str(configured.data_dir.resolve()))


def _print_json(seen: dict[str, Any]) -> None:
    applied = [
        {
            "flow": flow,
            "source": mark.source,
            "partition": mark.partition,
            "offset": mark.offset,
            "event_time": None if mark.event_time is None else to_iso(mark.event_time),
            "read_at": to_iso(mark.read_at),
            "caught_up": mark.caught_up,
            "applied_at": to_iso(mark.applied_at),
            "positions": {source: position_text(position) for source, position in mark.positions.items()},
        }
        for flow, mark in seen["marks"]
    ]
    tables = {
        name: {"rows": live, "held": held, "newest": None if newest is None else to_iso(newest)}
        for name, (live, held, newest) in seen["tables"].items()
    }
    counts = {
        key: seen[key] for key in ("documents", "pieces", "persons", "records", "feedback", "too_late", "dead_letters")
    }
    # Its marks are among the others.
    lake = {key: value for key, value in seen["lake"].as_json().items() if key != "applied"}
    typer.echo(json.dumps({**counts, "tables": tables, "lake": lake, "applied": applied}))


def _print_tables(seen: dict[str, Any], data: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from serving.render import span

    now = system_clock()
    console = Console()
    drawn = Table("flow", "source", "partition", "offset", "newest change", "complete", box=None, header_style="bold")
    for flow, mark in seen["marks"]:
        newest = "never" if mark.event_time is None else f"{span(max(0, now - mark.event_time))} ago"
        complete = f"{span(max(0, now - mark.read_at))} ago" if mark.caught_up else "[yellow]reading[/]"
        drawn.add_row(flow, mark.source, mark.partition, str(mark.offset), newest, complete)
    console.print(drawn)
    for name, (live, held, newest) in seen["tables"].items():
        waiting = f", [yellow]{held} of them with held deletes: `headrace held list`[/]" if held else ""
        age = "" if newest is None else f", newest change {span(max(0, now - newest))} ago"
        console.print(f"live table [bold]{name}[/]: {live + held} rows{waiting}{age}")
    letters = ", ".join(f"{count} in {flow}" for flow, count in seen["dead_letters"].items()) or "none"
    console.print(f"{seen['persons']} persons of {seen['records']} records")
    if seen["feedback"]:
        console.print(_feedback(seen["feedback"], seen["too_late"]))
    if seen["lake"].lake.rows or seen["lake"].working.kept:
        console.print(_lake(seen["lake"], now))
    console.print(f"{seen['documents']} documents, {seen['pieces']} pieces; dead letters waiting: {letters}")
    console.print(f"[dim]data in {data}[/]")


def _feedback(counts: dict[str, int], too_late: int) -> str:
    facts = ", ".join(
        counted(count, kind.removesuffix("s"), kind)
        for kind, count in counts.items()
        if kind not in {"kpis", "alerts"} and count
    )
    stand = counted(counts["alerts"], "alert stands", "alerts stand")
    standing = f"[yellow]{stand}: `headrace alerts`[/]" if counts["alerts"] else "no alert stands"
    late = f"; [yellow]{counted(too_late, 'event', 'events')} came after the horizon[/]" if too_late else ""
    values = counted(counts["kpis"], "value of a KPI", "values of KPIs")
    return f"feedback: {facts or 'no facts'}; {values}; {standing}{late}"


def _lake(found: LakeStatus, now: int) -> str:
    from serving.render import span

    committed = found.lake.committed_at
    written = "not written yet" if committed is None else f"written {span(max(0, now - committed))} ago"
    amendable = f"{found.working.kept:,} of them may still be amended" if found.working.kept else "none can be amended"
    waiting = f", [yellow]{found.working.waiting:,} wait for a turn[/]" if found.working.waiting else ""
    return f"lake: {counted(found.lake.rows, 'conversation', 'conversations')}, {written}; {amendable}{waiting}"


def settings() -> None:
    """List every setting with its value, its variable and what it is for."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    configured = load()
    table = Table("setting", "value", "what it is for", box=None, header_style="bold")
    for key, value, description in _flatten(configured, ""):
        table.add_row(key, escape(value), description)
    console = Console()
    console.print(table)
    console.print("\nIn headrace.toml, or by variable: [bold]embedding.threads[/] is HEADRACE_EMBEDDING__THREADS.")


def _flatten(section: Any, prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if hasattr(type(value), "model_fields"):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            shown = json.dumps(
                value, default=lambda v: v.model_dump(mode="json") if hasattr(v, "model_dump") else str(v)
            )
            rows.append((prefix + name, shown, field.description or ""))
    return rows
