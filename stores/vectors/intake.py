"""How document updates enter the vector store: batch by batch, but a renamed document in one commit.

A rename is two updates that travel over different workers. Its delete waits here for its upsert, at the longest
until the epoch closes, so that no reader finds the document under neither name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from typing_extensions import override

from events.documents import DocumentUpdate, document_id
from events.log import Mark
from stores.sink import EpochWriter
from stores.vectors.base import VectorWriter, WriteReport

logger = logging.getLogger(__name__)


class DocumentIntake(EpochWriter[DocumentUpdate]):
    """Drives a vector store from a dataflow.

    :arg writer: The store.
    :arg languages: Languages that the embedding model knows; empty means all. A document in another one is
        reported once, when it comes in.
    :arg observe: Told about each commit and the marks that it noted, for progress bars and metrics.
    """

    def __init__(
        self,
        writer: VectorWriter,
        languages: Sequence[str] = (),
        observe: Callable[[WriteReport, Sequence[Mark]], None] = lambda report, marks: None,
    ) -> None:
        self._writer = writer
        self._languages = frozenset(languages)
        self._observe = observe
        self._held: dict[str, DocumentUpdate] = {}
        self._arrived: set[str] = set()
        self._reported: set[str] = set()

    @override
    def write(self, items: Sequence[DocumentUpdate]) -> None:
        ready: list[DocumentUpdate] = []
        for update in items:
            change = update.document.change
            self._report_language(update)
            if change.op == "upsert":
                ready.extend(self._upsert(update))
            elif change.moved and document_id(change.source, change.moved) not in self._arrived:
                self._held[change.document] = update
            else:
                ready.append(update)
        if ready:
            self._observe(self._writer.write(ready), ())

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        held = list(self._held.values())
        self._held.clear()
        self._arrived.clear()
        if held or marks:
            self._observe(self._writer.write(held, marks), marks)

    @override
    def progress(self) -> int:
        return self._writer.progress()

    @override
    def identity(self) -> str:
        return self._writer.identity()

    @override
    def close(self) -> None:
        self._writer.close()

    def _upsert(self, update: DocumentUpdate) -> list[DocumentUpdate]:
        change = update.document.change
        # Whatever was held for this very document is overtaken by it or older: positions decide in the store.
        own = self._held.pop(change.document, None)
        ready = [own, update] if own is not None else [update]
        if change.moved:
            self._arrived.add(change.document)
            partner = self._held.pop(document_id(change.source, change.moved), None)
            if partner is not None:
                ready.append(partner)
        return ready

    def _report_language(self, update: DocumentUpdate) -> None:
        language, document = update.document.language, update.document.change.document
        if not language or not self._languages or language in self._languages or document in self._reported:
            return
        self._reported.add(document)
        known = ", ".join(sorted(self._languages))
        logger.warning("%s is in %r, the model knows %s: words find it, meaning may not", document, language, known)
