"""The log on the command line: what streams there are, what is in them, and events put in by hand."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import msgspec
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
    and optionally media_type, title, audience, metadata, moved and position. A change event of a table has the fields
    table, key, op and after, or is written as Debezium, AWS DMS, DynamoDB Streams or Maxwell do. What was said in a
    conversation, how it was rated and what a metric is has the fields type, conversation, id, time and more.""",
    no_args_is_help=True,
)


class _Line(msgspec.Struct):
    value: msgspec.Raw
    key: Any = None
    time: int | None = None
    headers: dict[str, str] = {}


Stream = Annotated[str, typer.Argument(help="Name of the stream.")]
DAY = 86_400_000
_KEYS = ("uri", "conversation", "key", "traceId", "id", "name")
"""Fields that are the keys of documents, of what was said, of changes, of what an exchange is made of elsewhere, of
whole conversations and of metric points."""


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
    key_field: Annotated[
        str,
        typer.Option("--key", help=f"Field of each event that is its key; default: the first of {', '.join(_KEYS)}."),
    ] = "",
    no_key: Annotated[
        bool,
        typer.Option("--no-key", help="Events have no key: they are spread over the partitions, in no order."),
    ] = False,
    records: Annotated[
        bool,
        typer.Option(
            "--records", help="Each line is a whole record: value (null: a tombstone), key, and maybe time and headers."
        ),
    ] = False,
) -> None:
    """Append events from standard input, one JSON object a line; each gets the present as its event time.

    Examples: echo '{"uri": "a.md", "content": "# Hello"}' | headrace log append documents;
    headrace log append operations --records < events.jsonl
    """
    if bool(key_field) + no_key + records > 1:
        detail = "--key, --no-key and --records do not go together"
        raise HeadraceError(detail, "give one of them: records say their keys themselves")
    found = []
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            found.append(_whole(stream, line) if records else _event(stream, line, key_field, no_key=no_key))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            field = f"the field {key_field!r}" if key_field else f"one of the fields {', '.join(_KEYS)}"
            wanted = "" if no_key else " with the fields key and value" if records else f" with {field}"
            detail = f"line {number} is not a JSON object{wanted}; nothing was appended"
            hint = "name its key by --key, say --no-key if it has none, or append records with their keys by --records"
            hint = "mend it: one event a line" if records or no_key else hint
            raise HeadraceError(detail, hint) from None
    _log().append(stream, found)
    typer.echo(f"{len(found)} events appended to {stream}")


def _event(stream: str, line: bytes, key_field: str, *, no_key: bool) -> LogRecord:
    event = json.loads(line)
    if no_key and isinstance(event, (dict, list)):
        return LogRecord(stream, 0, 0, system_clock(), None, line.strip())
    field = key_field or next((name for name in _KEYS if name in event), "key")
    return LogRecord(stream, 0, 0, system_clock(), _key_bytes(event[field]), line.strip())


def _whole(stream: str, line: bytes) -> LogRecord:
    # The value keeps its very bytes: numbers in it are not read and written again.
    record = msgspec.json.decode(line, type=_Line)
    value = None if bytes(record.value) == b"null" else bytes(record.value)
    key = None if record.key is None else _key_bytes(record.key)
    time_ = system_clock() if record.time is None else record.time
    return LogRecord(stream, 0, 0, time_, key, value, record.headers)


def _key_bytes(key: Any) -> bytes:
    return (key if isinstance(key, str) else json.dumps(key, sort_keys=True, separators=(",", ":"))).encode()


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
