"""Dead letters on the command line: look at them, mend the cause, hand them back to their flow."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from events.clock import system_clock, to_iso
from events.errors import HeadraceError
from events.log import as_replay, replay_stream
from stores.dead_letters import DeadLetters, KeptLetter
from stores.settings import FLOWS, load

app = typer.Typer(
    help="Events that could not be processed: list them, see why, replay or discard them.", no_args_is_help=True
)

Flow = Annotated[str, typer.Option(help="Only of this flow.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids, or their beginnings.")]
All = Annotated[bool, typer.Option("--all", help="All that wait.")]


@app.command("list")
def list_(
    flow: Flow = "",
    replayed: Annotated[bool, typer.Option("--replayed", help="Also those already handed back.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")] = 50,
) -> None:
    """List what waits, oldest failure first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from serving.render import span

    table = Table("id", "flow", "event", "reason", "failed", box=None, header_style="bold")
    now = system_clock()
    store = _store()
    _check_flow(store, flow)
    # One more than is shown tells whether there are more.
    found = store.list(flow, replayed=replayed, limit=limit + 1)
    for kept in found[:limit]:
        record = kept.letter.record
        name = f"{record.stream}/{(record.key or b'').decode(errors='replace') or record.offset}"
        state = " (replayed)" if kept.replayed_at else ""
        reason = kept.letter.reason + state
        age = f"{span(max(0, now - kept.failed_at))} ago"
        table.add_row(kept.id, kept.letter.flow, escape(name), escape(reason), age)
    console = Console()
    console.print(table)
    waiting = sum(count for name, count in store.counts().items() if flow in ("", name))
    more = waiting - sum(kept.replayed_at is None for kept in found[:limit])
    left = f"{more} more of them" if more else "others, already handed back,"
    console.print(f"{waiting} dead letters wait" + (f"; {left} are shown by --limit" if len(found) > limit else ""))


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="ID", help="Id, or its beginning.")]) -> None:
    """Print one dead letter whole, the event's value last."""
    kept = _found(id_)
    letter, record = kept.letter, kept.letter.record
    typer.echo(f"id         {kept.id}\nflow       {letter.flow}\nstep       {letter.step}\nreason     {letter.reason}")
    typer.echo(f"stream     {record.stream}\npartition  {record.partition}\noffset     {record.offset}")
    typer.echo(f"key        {(record.key or b'').decode(errors='replace')}\nevent time {to_iso(record.event_time)}")
    typer.echo(f"failed at  {to_iso(kept.failed_at)}")
    if record.value is not None:
        typer.echo(record.value.decode(errors="backslashreplace"))


@app.command()
def replay(ids: Ids = None, everything: All = False, flow: Flow = "") -> None:
    """Hand dead letters back to their flow, after their cause is mended. One that fails again waits again.

    Older events do not overtake newer ones: an event that has been overtaken meanwhile has no effect, unless it was
    overtaken by a delete more than a week ago, which nobody remembers.
    """
    from stores.log.choose import open_log

    chosen = _chosen(ids, everything, flow)
    log = open_log(load())
    for kept in chosen:
        name, record = kept.letter.flow, kept.letter.record
        if name == "capture":
            # It never came onto the log: it goes where it was to go.
            log.append(record.stream, [record])
        else:
            log.append(replay_stream(name), [as_replay(record)])
    _store().mark_replayed(chosen)
    typer.echo(f"{len(chosen)} dead letters handed back")


@app.command()
def discard(ids: Ids = None, everything: All = False, flow: Flow = "") -> None:
    """Remove dead letters for good."""
    count = _store().discard([kept.id for kept in _chosen(ids, everything, flow)])
    typer.echo(f"{count} dead letters removed")


def _store() -> DeadLetters:
    return DeadLetters(load().dead_letters_path, system_clock)


def _check_flow(store: DeadLetters, flow: str) -> None:
    """Refuse a flow that is none, and of which nothing was ever kept."""
    if not flow or flow in FLOWS or store.list(flow, replayed=True, limit=1):
        return
    near = difflib.get_close_matches(flow, FLOWS, 1)
    detail = f"there is no flow {flow!r}"
    raise HeadraceError(detail, f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(FLOWS)}")


def _found(id_: str) -> KeptLetter:
    kept = _store().get(id_) if id_ else None
    if kept is None:
        detail = f"there is not exactly one dead letter whose id begins with {id_!r}"
        raise HeadraceError(detail, "`headrace dead-letters list` shows them")
    return kept


def _chosen(ids: list[str] | None, everything: bool, flow: str) -> list[KeptLetter]:
    if bool(ids) == (everything or bool(flow)):
        detail = "it is not clear which dead letters"
        raise HeadraceError(detail, "name ids, or give --all or --flow")
    if ids:
        return [_found(id_) for id_ in ids]
    store = _store()
    _check_flow(store, flow)
    return store.list(flow, limit=1_000_000)
