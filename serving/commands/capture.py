"""Captures on the command line: whether they can run, what they need set up, how far they are, how they end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from events.clock import system_clock, to_iso
from events.errors import HeadraceError, StoreError
from serving.runs import runs
from stores.capture.places import Place, Places
from stores.capture_settings import AnyTap, MysqlTapSettings, PostgresTapSettings
from stores.settings import Settings, load

if TYPE_CHECKING:
    from stores.capture.finding import Finding

_STEP = 1000

app = typer.Typer(
    help="What is captured from databases, streams and buckets onto the log: check it, set it up, see how far it is.",
    no_args_is_help=True,
)
_NOTHING = "headrace.toml has no [[capture.…]]"
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the capture, as in headrace.toml.")]
Some = Annotated[str, typer.Argument(metavar="[NAME]", help="Name of the capture; default: all of them.")]


@app.command()
def check(name: Some = "") -> None:
    """Look whether everything is there that a capture needs; say what is not, and what to do. Changes nothing."""
    settings = load()
    known = _places(settings).read()
    errors = 0
    for tap in _chosen(settings, name):
        if not isinstance(tap, PostgresTapSettings | MysqlTapSettings):
            typer.echo(f"{tap.name}: nothing to check before it runs")
            continue
        found = _faults(tap, known.get(tap.name))
        for finding in found:
            hint = f"\n    {finding.hint}" if finding.hint else ""
            typer.echo(f"{tap.name}: {finding.level}: {finding.detail}{hint}")
        errors += sum(finding.level == "error" for finding in found)
        if not found:
            typer.echo(f"{tap.name}: all is well")
    raise typer.Exit(1 if errors else 0)


@app.command()
def setup(
    name: Some = "",
    print_: Annotated[
        bool, typer.Option("--print", help="Only print the SQL, with the grants, for who administers the database.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Publish tables without a primary key, whose updates then fail.")
    ] = False,
) -> None:
    """Make the publication and the slot of PostgreSQL captures; each statement is printed as it is run.

    The first run does the same by itself; this is for doing it beforehand, or by another user.
    """
    from stores.capture.postgres.admin import script, set_up

    settings = load()
    known = _places(settings).read()
    for tap in _chosen(settings, name):
        if isinstance(tap, MysqlTapSettings) and print_:
            from stores.capture.mysql.admin import script as mysql_script

            typer.echo(f"-- {tap.name}: by an administrator; the settings belong into the configuration as well")
            for statement in mysql_script(tap):
                typer.echo(f"{statement};")
        elif not isinstance(tap, PostgresTapSettings):
            if name:
                typer.echo(f"{tap.name}: nothing to set up")
        elif print_:
            typer.echo(f"-- {tap.name}: by a superuser, in the captured database; wal_level needs a restart")
            for statement in script(tap):
                typer.echo(f"{statement};")
        else:
            for warning in set_up(tap, known.get(tap.name), _say, force=force):
                typer.echo(f"-- warning: {warning.detail} ({warning.hint})")
            typer.echo(f"-- {tap.name}: set up")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, a line each.")] = False,
) -> None:
    """Show how far each capture is, and below that what is wrong with it; then the exit code is 1."""
    settings = load()
    known, faults = _places(settings).read(), _places(settings).faults()
    names = dict.fromkeys([*(tap.name for tap in settings.capture.taps), *known])
    taps = {tap.name: tap for tap in settings.capture.taps}
    rows = [_state(name, taps.get(name), known.get(name)) for name in names]
    runs_now = runs("capture", settings.data_dir)
    for row in rows:
        row["running"] = runs_now or row.get("running", False)
        if fault := faults.get(row["name"]):
            row["error"] = fault
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
    else:
        _draw(rows, known)
    raise typer.Exit(1 if any(row.get("error") for row in rows) else 0)


@app.command()
def drop(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget the place only: for a server that is gone for good.")
    ] = False,
) -> None:
    """End a capture: drop its slot and the publication of its own. The server keeps no WAL for it any more.

    What is on the log stays. Should it run again, everything is read anew.
    """
    from stores.capture.postgres.admin import forget as forget_postgres
    from stores.capture.postgres.admin import remove

    settings = load()
    tap = _one(settings, name)
    if forget or not isinstance(tap, PostgresTapSettings):
        _refuse_while_it_runs(settings, name)
    _agreed(f"End the capture {name!r}? What changes from here on is not seen.", yes=yes)
    places = _places(settings)
    place = places.read().get(name)
    if isinstance(tap, PostgresTapSettings) and forget:
        places.note_fault(name, "")
        left = "; ".join(forget_postgres(tap, places, place))
        typer.echo(f"-- {name}: forgotten here; if the server is there, its slot still holds back WAL until: {left}")
        return
    if isinstance(tap, PostgresTapSettings):
        ended = remove(tap, places, place, _say)
    elif isinstance(tap, MysqlTapSettings):
        from stores.capture.mysql.admin import reset as reset_mysql

        ended = reset_mysql(tap, places, place)
    else:
        ended = place is not None
        places.remove(name)
    places.note_fault(name, "")
    typer.echo(f"-- {name}: ended" if ended else f"-- {name}: there is nothing to end, it was never set up")


@app.command()
def reset(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Have the next run read everything anew, as after a gap. Rows that a database does not have any more go.

    What was deleted unseen in a bucket or a table of DynamoDB stays: neither a bucket nor a stream tells what is
    missing. A stream is read from what it still has.
    """
    from stores.capture.postgres.admin import remove
    from stores.capture.postgres.admin import reset as reset_postgres

    settings = load()
    tap = _one(settings, name)
    if not isinstance(tap, PostgresTapSettings):  # there, the slot tells whether somebody reads
        _refuse_while_it_runs(settings, name)
    _agreed(f"Read all of {name!r} anew with the next run?", yes=yes)
    places = _places(settings)
    place = places.read().get(name)
    if isinstance(tap, MysqlTapSettings):
        from stores.capture.mysql.admin import reset as reset_mysql

        reset_mysql(tap, places, place)
    elif not isinstance(tap, PostgresTapSettings):
        places.remove(name)
    elif place is None:
        remove(tap, places, None, _say)
    else:
        reset_postgres(tap, places, place, _say)
    if not runs("capture", settings.data_dir):  # what stopped it was of the place that is given up
        places.note_fault(name, "")
    typer.echo(f"-- {name}: the next run reads everything anew")
    if not isinstance(tap, PostgresTapSettings | MysqlTapSettings):
        typer.echo(f"-- {name}: what was deleted there and has not been seen stays; it is not told what is missing")


def _faults(tap: PostgresTapSettings | MysqlTapSettings, place: Place | None) -> list[Finding]:
    if isinstance(tap, MysqlTapSettings):
        from stores.capture.mysql.admin import find_faults as find_mysql_faults

        return find_mysql_faults(tap, place)
    from stores.capture.postgres.admin import find_faults

    return find_faults(tap, place)


def _state(name: str, tap: AnyTap | None, place: Place | None) -> dict[str, Any]:
    now = system_clock()
    state: dict[str, Any] = {"name": name, "kind": _kind(tap), "phase": _phase(tap, place)}
    if place is not None:
        # As of when it was whole, and not as of its newest change: what has not been seen is not known to be there.
        whole_at = place.true_at(now)
        state |= {
            "events": place.records,
            "behind_ms": None if whole_at is None else max(0, now - whole_at),
            "event_time": None if place.event_time is None else to_iso(place.event_time),
            "written_at": to_iso(place.at),
        }
    if isinstance(tap, PostgresTapSettings):
        from stores.capture.postgres.admin import standing

        try:
            found = standing(tap, place)
        except StoreError as error:
            return {**state, "error": str(error)}
        seen = msgspec.to_builtins(found)
        state |= {
            "behind_bytes": seen["behind"],
            "wal_held_bytes": seen["held"],
            "confirmed": f"{found.confirmed >> 32:X}/{found.confirmed & 0xFFFFFFFF:X}" if found.confirmed else None,
            "running": found.active,
        }
        if found.gap:
            state["error"] = found.gap
    return state


def _draw(rows: list[dict[str, Any]], known: Mapping[str, Place]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from serving.render import span

    drawn = Table("capture", "kind", "phase", "events", "behind", "WAL held", "newest", "", box=None)
    for column in drawn.columns[:4]:
        column.no_wrap = True  # where room is short, the others take two lines
    now = system_clock()
    for row in rows:
        behind = [] if row.get("behind_bytes") is None else [_size(row["behind_bytes"])]
        behind += [] if row.get("behind_ms") is None else [span(row["behind_ms"])]
        held = "" if row.get("wal_held_bytes") is None else _size(row["wal_held_bytes"])
        events = "" if row.get("events") is None else f"{row['events']:,}"
        place = known.get(row["name"])
        newest = "" if place is None or place.event_time is None else f"{span(max(0, now - place.event_time))} ago"
        note = "runs" if row["running"] else "not running"
        cells = row["name"], row["kind"], row["phase"], events, ", ".join(behind), held, newest, note
        drawn.add_row(*map(escape, cells))
    console = Console()
    if rows:
        console.print(drawn)
        for row in rows:
            if row.get("error"):
                said = row["error"].removeprefix(f"capture {row['name']!r}: ")
                typer.echo(f"{row['name']}: {said}")
    else:
        console.print(f"Nothing is captured: {_NOTHING}.", markup=False)


def _size(count: int) -> str:
    """Write a number of bytes in its largest unit."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < _STEP:
            return f"{size:.0f} {unit}"
        size /= _STEP
    return f"{size:.0f} TB"


def _refuse_while_it_runs(settings: Settings, name: str) -> None:
    if runs("capture", settings.data_dir):
        detail = f"capture {name!r}: the flow runs, and would write its place again"
        raise HeadraceError(detail, "stop `headrace run capture`, then try again")


def _kind(tap: AnyTap | None) -> str:
    return "not in the settings" if tap is None else type(tap).__name__.removesuffix("TapSettings").lower()


def _phase(tap: AnyTap | None, place: Place | None) -> str:
    if place is None:
        return "not begun"
    if (tap is None or isinstance(tap, PostgresTapSettings | MysqlTapSettings)) and isinstance(place.place, dict):
        return str(place.place.get("phase", "begun"))
    return "begun"


def _chosen(settings: Settings, name: str) -> tuple[AnyTap, ...]:
    if not name and not settings.capture.taps:
        detail = f"nothing is captured: {_NOTHING}"
        raise HeadraceError(detail, "add one, or say by HEADRACE_CONFIG where the settings are")
    return (_one(settings, name),) if name else settings.capture.taps


def _one(settings: Settings, name: str) -> AnyTap:
    for tap in settings.capture.taps:
        if tap.name == name:
            return tap
    names = ", ".join(tap.name for tap in settings.capture.taps)
    detail = f"there is no capture {name!r}"
    raise HeadraceError(detail, f"headrace.toml has: {names}" if names else "headrace.toml needs [[capture.postgres]]")


def _places(settings: Settings) -> Places:
    return Places(settings.places_path)


def _agreed(question: str, *, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True)


def _say(statement: str) -> None:
    typer.echo(f"{statement};")
