"""What a batch of updates and marks means for a vector store: pure logic, whatever it is kept in.

The outcome is a function of what is held and of the updates in their order, so that a batch that is written twice, or
split anywhere, ends in the same content.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from events.errors import RejectedError
from events.log import Applied, Mark
from stores.vectors.held import RESERVED, Held

Embed = Callable[[Sequence[str]], Sequence[bytes]]
"""Texts to vectors, each as float32 little-endian bytes."""

_INT64 = 2**63


class Plan(msgspec.Struct, frozen=True):
    """The rows to write.

    :arg heads: The new state of each document that moves on, by its id.
    :arg fresh: Chunks that the store does not hold, each with the change that brings it.
    :arg restated: Chunks that the store holds, whose document changed its audience or language.
    :arg gone: Chunk ids that vanish, with their document.
    :arg stale: Documents of the updates that were not newer than what was held.
    """

    heads: dict[str, Held]
    fresh: list[tuple[DocumentChange, Chunk]]
    restated: list[tuple[DocumentChange, Chunk]]
    gone: list[tuple[str, str]]
    stale: list[str]


def plan(updates: Sequence[DocumentUpdate], held: Mapping[str, Held | None], now: int) -> Plan:
    """Decide what becomes of the documents, given what the store holds of each (None: nothing)."""
    newest: dict[str, DocumentUpdate] = {}
    outcome = Plan(heads={}, fresh=[], restated=[], gone=[], stale=[])
    for update in updates:
        change = update.document.change
        before = outcome.heads.get(change.document, held[change.document])
        if before is not None and change.position <= before.position:
            outcome.stale.append(change.document)
        else:
            outcome.heads[change.document] = _head(update, before, now)
            newest[change.document] = update
    for document, update in newest.items():
        _compare(outcome, document, update, held[document])
    return outcome


def _compare(outcome: Plan, document: str, update: DocumentUpdate, before: Held | None) -> None:
    change = update.document.change
    head = outcome.heads[document]
    had = set(before.manifest) if before else set()
    same_facets = before is not None and (before.audience, before.language) == (head.audience, head.language)
    if head.alive:
        for chunk in update.document.chunks:
            if chunk.id not in had:
                outcome.fresh.append((change, chunk))
            elif not same_facets:
                outcome.restated.append((change, chunk))
    outcome.gone.extend((chunk_id, document) for chunk_id in had.difference(head.manifest))


def _head(update: DocumentUpdate, before: Held | None, now: int) -> Held:
    document, change = update.document, update.document.change
    if change.op == "delete":
        return Held(
            alive=False,
            source=change.source,
            uri=change.uri,
            position=change.position,
            as_of=change.event_time,
            applied_at=now,
        )
    manifest = tuple(chunk.id for chunk in document.chunks)
    return Held(
        alive=True,
        source=change.source,
        uri=change.uri,
        position=change.position,
        as_of=change.event_time,
        applied_at=now,
        title=document.title or change.title,
        language=document.language,
        audience=change.audience,
        media_type=change.media_type,
        metadata=change.metadata,
        fingerprint=change.fingerprint,
        manifest=manifest,
        since=_since(update, before),
    )


def _since(update: DocumentUpdate, before: Held | None) -> tuple[int, ...]:
    """Return since when each chunk is in the document.

    What the diff calls fresh is as old as it says, but for a diff that knew nothing of the document: a store that does
    knows better.
    """
    chunks, time = update.document.chunks, update.document.change.event_time
    known = dict(zip(before.manifest, before.since, strict=True)) if before is not None else {}
    if not update.since:
        return tuple(known.get(chunk.id, time) for chunk in chunks)
    fresh = set() if update.anew else set(update.fresh)
    return tuple(
        moment if chunk.id in fresh else known.get(chunk.id, moment)
        for chunk, moment in zip(chunks, update.since, strict=True)
    )


def fresh_vectors(outcome: Plan, updates: Sequence[DocumentUpdate], embed: Embed, dimension: int) -> dict[str, bytes]:
    """Return the vectors of the fresh chunks, those that nobody sent embedded here.

    An update carries only those that its predecessor had not, and the predecessor may be in the same call.

    :raises RejectedError: When `embed` makes a vector that cannot be searched.
    """
    vectors = {chunk_id: vector for update in updates for chunk_id, vector in update.vectors.items()}
    lacking = [(change, chunk) for change, chunk in outcome.fresh if chunk.id not in vectors]
    if lacking:
        embedded = embed([chunk.embedded for _, chunk in lacking])
        for (change, chunk), vector in zip(lacking, embedded, strict=True):
            check_vector(change.document, chunk.id, vector, dimension)
            vectors[chunk.id] = vector
    return vectors


def changed_marks(known: Mapping[tuple[str, str], Applied], marks: Sequence[Mark], now: int) -> list[Applied]:
    """Return what is applied by the last mark of each partition, where it says more than is known."""
    newest = {(mark.source, mark.partition): mark for mark in marks}
    changed = []
    for key, mark in newest.items():
        applied = Applied(
            source=mark.source,
            partition=mark.partition,
            offset=mark.offset,
            event_time=mark.event_time,
            read_at=mark.read_at,
            caught_up=mark.caught_up,
            applied_at=now,
        )
        before = known.get(key)
        if before is None or msgspec.structs.replace(before, applied_at=now) != applied:
            changed.append(applied)
    return changed


def check_update(update: DocumentUpdate, dimension: int) -> None:
    """Refuse an update that would harm the store.

    :raises RejectedError: Naming the document, what is wrong with it, and the remedy.
    """
    document = update.document
    check_document(document)
    name = ascii(document.change.document)
    if len(update.since) not in {0, len(document.chunks)}:
        problem = f"{len(document.chunks)} chunks, but {len(update.since)} times of them"
        _reject(f"document {name} has {problem}", "give each chunk one")
    if not all(-_INT64 <= number < _INT64 for number in update.since):
        _reject(f"document {name} has a time beyond 64 bits", "correct it at the source")
    for chunk_id, vector in update.vectors.items():
        check_vector(name, chunk_id, vector, dimension)


def check_document(document: ChunkedDocument) -> None:
    """Refuse a document that no store can hold.

    :raises RejectedError: Naming the document, what is wrong with it, and the remedy.
    """
    change = document.change
    name = ascii(change.document)
    ids = [chunk.id for chunk in document.chunks]
    if len(set(ids)) != len(ids):
        twice = next(chunk_id for chunk_id in ids if ids.count(chunk_id) > 1)
        _reject(f"document {name} names chunk {twice!r} twice", "give each occurrence of a text its own id")
    if any(chunk_id.startswith(RESERVED) for chunk_id in ids):
        _reject(f"document {name} has a chunk whose id begins with 'doc:' or 'mark:'", "use a hash as the id")
    if not all(-_INT64 <= number < _INT64 for number in (change.position, change.event_time)):
        _reject(f"document {name} has a position or time beyond 64 bits", "correct it at the source")
    texts = [change.source, change.uri, document.title, change.title, document.language, change.media_type]
    texts += [change.fingerprint, *change.audience, *change.metadata, *change.metadata.values(), *ids]
    for chunk in document.chunks:
        texts += [chunk.text, *chunk.heading]
    if not all(map(_is_unicode, texts)):
        _reject(f"document {name} has text that is not Unicode (a lone surrogate)", "save it as UTF-8")


def check_vector(name: str, chunk_id: str, vector: bytes, dimension: int) -> None:
    """Refuse a vector that the store cannot search.

    :raises RejectedError: Naming the document.
    """
    if len(vector) != 4 * dimension:
        problem = f"{len(vector)} bytes instead of {4 * dimension}"
    elif not np.isfinite(np.frombuffer(vector, dtype="<f4")).all():
        problem = "a number that is not finite"
    else:
        return
    _reject(f"document {name}: the vector of chunk {chunk_id!r} has {problem}", "embed it again with the store's model")


def _reject(detail: str, hint: str) -> None:
    raise RejectedError(detail, hint)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Holdings:
    """What is known of the documents in the store: the most recently used, within a bound of chunk ids.

    While it is `complete` it knows every document: what it does not know is not in the store.
    """

    def __init__(self, *, complete: bool, capacity: int = 500_000) -> None:
        self.complete = complete
        self._capacity = capacity
        self._size = 0
        self._known: OrderedDict[str, Held | None] = OrderedDict()

    def split(self, documents: Iterable[str]) -> tuple[dict[str, Held | None], list[str]]:
        """Return what is known of the documents, and which ones must be looked up."""
        known: dict[str, Held | None] = {}
        unknown: list[str] = []
        for document in dict.fromkeys(documents):
            if document in self._known:
                self._known.move_to_end(document)
                known[document] = self._known[document]
            elif self.complete:
                known[document] = None
            else:
                unknown.append(document)
        return known, unknown

    def learn(self, documents: Mapping[str, Held]) -> None:
        """Remember what the store holds by now, and forget what was not used for the longest time."""
        for document, held in documents.items():
            self._size += 1 + len(held.manifest) - self._weight(document)
            self._known[document] = held
            self._known.move_to_end(document)
        while self._size > self._capacity and len(self._known) > 1:
            self._size -= self._weight(next(iter(self._known)))
            self._known.popitem(last=False)
            self.complete = False

    def forget(self) -> None:
        """Know nothing: after a commit of which nobody knows whether it took place."""
        self._known.clear()
        self._size = 0
        self.complete = False

    def _weight(self, document: str) -> int:
        held = self._known.get(document)
        return 1 + len(held.manifest) if held else 0
