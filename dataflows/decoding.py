"""From batches of the log to changes: each stream read as its settings say, and only tables that are wanted.

What cannot be read becomes a dead letter, at the price of nothing else in its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from events.changes import Change, Decision, Position, Sighting, Truncation
from events.dead_letters import DeadLetter
from events.errors import RejectedError, SettingsError
from events.log import LogRecord, Mark, control_stream, original_of, replay_stream
from operators.attempt import try_each
from operators.changes.decode import decoder
from operators.changes.rules import Decode, StreamRules, TableRules
from operators.changes.sighting import Sightings
from operators.changes.values import encoding
from stores.log.source import LogBatch
from stores.sections import ChangeStreamSettings
from stores.settings import TablesSettings

MOST_TABLES = 10_000
"""Tables of which it is remembered whether they are live: a bound against events that invent names."""

LONG_NAME = 200
KEY_BYTES = 2_000
"""Of a primary key, as canonical JSON: every database's index holds it then."""
LONG_KEY = KEY_BYTES // 4
"""Characters up to which a key has no more bytes than that."""


class DecodedBatch(msgspec.Struct):
    """What one batch of the log holds.

    :arg rows: In the log's order.
    :arg others: What goes to the store beside them; the mark last.
    """

    rows: list[Change | Truncation]
    others: list[Sighting | Decision | Mark]
    dead: list[DeadLetter]


class Decoding:
    """Decodes batches of all streams of a flow.

    :arg flow: Name of the flow; its replay and control streams are read as such.
    :raises SettingsError: When a column's encoding is unknown.
    """

    def __init__(self, flow: str, tables: TablesSettings) -> None:
        self._flow = flow
        self._tables = tables
        _check_encodings(tables)
        self._decoders = {stream.name: decoder(_rules(stream, tables)) for stream in tables.streams}
        self._control = control_stream(flow)
        self._replay = replay_stream(flow)
        self._wanted: dict[tuple[str, str], bool] = {}

    def batches(self, batches: Iterable[LogBatch]) -> list[DecodedBatch]:
        """Decode batches one by one."""
        return [self._batch(batch) for batch in batches]

    def _batch(self, batch: LogBatch) -> DecodedBatch:
        stream = batch.mark.source
        if stream == self._control:
            found: list[Decision | DeadLetter] = try_each(
                self._flow, "control", batch.records, _decision, lambda record: record
            )
            decisions = [item for item in found if isinstance(item, Decision)]
            return DecodedBatch([], [*decisions, batch.mark], [item for item in found if isinstance(item, DeadLetter)])
        if stream == self._replay:
            return self._decoded(batch, self._replayed, self._original)
        return self._decoded(batch, self._decoders[stream], _itself)

    def _decoded(self, batch: LogBatch, decode: Decode, original: Callable[[LogRecord], LogRecord]) -> DecodedBatch:
        rows: list[Change | Truncation] = []
        dead: list[DeadLetter] = []
        positions: dict[str, Position] = {}
        sightings = Sightings()
        wanted = self._wanted

        def work(record: LogRecord) -> Sequence[Change | Truncation]:
            found = decode(record)
            for change in found:
                if isinstance(change, Change) and len(change.key) > LONG_KEY:
                    _check_key(change)
                if not wanted.get((change.source, change.table)):
                    return self._without_others(found)
            return found

        for item in try_each(self._flow, "decode", batch.records, work, original):
            if isinstance(item, DeadLetter):
                dead.append(item)
                continue
            rows.append(item)
            if item.position > positions.get(item.source, ()):
                positions[item.source] = item.position
            if isinstance(item, Change):
                sightings.observe(item)
        mark = msgspec.structs.replace(batch.mark, positions=positions) if positions else batch.mark
        return DecodedBatch(rows, [*sightings.take(), mark], dead)

    def _replayed(self, record: LogRecord) -> Sequence[Change | Truncation]:
        original = self._original(record)
        decode = self._decoders.get(original.stream)
        if decode is None:
            msg = f"the event comes from the stream {original.stream!r}, which is not configured"
            raise RejectedError(msg, "add it to [[tables.streams]], or discard the dead letter")
        return decode(original)

    def _original(self, record: LogRecord) -> LogRecord:
        return original_of(record, self._flow)

    def _is_wanted(self, change: Change | Truncation) -> bool:
        names = (change.source, change.table)
        known = self._wanted.get(names)
        if known is None:
            _check_names(change)
            if len(self._wanted) >= MOST_TABLES:
                self._wanted.clear()
            known = self._wanted[names] = self._tables.live_of(*names) is not None
        return known

    def _without_others(self, found: Sequence[Change | Truncation]) -> Sequence[Change | Truncation]:
        """Leave out the changes of tables that are not live.

        :raises RejectedError: Where the settings say that there must be none.
        """
        other = next((change for change in found if not self._is_wanted(change)), None)
        if other is None:
            return found
        if self._tables.others == "reject":
            msg = f"the table {other.table!r} of {other.source!r} is not configured"
            names = ", ".join(live.table for live in self._tables.live)
            raise RejectedError(msg, f"add it to [[tables.live]], there are: {names}; or set tables.others to 'ignore'")
        return [change for change in found if self._is_wanted(change)]


def _check_names(change: Change | Truncation) -> None:
    for what, name in (("source", change.source), ("table", change.table)):
        if len(name) > LONG_NAME or "/" in name or not name.isprintable():
            msg = f"{name[:LONG_NAME]!r} cannot be the name of a {what}: too long, or it has '/' or unseen characters"
            raise RejectedError(msg, f"set `{what}` of the stream in [[tables.streams]]")


def _check_key(change: Change) -> None:
    length = len(change.key.encode())
    if length > KEY_BYTES:
        msg = f"{change.table}: a primary key of {length} bytes, over the limit of {KEY_BYTES}"
        raise RejectedError(msg, "name a shorter key in [[tables.live]]")


def _itself(record: LogRecord) -> LogRecord:
    return record


def _decision(record: LogRecord) -> Sequence[Decision]:
    try:
        return (msgspec.json.decode(record.value or b"", type=Decision),)
    except msgspec.DecodeError as error:
        msg = f"not a decision: {error}"
        raise RejectedError(msg, "use `headrace held release` or `headrace held discard`") from None


def _rules(stream: ChangeStreamSettings, tables: TablesSettings) -> StreamRules:
    rules: dict[str, TableRules] = {}
    # What names the source goes before what does not, as in TablesSettings.live_of.
    for live in sorted(tables.live, key=lambda live: live.source != ""):
        if stream.source and live.source not in {"", stream.source}:
            continue
        said = TableRules(live.key, live.initiator, live.columns)
        if not stream.source and live.source and rules.get(live.table, said) != said:
            detail = f"two live tables read {live.table!r} of different sources in different ways"
            raise SettingsError(detail, f"give the stream {stream.name!r} its `source` in [[tables.streams]]")
        rules[live.table] = said
    return StreamRules(
        stream=stream.name,
        format=stream.format,
        source=stream.source,
        generation=stream.generation,
        table=stream.table,
        tombstones=stream.tombstones,
        max_bytes=tables.max_event_bytes,
        tables=rules,
    )


def _check_encodings(tables: TablesSettings) -> None:
    for live in tables.live:
        for column, name in live.columns.items():
            try:
                encoding(name)
            except ValueError as error:
                detail = f"tables.live {live.name!r}, column {column!r}: {error}"
                raise SettingsError(detail, "correct it in headrace.toml") from None
