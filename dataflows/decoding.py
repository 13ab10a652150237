"""From batches of the log to changes: each stream read as its settings say, and only tables that are wanted.

What cannot be read becomes a dead letter, at the price of nothing else in its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from dataflows.told import told
from events.changes import Change, Decision, Position, Sighting, Truncation
from events.dead_letters import DeadLetter
from events.erasure import ERASED, Erased, Erasure
from events.errors import RejectedError
from events.log import LogRecord, Mark, control_stream, original_of, replay_stream
from operators.attempt import try_each
from operators.changes.configure import check_encodings, stream_rules
from operators.changes.decode import decoder
from operators.changes.rules import Decode
from operators.changes.sighting import Sightings
from stores.log.source import LogBatch
from stores.sections import ChangesSettings, ChangeTableSettings, table_of

MOST_TABLES = 10_000
"""Tables of which it is remembered whether they are live: a bound against events that invent names."""

LONG_NAME = 200
KEY_BYTES = 2_000
"""Of a primary key, as canonical JSON: every database's index holds it then."""
LONG_KEY = KEY_BYTES // 4
"""Characters up to which a key has no more bytes than that."""


class DecodedBatch(msgspec.Struct):
    """What one batch of the log holds.

    :arg rows: In the log's order; of an erasure the records that it names.
    :arg others: What goes to the store beside them; the mark last.
    """

    rows: list[Change | Truncation | Erased]
    others: list[Sighting | Decision | Erasure | Mark]
    dead: list[DeadLetter]


class Decoding:
    """Decodes batches of all streams of a flow.

    :arg flow: Name of the flow; its replay and control streams are read as such.
    :arg section: Where the tables stand in the settings, such as `tables.live`.
    :arg barred: Tells which changes are of somebody who has been erased: they are passed over.
    :raises SettingsError: When a column's encoding is unknown.
    """

    def __init__(
        self,
        flow: str,
        section: str,
        settings: ChangesSettings,
        tables: Sequence[ChangeTableSettings],
        barred: Callable[[Change], bool] | None = None,
    ) -> None:
        self._flow = flow
        self._section = section
        self._settings = settings
        self._tables = tables
        self._barred = barred
        check_encodings(section, tables)
        self._decoders = {
            stream.name: decoder(stream_rules(stream, tables, settings.max_event_bytes)) for stream in settings.streams
        }
        self._control = control_stream(flow)
        self._replay = replay_stream(flow)
        self._wanted: dict[tuple[str, str], bool] = {}

    def batches(self, batches: Iterable[LogBatch]) -> list[DecodedBatch]:
        """Decode batches one by one."""
        return [self._batch(batch) for batch in batches]

    def _batch(self, batch: LogBatch) -> DecodedBatch:
        stream = batch.mark.source
        if stream == self._control:
            return self._controlled(batch)
        if stream == self._replay:
            return self._decoded(batch, self._replayed, self._original)
        return self._decoded(batch, self._decoders[stream], _itself)

    def _controlled(self, batch: LogBatch) -> DecodedBatch:
        said, dead = told(self._flow, batch.records)
        named = [record for item in said if isinstance(item, Erasure) for record in item.records]
        return DecodedBatch([Erased(record) for record in named], [*said, batch.mark], dead)

    def _decoded(self, batch: LogBatch, decode: Decode, original: Callable[[LogRecord], LogRecord]) -> DecodedBatch:
        rows: list[Change | Truncation | Erased] = []
        dead: list[DeadLetter] = []
        positions: dict[str, Position] = {}
        sightings = Sightings()
        wanted, barred = self._wanted, self._barred

        def work(record: LogRecord) -> Sequence[Change | Truncation]:
            if record.headers and ERASED in record.headers:
                return ()
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
            if barred is not None and isinstance(item, Change) and barred(item):
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
            raise RejectedError(msg, "add it to the streams in headrace.toml, or discard the dead letter")
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
            known = self._wanted[names] = table_of(self._tables, *names) is not None
        return known

    def _without_others(self, found: Sequence[Change | Truncation]) -> Sequence[Change | Truncation]:
        """Leave out the changes of tables that are not live.

        :raises RejectedError: Where the settings say that there must be none.
        """
        other = next((change for change in found if not self._is_wanted(change)), None)
        if other is None:
            return found
        if self._settings.others == "reject":
            msg = f"the table {other.table!r} of {other.source!r} is not configured"
            names = ", ".join(table.table for table in self._tables)
            hint = f"add it to [[{self._section}]], there are: {names}; or set `others` to 'ignore'"
            raise RejectedError(msg, hint)
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
        raise RejectedError(msg, "name a shorter `key` of the table in headrace.toml")


def _itself(record: LogRecord) -> LogRecord:
    return record
