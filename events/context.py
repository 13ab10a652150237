"""What the application gets: pieces of context, each honest about where it comes from and how old it is."""

from __future__ import annotations

import msgspec


class ContextItem(msgspec.Struct, frozen=True):
    """One piece of a served context.

    Times are in milliseconds since 1970-01-01 UTC.

    :arg id: Id of the piece within its store.
    :arg text: What the model may read.
    :arg title: Title of the document.
    :arg heading: Headings above the piece, outermost first.
    :arg source: Where it comes from.
    :arg uri: The document within its source.
    :arg position: Up to which change of the document it is true.
    :arg as_of: Event time of that change.
    :arg since: Event time of the change that brought this very text.
    :arg applied_at: When the store took that change in.
    :arg ordinal: Place of the piece in its document, from 0.
    :arg score: Higher is better; comparable within one answer only.
    """

    id: str
    text: str
    title: str
    heading: tuple[str, ...]
    source: str
    uri: str
    position: int
    as_of: int
    since: int
    applied_at: int
    ordinal: int
    score: float

    def age(self, now: int) -> int:
        """Milliseconds between `as_of` and `now`, never negative."""
        return max(0, now - self.as_of)
