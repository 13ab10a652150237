"""Topics of Kafka on the command line: what streams there are, how far flows are in them, and making them by plan."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import msgspec
import typer

from events.errors import HeadraceError
from serving.commands.tables import millis
from serving.printable import counted, json_text
from serving.render import span
from serving.runs import streams_of
from stores.log.kafka.client import Topic
from stores.log.kafka.log import KafkaLog
from stores.log.kafka.records import stream_of, topic_of
from stores.settings import FLOWS, Settings, load

app = typer.Typer(
    help="""Topics of Kafka, where the log is kept there (log.backend = "kafka").

    A stream is a topic of the same name, behind `log.kafka.prefix`. Streams that do not exist are made when something
    is appended to them; here they are made beforehand, with the partitions, copies and retention that are wanted.""",
    no_args_is_help=True,
)
FOREVER = "forever"


class _Shown(msgspec.Struct, frozen=True):
    stream: str
    topic: Topic
    records: int
    lags: dict[str, int]


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines for other programs.")] = False,
) -> None:
    """List the streams: partitions, copies, policy, retention, records, and how many of them each flow has to read.

    How far flows are, they note in the consumer groups GROUP.FLOW about once a second. Numbers of records are upper
    bounds: what compaction has removed is counted.
    """
    settings = load()
    if not _has_topics(settings):
        return
    with closing(KafkaLog(settings.log.kafka)) as log:
        found = _look(log, settings)
    if as_json:
        for one in found:
            typer.echo(json_text(_document(one)))
        return
    if not found:
        typer.echo("there are no streams; `headrace topics create` makes those that the settings name")
        return
    from rich.console import Console
    from rich.table import Table

    drawn = Table("stream", "partitions", "copies", "policy", "retention", "records", "lag of flows", box=None)
    for one in found:
        lags = ", ".join(f"{flow} {lag:,}" for flow, lag in one.lags.items())
        topic = one.topic
        cells = (one.stream, str(topic.partitions), str(topic.replication), _policy(topic), _retention(topic))
        drawn.add_row(*cells, f"{one.records:,}", lags or "-")
    Console().print(drawn)


@app.command()
def create(
    streams: Annotated[
        list[str] | None, typer.Argument(help="Names of streams; default: all that the settings name.")
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Partitions in all; default: log.partitions for a new one, else as many as it has."
        ),
    ] = None,
    replication: Annotated[
        int | None, typer.Option(min=1, max=100, help="Copies of new ones; default: log.kafka.replication.")
    ] = None,
    compacted: Annotated[
        bool,
        typer.Option("--compacted", help="Of new ones, keep the newest record of each key, and no other for long."),
    ] = False,
    retention: Annotated[
        str, typer.Option(metavar="SPAN", help="How long new ones keep records, such as 7d, or `forever`.")
    ] = "",
) -> None:
    """Make the topics of streams that have none. Those that are there only get the partitions that are lacking.

    More partitions move keys: records of one key are read in order from then on, but not across the change.

    Examples: headrace topics create; headrace topics create documents --partitions 12 --retention forever
    """
    settings = load()
    configuration = _configuration(compacted=compacted, retention=retention)
    if not _has_topics(settings):
        return
    with closing(KafkaLog(settings.log.kafka)) as log:
        names = list(dict.fromkeys(streams or _named(settings)))
        topics = log.client().topics()
        for name in names:
            there = topics.get(topic_of(settings.log.kafka.prefix, name), 0)
            wanted = partitions or there or settings.log.partitions
            if there < wanted:
                log.create(name, wanted, configuration, replication)
            typer.echo(_outcome(name, there, wanted))


def _has_topics(settings: Settings) -> bool:
    if settings.log.backend == "kafka":
        return True
    typer.echo("the log is kept in files: there are no topics; `headrace log streams` lists its streams", err=True)
    return False


def _outcome(name: str, there: int, wanted: int) -> str:
    if not there:
        return f"{name}: made with {counted(wanted, 'partition', 'partitions')}"
    if there < wanted:
        return f"{name}: grown from {there} to {counted(wanted, 'partition', 'partitions')}"
    fewer = f"; it cannot have {wanted}" if wanted < there else ""
    return f"{name}: was there with {counted(there, 'partition', 'partitions')}{fewer}"


def _configuration(*, compacted: bool, retention: str) -> dict[str, str]:
    configuration = {"cleanup.policy": "compact"} if compacted else {}
    if not retention:
        return configuration
    if retention != FOREVER:
        kept = millis(retention)
        if not kept:
            detail = f"nothing is kept for {retention!r}"
            raise HeadraceError(detail, f"give a longer time, such as 7d, or {FOREVER!r}")
        if compacted:
            configuration["cleanup.policy"] = "compact,delete"
    return configuration | {"retention.ms": "-1" if retention == FOREVER else str(kept)}


def _named(settings: Settings) -> list[str]:
    """Return the streams that the settings name: those that flows read, and those that captures fill."""
    named = [tap.target for tap in settings.capture.taps]
    for flow in FLOWS:
        # The one of documents is there by default, whether anybody wants it or not.
        if flow != "knowledge" or "streams" in settings.knowledge.model_fields_set:
            named += streams_of(flow, settings)
    if not named:
        detail = "the settings name no streams"
        raise HeadraceError(detail, "name those that are to be made: `headrace topics create STREAM`")
    return sorted(set(named))


def _readers(settings: Settings) -> list[str]:
    """Return the names under which flows note how far they are."""
    return [
        *(flow for flow in FLOWS if flow not in {"capture", "delivery"}),
        *(f"delivery.{sink.name}" for sink in settings.delivery.sinks),
    ]


def _look(log: KafkaLog, settings: Settings) -> list[_Shown]:
    client, kafka = log.client(), settings.log.kafka
    topics = log.describe(log.streams())
    places = [(topic.name, partition) for topic in topics for partition in range(topic.partitions)]
    oldest, ends = client.beginnings(places), client.ends(places)
    noted = {
        reader: client.committed(f"{kafka.group}.{reader}", places) if kafka.group else {}
        for reader in _readers(settings)
    }

    def lag(own: Sequence[tuple[str, int]], offsets: dict[tuple[str, int], int]) -> int:
        # What was not noted yet is all to be read; what retention has taken is not.
        return sum(max(0, ends.get(place, 0) - max(offsets.get(place, 0), oldest.get(place, 0))) for place in own)

    shown = []
    for topic in topics:
        own = [(topic.name, partition) for partition in range(topic.partitions)]
        records = sum(max(0, ends.get(place, 0) - oldest.get(place, 0)) for place in own)
        lags = {
            reader: lag(own, offsets) for reader, offsets in noted.items() if any(place in offsets for place in own)
        }
        shown.append(_Shown(stream_of(kafka.prefix, topic.name) or topic.name, topic, records, lags))
    return shown


def _document(one: _Shown) -> dict[str, object]:
    topic = one.topic
    return {
        "stream": one.stream,
        "topic": topic.name,
        "partitions": topic.partitions,
        "replication": topic.replication,
        "compacted": topic.compacted,
        "retention_ms": topic.retention_millis,
        "records": one.records,
        "lag": one.lags,
    }


def _policy(topic: Topic) -> str:
    return "compacted" if topic.compacted else "deleted by age"


def _retention(topic: Topic) -> str:
    return FOREVER if topic.retention_millis is None else span(topic.retention_millis)
