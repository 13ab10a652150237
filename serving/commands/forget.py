"""The command that erases a person everywhere, and prints a receipt of what was removed where."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from events.clock import to_iso
from events.erasure import Fingerprints
from events.errors import HeadraceError
from events.persons import person_id
from serving.cluster.prepare import recovery_arguments
from serving.commands.profile import lookup_of
from serving.commands.run import start
from serving.lookups import Lookup
from serving.printable import counted
from stores.erasures import Erasures, Found, Pending, Receipt, Removed
from stores.settings import Settings, load

if TYPE_CHECKING:
    from serving.forgetting import Forgetting
    from serving.profiles import Profiles


_ONE = {
    "rows": "row",
    "entries": "entry",
    "events": "event",
    "names in events": "name in an event",
    "events that stay until retention takes them": "event that stays until retention takes it",
    "letters": "letter",
    "facts": "fact",
    "conversations": "conversation",
    "contexts": "context",
}
"""What is removed, where it is one."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(forget)


def forget(
    person: Annotated[
        str, typer.Argument(metavar="[PERSON]", help="Id, alias, address, number, TYPE:VALUE or a record.")
    ] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="By e-mail address.")] = "",
    phone: Annotated[str, typer.Option(metavar="NUMBER", help="By phone number.")] = "",
    loyalty: Annotated[str, typer.Option(metavar="NUMBER", help="By loyalty number.")] = "",
    identifier: Annotated[str, typer.Option(metavar="TYPE:VALUE", help="By any identifier.")] = "",
    record: Annotated[str, typer.Option(metavar="KEY", help="By SOURCE/TABLE/KEY, or NAME/KEY.")] = "",
    realm: Annotated[str, typer.Option(help="Only in this realm; default: in all.")] = "",
    finish: Annotated[bool, typer.Option("--finish", help="Bring erasures to their end that were cut short.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    timeout: Annotated[str, typer.Option(metavar="SPAN", help="How long to wait for the flows.")] = "2min",
    as_json: Annotated[bool, typer.Option("--json", help="Print the receipt as one JSON document.")] = False,
) -> None:
    """Erase a person from profiles, identity graph, live tables, conversations and log.

    Activities, dead letters and what flows keep go as well. Flows may run
    meanwhile; one that stands still is run to the end of the log. A fingerprint
    stays, so that events that come late or again do not bring the person back.
    At the end all files are searched for the person's values.

    Example: headrace forget --email anna@example.org
    """
    from serving.commands.tables import millis
    from serving.forgetting import Forgetting
    from serving.profiles import NobodyError, Profiles

    settings = load()
    seconds = millis(timeout) / 1000
    profiles = Profiles.of(settings)
    erasures = Erasures(settings.erasures_path)
    given = {
        "PERSON": person,
        "--email": email,
        "--phone": phone,
        "--loyalty": loyalty,
        "--identifier": identifier,
        "--record": record,
    }
    with erasures.alone():
        forgetting = Forgetting(settings, run_flow=lambda flow: _run(flow, settings), progress=_say)
        if finish:
            _end(forgetting, erasures.pending(), seconds, as_json=as_json)
            return
        lookup = lookup_of(given, settings.profiles, realm)
        try:
            found = profiles.find(lookup).profile
        except NobodyError:
            begun = [one for one in erasures.pending() if _is_named(lookup, profiles, one)]
            if not begun:
                if not _is_erased(lookup, profiles, erasures.fingerprints()):
                    raise
                typer.echo("this person has been erased already", err=True)
                return
            _end(forgetting, begun, seconds, as_json=as_json)
            return
        trail = forgetting.follow(found.person, found.realm)
        _show(forgetting.preview(trail), as_json=as_json and dry_run)
        if dry_run:
            return
        if not yes:
            _confirm(found.person)
        _end(forgetting, [forgetting.begin(trail)], seconds, as_json=as_json)


def _end(forgetting: Forgetting, pending: Iterable[Pending], seconds: float, *, as_json: bool) -> None:
    receipts = [forgetting.finish(one, seconds) for one in pending]
    if not receipts:
        typer.echo("no erasure is under way", err=True)
    for receipt in receipts:
        typer.echo(_document(receipt) if as_json else _text(receipt))
    if not all(receipt.clean for receipt in receipts):
        raise typer.Exit(1)


def _run(flow: str, settings: Settings) -> None:
    recovery = settings.data_dir / "recovery" / flow
    # Without a recovery folder the flow goes on from its store, as it did before; none is made for it here.
    arguments = recovery_arguments(recovery) if any(recovery.glob("*.sqlite3")) else []
    start(flow, {"HEADRACE_MODE": "replay"}, ["-w", "1", *arguments])


def _confirm(person: str) -> None:
    if not sys.stdin.isatty():
        detail = "the removal is not confirmed"
        raise HeadraceError(detail, "give --yes; --dry-run only says what would be removed")
    if not typer.confirm(f"Erase the person {person} for ever?", err=True):
        raise typer.Exit(1)


def _is_named(lookup: Lookup, profiles: Profiles, pending: Pending) -> bool:
    erasure = pending.erasure
    if lookup.kind == "identifier":
        return any(
            realm == erasure.realm and name in erasure.identifiers for realm, name in profiles.leads.identifiers(lookup)
        )
    ids = {erasure.person, *(person_id(erasure.realm, record) for record in erasure.records)}
    return lookup.text in erasure.records or lookup.text in ids


def _is_erased(lookup: Lookup, profiles: Profiles, erased: Fingerprints) -> bool:
    if lookup.kind == "identifier":
        return any(erased.has_identifier(realm, name, 0) for realm, name in profiles.leads.identifiers(lookup))
    return erased.has_record(lookup.text)


def _show(preview: Iterable[Removed], *, as_json: bool) -> None:
    if as_json:
        from serving.printable import json_text as written

        typer.echo(written([{"place": one.place, "what": one.what, "count": one.count} for one in preview]))
        return
    typer.echo("To be removed:", err=True)
    for one in preview:
        typer.echo(_line(one), err=True)


def _text(receipt: Receipt) -> str:
    seconds = (receipt.finished_at - receipt.begun_at) / 1000
    lines = [f"Erasure {receipt.id}, begun {to_iso(receipt.begun_at)}, done in {seconds:.1f} s", "Removed:"]
    lines += map(_line, receipt.removed)
    if receipt.stood:
        lines.append("The person's values stood in:")
        lines += map(_times, receipt.stood)
    lines.append(f"{counted(receipt.compacted, 'database was', 'databases were')} written anew.")
    values = counted(receipt.values, "value", "values")
    files = counted(receipt.scanned_files, "file was", "files were")
    scanned = f"{files} searched ({receipt.scanned_bytes / 1e6:,.1f} MB) for {values}"
    if receipt.shared:
        scanned += f"; {receipt.shared:,} of them others have too, which does not count"
    if receipt.found:
        lines.append(f"{scanned}. STILL FOUND in:")
        lines += map(_times, receipt.found)
    else:
        lines.append(f"{scanned}: none was found.")
    lines += [f"Note: {remark}" for remark in receipt.remarks]
    if receipt.unfinished:
        lines.append("Not complete: stop the flows, then `headrace forget --finish`.")
    return "\n".join(lines)


def _line(one: Removed) -> str:
    return f"  {one.place:<24} {one.count:>8,} {_ONE.get(one.what, one.what) if one.count == 1 else one.what}"


def _times(one: Found) -> str:
    return f"  {one.path:<40} {one.count:>8,} {'time' if one.count == 1 else 'times'}"


def _document(receipt: Receipt) -> str:
    from serving.printable import json_text

    return json_text(
        {
            "id": receipt.id,
            "begun_at": to_iso(receipt.begun_at),
            "finished_at": to_iso(receipt.finished_at),
            "seconds": (receipt.finished_at - receipt.begun_at) / 1000,
            "complete": not receipt.unfinished,
            "clean": receipt.clean,
            "removed": [{"place": one.place, "what": one.what, "count": one.count} for one in receipt.removed],
            "stood": [{"file": one.path, "count": one.count} for one in receipt.stood],
            "compacted": receipt.compacted,
            "scan": {
                "files": receipt.scanned_files,
                "bytes": receipt.scanned_bytes,
                "values": receipt.values,
                "shared": receipt.shared,
                "found": [{"file": one.path, "count": one.count} for one in receipt.found],
            },
            "remarks": list(receipt.remarks),
        }
    )


def _say(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"  {text} …", err=True)
