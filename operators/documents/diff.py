"""What changed in a document: which chunks are new, told by content, whatever the order or the batching.

Newest position wins per document; older and repeated changes are dropped. A deleted document is remembered for
seven days of event time, so that a late older change cannot bring it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec
from typing_extensions import override

from events.documents import ChunkedDocument, DocumentUpdate
from operators.buckets import Bucket, Entry

DAY = 86_400_000
_ID = 16  # bytes of a chunk id, which is written in hexadecimal outside the state


class DocumentDiff(Bucket[ChunkedDocument, DocumentUpdate]):
    """Entry: position, event time, chunk ids joined (16 bytes each; None: deleted), event times of their texts."""

    HORIZON: ClassVar[int | None] = 7 * DAY

    @override
    def step(self, id_: str, value: ChunkedDocument) -> Iterable[DocumentUpdate]:
        change = value.change
        known = self.entries.get(id_)
        if known is not None and change.position <= known[0]:
            return ()
        if change.op == "delete":
            self.entries[id_] = (change.position, change.event_time, None, ())
            return (DocumentUpdate(_spent(value)),)
        seen = _texts(known)
        since = tuple(seen.get(chunk.id, change.event_time) for chunk in value.chunks)
        packed = b"".join(bytes.fromhex(chunk.id) for chunk in value.chunks)
        self.entries[id_] = (change.position, change.event_time, packed, since)
        fresh = tuple(chunk.id for chunk in value.chunks if chunk.id not in seen)
        return (DocumentUpdate(_spent(value), since, fresh, anew=known is None),)

    @override
    def event_time(self, value: ChunkedDocument) -> int | None:
        return value.change.event_time

    @override
    def expired(self, entry: Entry, before: int) -> bool:
        return entry[2] is None and entry[1] < before


def _texts(entry: Entry | None) -> dict[str, int]:
    """Chunk ids of a document's newest version, with the time of each one's text."""
    if entry is None or entry[2] is None:
        return {}
    ids = (entry[2][start : start + _ID].hex() for start in range(0, len(entry[2]), _ID))
    return dict(zip(ids, entry[3], strict=True))


def _spent(document: ChunkedDocument) -> ChunkedDocument:
    # The bytes have become chunks: they need not travel on.
    return msgspec.structs.replace(document, change=msgspec.structs.replace(document.change, content=None))
