"""What the application gets: pieces of what is known, each honest about where it comes from and how old it is.

Times are in milliseconds since 1970-01-01 UTC, spans in milliseconds.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ItemKind = Literal["profile", "activity", "row", "chunk", "turn"]
KINDS: tuple[ItemKind, ...] = ("profile", "activity", "row", "chunk", "turn")


class FoundChunk(msgspec.Struct, frozen=True):
    """A piece of a document, as a search has found it.

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


class Superseded(msgspec.Struct, frozen=True):
    """A value that was true until lately: who was told it before is to be told that it is not any more.

    :arg column: Of the row.
    :arg was: The value until then; None if there was none.
    :arg now: The value that the item shows.
    :arg until: Event time of the change that ended it.
    """

    column: str
    was: Any
    now: Any
    until: int


class ContextItem(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a served context.

    :arg number: By which answers cite it: from 1, in the order of the block.
    :arg kind: `profile`: who the person is; `activity`: one of the person's open ones, such as a booking; `row`: of a
        live table; `chunk`: of a document; `turn`: what was said lately in the conversation.
    :arg id: Names the piece within its kind: person, record key, `table/key`, chunk, `conversation/turn`.
    :arg source: Where it comes from: a database, a folder, a stream.
    :arg place: Where in its source: table and key, a document's uri, a conversation.
    :arg title: What it is called, for people.
    :arg text: What the model may read.
    :arg position: Up to which change of its source it is true, as text.
    :arg as_of: Event time of that change; of a profile the newest of its values.
    :arg since: Event time of the change that brought this very text; of other kinds than chunks the same as `as_of`.
    :arg applied_at: When the store took that change in.
    :arg lag: How far the store was behind this source at most, when it was read: later changes than that long ago
        may be missing. None if it cannot be told.
    :arg stale: Whether `lag` is above the source's objective, or not known.
    :arg warning: What speaks against taking it as it stands, in words; empty if nothing does. Such as that the row is
        deleted at its source. That it is stale is not said here.
    :arg score: From 0 to 1, by which items went into the block; higher is more useful.
    :arg tokens: Of what the item adds to the block.
    :arg data: The row's columns, the profile's fields, or else what its kind has beside the text: plain JSON.
    :arg superseded: Values that were true until lately, newest change first.
    """

    number: int
    kind: ItemKind
    id: str
    source: str
    place: str
    title: str
    text: str
    position: str
    as_of: int
    since: int
    applied_at: int
    lag: int | None
    stale: bool
    warning: str = ""
    score: float
    tokens: int
    data: dict[str, Any] = {}
    superseded: tuple[Superseded, ...] = ()

    def age(self, now: int) -> int:
        """Milliseconds between `as_of` and `now`, never negative."""
        return max(0, now - self.as_of)


class Cut(msgspec.Struct, frozen=True):
    """The state of one store from which all of a context's items of it were read.

    :arg store: Name of its flow.
    :arg applied: By `stream/partition`, up to which offset everything is in.
    :arg age: How old (ms) what the store held was at most; None if it cannot be told.
    """

    store: str
    applied: dict[str, int]
    age: int | None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a model should know about a question and the person who asks it.

    :arg id: Unique; by it the context is shown again, and joined with feedback.
    :arg conversation: Empty if it is of none.
    :arg person: Id of the person; empty for nobody.
    :arg at: When it was assembled.
    :arg items: In the order of the block, most useful first.
    :arg block: Ready to go into a prompt.
    :arg tokens: Of the block, by the tokenizer named `tokenizer`; at most `budget`.
    :arg left_out: By kind, how many pieces were found that the budget had no room for.
    :arg cuts: Of each store that was asked.
    :arg notes: What could not be asked, and why, in words.
    """

    id: str
    conversation: str
    person: str
    question: str
    audiences: tuple[str, ...]
    at: int
    items: tuple[ContextItem, ...]
    block: str
    tokens: int
    budget: int
    tokenizer: str
    left_out: dict[ItemKind, int]
    cuts: tuple[Cut, ...]
    notes: tuple[str, ...] = ()
