"""What people and models said, how it was received, and what the model had been shown: as it comes in.

Everything but metric points belongs to a conversation, by its id. Times are in milliseconds since 1970-01-01 UTC. An
event is itself by its kind, its conversation and its id; of two that differ, `stands_over` says which one stands,
whatever came first.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

import msgspec

Role = Literal["user", "assistant", "system", "tool"]
Scale = Literal["thumbs", "stars", "csat"]


class Turn(msgspec.Struct, frozen=True):
    """One message of a conversation.

    :arg id: Unique within its conversation.
    :arg application: The application that held the conversation.
    :arg model: The model that wrote it; empty for people.
    :arg language: ISO 639-1 code; empty if it is not known.
    :arg topic: What it is about, if whoever sent it knows; empty otherwise.
    :arg person: Who the application spoke with: any id of theirs, a record key or a person's id.
    :arg latency: Milliseconds from the question to the whole answer.
    :arg tokens_in: Tokens that the model read.
    :arg tokens_out: Tokens that it wrote.
    :arg cost: What it cost, in the currency of the settings.
    :arg fallback: Whether the application gave up, and said so or handed over.
    :arg context: Id of the context that the model was shown; empty for none.
    :arg consent: Whether the person agreed that it be used to train models; None if that was not said.
    """

    conversation: str
    id: str
    time: int
    role: Role
    text: str = ""
    application: str = ""
    model: str = ""
    language: str = ""
    topic: str = ""
    person: str = ""
    latency: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    fallback: bool = False
    context: str = ""
    consent: bool | None = None


class Rating(msgspec.Struct, frozen=True):
    """How an answer, or a whole conversation, was rated.

    :arg turn: Id of the answer; empty for the whole conversation.
    :arg scale: `thumbs`: value 0 or 1; `stars` and `csat`: 1 to 5.
    """

    conversation: str
    id: str
    time: int
    scale: Scale
    value: float
    turn: str = ""
    person: str = ""

    @property
    def good(self) -> bool:
        """Whether it is a thumb up, or four or five of five."""
        return self.value >= (1 if self.scale == "thumbs" else 4)

    @property
    def bad(self) -> bool:
        """Whether it is a thumb down, or one or two of five."""
        return self.value <= (0 if self.scale == "thumbs" else 2)


class Verdict(msgspec.Struct, frozen=True):
    """What a text says, as a classifier has it.

    :arg category: Such as `satisfied`, `dissatisfied`, `neutral`; empty if it could not be told.
    :arg topics: What it is about, surest first.
    :arg confidence: Of the category, 0 to 1.
    :arg model: Which classifier said so, with its version.
    """

    category: str = ""
    topics: tuple[str, ...] = ()
    confidence: float = 0.0
    model: str = ""


class Comment(msgspec.Struct, frozen=True):
    """Free text about an answer, or about a whole conversation.

    :arg turn: Id of the answer; empty for the whole conversation.
    :arg verdict: None until a classifier has read it.
    """

    conversation: str
    id: str
    time: int
    text: str
    turn: str = ""
    person: str = ""
    language: str = ""
    verdict: Verdict | None = None


class ShownItem(msgspec.Struct, frozen=True):
    """One piece of a context that was shown.

    :arg source: Where it came from: a folder, a stream, a live table.
    :arg document: The document, row or profile within its source.
    :arg chunk: Id of the piece.
    :arg as_of: Event time of the change up to which it was true.
    :arg lag: Milliseconds that the store was behind this source when the context was assembled; None if not known.
    :arg stale: Whether whoever assembled it knew that it was out of date.
    :arg text: What was shown; may be left out.
    """

    source: str
    document: str = ""
    chunk: str = ""
    as_of: int | None = None
    lag: float | None = None
    stale: bool = False
    text: str = ""


class ShownContext(msgspec.Struct, frozen=True, omit_defaults=True):
    """The context that went into a prompt.

    One that names nobody ranks as it did before there was a `person`: so that is left out when it is written.

    :arg id: Unique within its conversation; turns name it.
    :arg person: Whose data may be in it; empty for nobody's.
    """

    conversation: str
    id: str
    time: int
    items: tuple[ShownItem, ...]
    person: str = ""


class Point(msgspec.Struct, frozen=True):
    """One value of a metric.

    :arg id: Unique within its name and labels; made of its time where whoever sent it gave none.
    :arg name: Such as `gpu_load`.
    :arg labels: Such as the host. Name and labels make the series.
    """

    id: str
    time: int
    name: str
    value: float
    labels: dict[str, str] = {}

    @property
    def series(self) -> str:
        """Name and labels as one text: the same for the same labels in any order."""
        return msgspec.json.encode([self.name, *sorted(self.labels.items())]).decode()


SPEAKING: dict[Role, int] = {"system": 0, "user": 1, "tool": 2, "assistant": 3}
"""Of turns at the same time, who comes first: a question goes before its answer, whatever their ids."""

Said: TypeAlias = "Turn | Rating | Comment | ShownContext"
"""What belongs to a conversation."""

FeedbackEvent: TypeAlias = "Turn | Rating | Comment | ShownContext | Point"

KINDS: dict[type, str] = {
    Turn: "turn",
    Rating: "rating",
    Comment: "comment",
    ShownContext: "context",
    Point: "point",
}

_ENCODER = msgspec.json.Encoder(order="sorted")


def kind_of(event: FeedbackEvent) -> str:
    """Return `turn`, `rating`, `comment`, `context` or `point`."""
    return KINDS[type(event)]


def stands_over(event: FeedbackEvent, other: FeedbackEvent) -> bool:
    """Tell which of two events that have the same kind, conversation and id stands: the newer, else by content.

    A total order, so that what stands is a function of the set of events. A verdict does not count: it is what we made
    of the text, and comes back to the same comment.
    """
    return rank(event) > rank(other)


def rank(event: FeedbackEvent) -> tuple[int, bytes]:
    """Return what `stands_over` goes by: the event time, and 16 bytes that stand for the content."""
    if isinstance(event, Comment) and event.verdict is not None:
        event = msgspec.structs.replace(event, verdict=None)
    return event.time, hashlib.blake2b(_ENCODER.encode(event), digest_size=16).digest()


class Timed(msgspec.Struct, frozen=True):
    """An event, and how far its partition was when it came.

    :arg watermark: Newest event time of its partition up to its record, or its own if that is newer.
    """

    event: FeedbackEvent
    watermark: int


class Judgement(msgspec.Struct, frozen=True):
    """A verdict that comes after its text: of a comment, or of a question (then only the topics count).

    :arg id: Of the comment or of the turn.
    :arg time: Event time of that comment or turn.
    :arg watermark: As in the `Timed` that it came with.
    """

    kind: Literal["comment", "turn"]
    conversation: str
    id: str
    time: int
    verdict: Verdict
    watermark: int
