"""The log on the command line: what streams there are, what is in them, and events put in by hand."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer

from events.clock import system_clock, to_iso
from events.errors import HeadraceError
from events.log import LogRecord
from stores.log.base import Log
from stores.log.choose import open_log
from stores.settings import load

app = typer.Typer(
    help="""The log: streams of events, kept as JSON Lines in a folder per stream.

    A document event for the stream `documents` has the fields uri, op (upsert or delete), content or content_b64,
    and optionally media_type, title, audience, metadata, moved and position.""",
    no_args_is_help=True,
)

Stream = Annotated[str, typer.Argument(help="Name of the stream.")]
DAY = 86_400_000


@app.command()
def streams() -> None:
    """List the streams, their partitions and how many bytes each holds."""
    log = _log()
    for stream in log.streams():
        for partition in log.partitions(stream):
            oldest, newest = log.bounds(stream, partition)
            typer.echo(f"{stream}\t{partition}\t{newest - oldest} bytes, offsets {oldest} to {newest}")


@app.command()
def show(
    stream: Stream,
    limit: Annotated[int, typer.Option("-n", min=1, help="How many records of each partition.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is appended.")] = False,
) -> None:
    """Print the records of a stream, oldest first, a line each: partition, offset, event time, key, value."""
    log = _log()
    offsets = {number: log.bounds(stream, number)[0] for number in log.partitions(stream)}
    if not offsets and not follow:
        detail = f"there is no stream {stream!r}"
        raise HeadraceError(detail, "`headrace log streams` lists them")
    while True:
        for number in log.partitions(stream):
            records, offsets[number] = log.read(stream, number, offsets.get(number, 0), limit)
            for record in records:
                key = (record.key or b"").decode(errors="replace")
                value = "" if record.value is None else record.value.decode(errors="backslashreplace")
                typer.echo(f"{number}\t{record.offset}\t{to_iso(record.event_time)}\t{key}\t{value}")
        if not follow:
            return
        time.sleep(0.2)


@app.command()
def append(
    stream: Stream,
    key_field: Annotated[str, typer.Option("--key", help="Field of each event that is its key.")] = "uri",
) -> None:
    """Append events from standard input, one JSON object a line; each gets the present as its event time.

    Example: echo '{"uri": "a.md", "content": "# Hello"}' | headrace log append documents
    """
    records = []
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            key = json.loads(line)[key_field]
        except (ValueError, KeyError, TypeError):
            detail = f"line {number} is not a JSON object with the field {key_field!r}"
            raise HeadraceError(detail, "nothing was appended; mend the line, or name another field by --key") from None
        records.append(LogRecord(stream, 0, 0, system_clock(), str(key).encode(), line.strip()))
    _log().append(stream, records)
    typer.echo(f"{len(records)} events appended to {stream}")


@app.command()
def retain(
    stream: Stream,
    days: Annotated[float, typer.Option(min=0, help="Keep what is younger than this many days of event time.")],
) -> None:
    """Remove what is old from a stream. Offsets stay as they are."""
    freed = _log().retain(stream, system_clock() - round(days * DAY))
    typer.echo(f"{freed} bytes removed from {stream}")


def _log() -> Log:
    return open_log(load())
