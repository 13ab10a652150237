"""The stream of a slot: its messages decoded in their order, and the server told how far we are.

Invariant: what the decoder was given has been received whole and in order; what it was not given comes again with the
next connection. `end` is behind everything that was decoded, and before everything that was not.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from events.capture import Progress
from events.clock import Clock
from events.log import LogRecord
from stores.capture.postgres.catalog import PostgresCatalog
from stores.capture.postgres.decoding import Decoder
from stores.capture.postgres.opening import Ends
from stores.capture.postgres.place import Asked, PostgresPlace
from stores.capture.postgres.session import LostError

TELL_MILLIS = 10_000
"""Longest time in which the server hears nothing of us."""
WAIT_MILLIS = 10
"""How long to wait for something new."""

_CHANGES, _TRUNCATE, _COMMIT = frozenset(b"IUD"), ord("T"), ord("C")
_OID = struct.Struct(">I")
_COUNT_AT, _OIDS_AT = 1, 6


class Stream:
    """What comes out of the slot from a place on.

    :arg confirmed: LSN before which everything is safe.
    :arg asked: What is given, and how.
    :arg ending: Whether to end with the transaction that is under way at the place.
    :raises LostError: When the server is away.
    :raises StoreError: When it does not let us stream.
    """

    def __init__(
        self,
        ends: Ends,
        catalog: PostgresCatalog,
        decoder: Decoder,
        place: PostgresPlace,
        *,
        clock: Clock,
        confirmed: int,
        asked: Asked,
        ending: bool = False,
    ) -> None:
        settings, replication = ends.settings, ends.replication
        self._replication = replication
        self._catalog = catalog
        self._decoder = decoder
        self._clock = clock
        self._heartbeat = round(settings.heartbeat_seconds * 1000)
        self._broken: LostError | None = None
        self.asked = asked
        self._ending = ending
        self.ended = False
        self.end = place.end
        self.quiet = False
        self._received = self._confirmed = confirmed
        self._sent = 0
        self._told_at = self._moved_at = clock()
        given = Progress(place.end, place.commit, place.index, decoder.progress.committed_at)
        decoder.begin(catalog, given)
        replication.start(settings.slot_name, place.end, asked.publications, messages=asked.messages)

    @property
    def progress(self) -> Progress:
        """How far the decoder is."""
        return self._decoder.progress

    @property
    def between(self) -> bool:
        """Whether no transaction is under way."""
        return not self._decoder.progress.commit

    @property
    def sent(self) -> int:
        """LSN up to which the server has looked for something to send, as far as it has said so, and we have it."""
        return max(self._sent, self.end)

    def next(self, limit: int) -> list[LogRecord]:
        """Return the events of up to `limit` messages.

        :raises LostError: When the connection is gone.
        :raises StoreError: When the stream cannot go on.
        """
        if self._broken is not None:
            raise self._broken
        changes, relations, newest, sent, asked, more = self._replication.receive(limit, WAIT_MILLIS)
        self.quiet = not more
        for at in relations:
            try:
                self._catalog.learn(*_described(changes[at]))
            except LostError as error:
                # The decoder must not meet a table that cannot be looked up: this and what follows comes again.
                self._broken, changes, sent = error, changes[:at], 0
                break
        self._received = max(self._received, newest, sent)
        if self.asked.only is not None:
            changes = _of(frozenset(self.asked.only), changes)
        records = self._decode(changes) if changes else []
        if self.ended:
            sent = 0
        progress = self._decoder.progress
        if not progress.commit:
            self.end = max(self.end, progress.end)
            self._sent = max(self._sent, sent)
        self._keep_alive(asked)
        return records

    def confirm(self, end: int) -> None:
        """Tell the server that all before `end` is safe.

        :raises LostError: When the connection is gone.
        """
        if end > self._confirmed:
            self._confirmed = end
            self._tell()

    def advance(self) -> None:
        """Take as the end what the server has said, between two transactions."""
        if self.between:
            self.end = self.sent

    def ask(self) -> None:
        """Have the server say how far it is, with what comes next."""
        self._tell(ask=True)

    def _decode(self, changes: list[bytes]) -> list[LogRecord]:
        if not self._ending:
            return self._decoder.decode(changes)
        records: list[LogRecord] = []
        begin = 0
        for at, payload in enumerate(changes):
            if payload[0] == _COMMIT or at == len(changes) - 1:
                records += self._decoder.decode(changes[begin : at + 1])
                begin = at + 1
                if not self._decoder.progress.commit:
                    self.ended = True
                    break
        return records

    def _keep_alive(self, asked: bool) -> None:
        now = self._clock()
        if self._heartbeat and self.between and not 0 <= now - self._moved_at < self._heartbeat:
            self._moved_at = now
            self.advance()
        if asked or not 0 <= now - self._told_at < TELL_MILLIS:
            self._tell()

    def _tell(self, *, ask: bool = False) -> None:
        self._told_at = self._clock()
        self._replication.tell(max(self._received, self._confirmed), self._confirmed, self._told_at, ask=ask)


def _of(only: Collection[int], changes: list[bytes]) -> list[bytes]:
    """Return what says something of our tables, or of none in particular."""
    ours = []
    for payload in changes:
        tag = payload[0]
        if tag in _CHANGES:
            if _OID.unpack_from(payload, 1)[0] in only:
                ours.append(payload)
        elif tag == _TRUNCATE:
            count: int = _OID.unpack_from(payload, _COUNT_AT)[0]
            oids = [oid for oid in struct.unpack_from(f">{count}I", payload, _OIDS_AT) if oid in only]
            if oids:
                head = payload[:_COUNT_AT] + _OID.pack(len(oids)) + payload[_COUNT_AT + 4 : _OIDS_AT]
                ours.append(head + struct.pack(f">{len(oids)}I", *oids))
        else:
            ours.append(payload)
    return ours


def _described(payload: bytes) -> tuple[int, list[int]]:
    """Return the table that a Relation message describes, and the types of its columns."""
    oid: int = _OID.unpack_from(payload, 1)[0]
    at = payload.index(0, payload.index(0, 5) + 1) + 2  # schema, table, kind of identity
    count = int.from_bytes(payload[at : at + 2], "big")
    at += 2
    types = []
    for _ in range(count):
        at = payload.index(0, at + 1) + 1
        types.append(_OID.unpack_from(payload, at)[0])
        at += 8
    return oid, types
