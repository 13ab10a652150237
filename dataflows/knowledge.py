"""knowledge: changed documents become fresh, searchable chunks.

    documents → parse, chunk → [bucket] diff → embed → vector store
                    └→ dead letters

Work is proportional to the change. The vector store is the truth about what is known, so that the flow may start
with or without its recovery state and end in the same content.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow

from dataflows.isolation import IsolatedParser
from dataflows.module import flow_of
from dataflows.outputs import keep_dead, write_to_store
from dataflows.progress import ScanProgress
from events.clock import system_clock
from events.documents import ChunkedDocument, DocumentChange
from events.errors import RejectedError
from events.log import LogRecord, Mark, original_of, replay_stream
from operators.attempt import attempt
from operators.buckets import bucketed
from operators.documents.chunk import chunk_document
from operators.documents.decode import decode_document
from operators.documents.diff import DocumentDiff
from operators.documents.embed import embed
from operators.documents.parse import media_type_of
from stores.documents.batch import DocumentBatch, Known
from stores.documents.folder import FolderSource
from stores.documents.requests import ReplayRequests
from stores.embedders.base import Embedder
from stores.embedders.cache import CachedEmbedder
from stores.embedders.choose import open_embedder
from stores.log.base import Log
from stores.log.choose import open_log
from stores.log.source import LogBatch, LogSource
from stores.settings import Settings
from stores.vectors.base import VectorReader
from stores.vectors.choose import open_vector_reader, open_vector_writer
from stores.vectors.intake import DocumentIntake
from stores.vectors.plan import check_document

FLOW = "knowledge"

Offsets = Callable[[], dict[tuple[str, str], int]]
"""Returns the offset that the store has noted as applied, by source and partition; read when it is first asked."""


def build(settings: Settings) -> Dataflow:
    """Wire the flow. Opens nothing: sources, model and stores open on the workers that use them.

    :raises HeadraceError: When a folder is not there or not readable.
    """
    log = open_log(settings)
    reader = open_vector_reader(settings)
    embedder = open_embedder(settings)
    prepare = Preparation(settings, embedder)
    applied = functools.cache(lambda: {(mark.source, mark.partition): mark.offset for mark in reader.applied()})

    flow = Dataflow(FLOW)
    folders = op.input("folders", flow, _folder_source(settings, log, reader, applied))
    records = op.input("log", flow, _log_source(settings, log, applied))

    changes = op.flat_map("changes", folders, lambda batch: batch.changes)
    refused = op.flat_map("refused", folders, lambda batch: batch.dead)
    events = op.flat_map("events", records, lambda batch: batch.records)
    read = attempt("read", changes, prepare.change, record_of_change, withdrawn)
    decoded = attempt("decode", events, prepare.record, prepare.original, prepare.withdrawn)

    documents = op.merge("documents", read.done, decoded.done)
    updates = bucketed("diff", documents, lambda document: document.change.document, DocumentDiff)
    embedded = embed("embed", updates, embedder.embed_bytes)

    folder_marks = op.map("folder_marks", folders, _mark)
    log_marks = op.map("log_marks", records, _mark)
    arriving: Any = op.merge("arriving", embedded, folder_marks, log_marks)
    write_to_store(arriving, _store(settings, embedder))

    dead = op.merge("dead", refused, read.dead, decoded.dead)
    keep_dead(dead, settings)
    return flow


class Preparation:
    """From what a source gives to a chunked document: decode, parse, chunk.

    Its methods raise RejectedError for what cannot become one. The document is withdrawn then: its old text is not
    true any more, and whoever may read the new one is not known.
    """

    def __init__(self, settings: Settings, embedder: Embedder) -> None:
        self._knowledge = settings.knowledge
        self._folders = frozenset(folder.name for folder in settings.knowledge.folders)
        self._embedder = embedder
        self._parse = IsolatedParser(settings.knowledge.parse_seconds)

    def original(self, record: LogRecord) -> LogRecord:
        """Return the event behind a record, which may be a replay of it."""
        return original_of(record, FLOW)

    def record(self, record: LogRecord) -> Iterable[ChunkedDocument]:
        """Turn a record of the log into a chunked document; into none if a folder answers for it."""
        original = self.original(record)
        return () if original.stream in self._folders else self.change(self._decoded(original))

    def withdrawn(self, record: LogRecord) -> Iterable[ChunkedDocument]:
        """Withdraw the document of a record that was rejected; none if the record does not even name one."""
        try:
            return withdrawn(self._decoded(self.original(record)))
        except RejectedError:
            return ()

    def _decoded(self, record: LogRecord) -> DocumentChange:
        return decode_document(record, media_type_of, self._knowledge.max_document_bytes)

    def change(self, change: DocumentChange) -> Iterable[ChunkedDocument]:
        """Parse and chunk one document change."""
        if change.op == "delete":
            return (ChunkedDocument(change),)
        parsed = self._parse(change)
        chunks = chunk_document(
            parsed,
            change.document,
            self._embedder.count_tokens,
            self._embedder.token_spans,
            max_tokens=self._knowledge.max_chunk_tokens,
        )
        described = msgspec.structs.replace(change, audience=parsed.audience, metadata=parsed.metadata)
        document = ChunkedDocument(described, parsed.title, parsed.language, chunks)
        check_document(document)
        return (document,)


def withdrawn(change: DocumentChange) -> Iterable[ChunkedDocument]:
    """Return the delete of a document whose newest version cannot be read."""
    return (ChunkedDocument(msgspec.structs.replace(change, op="delete", content=None, moved="")),)


def record_of_change(change: DocumentChange) -> LogRecord:
    """Name the file behind a change, so that a dead letter of it can be replayed by reading it again."""
    return LogRecord(change.source, 0, 0, change.event_time, change.uri.encode())


def _folder_source(settings: Settings, log: Log, reader: VectorReader, applied: Offsets) -> FolderSource:
    streams = {*settings.knowledge.streams, replay_stream(FLOW)}

    def known(folder: str) -> dict[str, Known]:
        if folder in streams:
            return {}
        return {found.uri: Known(found.fingerprint, found.position) for found in reader.documents(folder)}

    def after(folder: str) -> int:
        newest = reader.newest_position(folder)
        return max(applied().get((folder, "0"), 0), 0 if newest is None else newest + 1)

    return FolderSource(
        settings.knowledge,
        known=known,
        media_type_of=media_type_of,
        after=after,
        # Streams as well: what was listed once stays listed, whatever it is called in the settings later.
        former=lambda: sorted({source for source, _ in applied()}),
        requests=lambda folder: ReplayRequests(log, FLOW, folder),
        live=settings.mode == "live",
        heartbeat_seconds=settings.heartbeat_seconds,
        clock=system_clock,
    )


def _log_source(settings: Settings, log: Log, applied: Offsets) -> LogSource:
    return LogSource(
        log,
        [*settings.knowledge.streams, replay_stream(FLOW)],
        batch_size=settings.knowledge.batch_size,
        tail=settings.mode == "live",
        heartbeat_seconds=settings.heartbeat_seconds,
        clock=system_clock,
        start=lambda stream, partition: applied().get((stream, str(partition))),
        on_expired=settings.log.on_expired,
        reader=FLOW,
    )


def _store(settings: Settings, embedder: CachedEmbedder) -> Callable[[], DocumentIntake]:
    def open_writer() -> DocumentIntake:
        model = embedder.model
        writer = open_vector_writer(settings, model, embedder.embed_bytes, system_clock)
        return DocumentIntake(writer, model.languages, ScanProgress().observe)

    return open_writer


def _mark(batch: DocumentBatch | LogBatch) -> Mark:
    return batch.mark


__getattr__ = flow_of(build)
