"""Documents on their way into the knowledge base: a change, its chunks, an update of the store."""

from __future__ import annotations

from typing import Literal

import msgspec


class DocumentChange(msgspec.Struct, frozen=True):
    """One document was created, edited, renamed or deleted at its source.

    :arg source: Name of the folder or stream that it came from.
    :arg uri: Name within the source; for a folder the path below it, with forward slashes.
    :arg op: `upsert` carries the whole new content, `delete` carries none.
    :arg position: Orders the changes of one document: the newest wins.
    :arg event_time: When it changed at its source (ms since epoch).
    :arg content: The document's bytes; None for a delete.
    :arg media_type: Such as `text/markdown`; decides how it is parsed.
    :arg title: Title known to the source; parsing may find a better one.
    :arg audience: Labels of who may read it; empty means that nobody may.
    :arg metadata: Further fields, kept with the document.
    :arg fingerprint: What the source recognises the unchanged document by; opaque to everybody else.
    :arg moved: For a rename, the other uri: on the upsert the old one, on the delete the new one.
    """

    source: str
    uri: str
    op: Literal["upsert", "delete"]
    position: int
    event_time: int
    content: bytes | None = None
    media_type: str = "text/markdown"
    title: str = ""
    audience: tuple[str, ...] = ("public",)
    metadata: dict[str, str] = {}
    fingerprint: str = ""
    moved: str = ""

    @property
    def document(self) -> str:
        """Id of the document over all sources."""
        return document_id(self.source, self.uri)


def document_id(source: str, uri: str) -> str:
    """Return the id, over all sources, of the document `uri` of `source`."""
    return f"{source}/{uri}"


class Chunk(msgspec.Struct, frozen=True):
    """One piece of a document, small enough for the embedding model.

    :arg id: Hash of document, embedded text and occurrence: an edit elsewhere leaves it alone.
    :arg heading: Headings above it, outermost first.
    :arg text: The piece itself, without its headings.
    :arg tokens: Tokens of the embedded text by the model's own tokenizer, special tokens left out.
    """

    id: str
    heading: tuple[str, ...]
    text: str
    tokens: int

    @property
    def embedded(self) -> str:
        """What the model sees: the heading path, then the text."""
        return embedded_text(self.heading, self.text)


def embedded_text(heading: tuple[str, ...], text: str) -> str:
    """Put the heading path in front of a chunk's text, as the model sees it."""
    return f"{' > '.join(heading)}\n\n{text}" if heading else text


class ChunkedDocument(msgspec.Struct, frozen=True):
    """A document change after parsing and chunking; `chunks` is empty for a delete.

    `language` is an ISO 639-1 code, or empty where it could not be told.
    """

    change: DocumentChange
    title: str = ""
    language: str = ""
    chunks: tuple[Chunk, ...] = ()


class DocumentUpdate(msgspec.Struct, frozen=True):
    """What a document shall be in the vector store: its whole manifest, with vectors for what is new.

    A store brings itself to this state whatever it held before, so the same update twice, or one after a
    lost state, ends in the same content.

    :arg document: The document with all of its chunks in order. Its change's content is None: it is spent.
    :arg since: For each chunk, the event time of the change that brought its text (ms since epoch);
        empty means that of this change.
    :arg fresh: Ids of the chunks that the diff has not seen in the document before.
    :arg anew: Whether the diff knew nothing of the document: a new one, or known only to the store after a lost state.
    :arg vectors: For chunk ids, float32 little-endian bytes; at least for those in `fresh` once embedded.
    """

    document: ChunkedDocument
    since: tuple[int, ...] = ()
    fresh: tuple[str, ...] = ()
    anew: bool = False
    vectors: dict[str, bytes] = {}
