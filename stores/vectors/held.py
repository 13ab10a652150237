"""What a vector store holds of one document, whatever it is kept in, and how readers see that."""

from __future__ import annotations

import msgspec

from stores.vectors.base import StoredDocument

RESERVED = "doc:", "mark:"
"""How no chunk's id may begin: an adapter may keep other things beside the chunks."""


class Held(msgspec.Struct, frozen=True):
    """What the store holds of one document.

    :arg alive: False for a deleted one, whose manifest is empty.
    :arg manifest: Ids of its chunks in order.
    :arg since: For each of them, the event time of the change that brought it (ms since epoch).
    """

    alive: bool
    source: str
    uri: str
    position: int
    as_of: int
    applied_at: int = 0
    title: str = ""
    language: str = ""
    audience: tuple[str, ...] = ()
    media_type: str = ""
    metadata: dict[str, str] = {}
    fingerprint: str = ""
    manifest: tuple[str, ...] = ()
    since: tuple[int, ...] = ()

    def stored(self) -> StoredDocument:
        """Return it as readers see it."""
        return StoredDocument(
            source=self.source,
            uri=self.uri,
            position=self.position,
            fingerprint=self.fingerprint,
            as_of=self.as_of,
            applied_at=self.applied_at,
            title=self.title,
            language=self.language,
            audience=self.audience,
            chunk_ids=self.manifest,
            metadata=self.metadata,
        )
