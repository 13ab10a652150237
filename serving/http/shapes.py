"""What requests may hold: everything is named, and has a bound. What is not named is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from events.changes import parse_position
from events.errors import RejectedError
from serving.context.request import ContextRequest, Said
from serving.freshness import Demand

LONGEST_ID = 512
MOST_TURNS = 50
_YEARS = 3_200_000_000_000
"""A hundred years in milliseconds."""
_NOT_BLANK = r"\S"
_PAIR = r"^[^=]+="


def _not_blank(text: str) -> str:
    if not text.strip():
        message = "say something"
        raise ValueError(message)
    return text


Question = Annotated[
    str,
    Field(min_length=1, max_length=100_000, pattern=_NOT_BLANK, description="what is asked, in the asker's own words"),
]
Id = Annotated[str, Field(max_length=LONGEST_ID)]
GivenId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Labels = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]],
    Field(min_length=1, max_length=100, description="answer for these labels only; all must be the caller's"),
]
MaxAge = Annotated[int, Field(ge=0, le=_YEARS, description="how old (ms) each store that is asked may be at most")]
Wait = Annotated[
    float,
    Field(ge=0, le=300, allow_inf_nan=False, description="seconds to wait for that, at most the server's own bound"),
]
_POSITION = r"^([0-9]{1,18}:)?([0-9]{1,38}(\.[0-9]{1,38}){0,7}|[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})$"
FORMS = {
    _NOT_BLANK: "it is blank: say something",
    _PAIR: "it is no condition, such as `model=gpt-x`",
    _POSITION: "it is no position, such as `0/16B3748` or `12.5`: send one as an answer had it",
}
"""What to say of a text that has not the form of a pattern."""
PositionText = Annotated[
    str, Field(max_length=400, pattern=_POSITION, description="as answers have it, or a PostgreSQL LSN: `0/16B3748`")
]


class Body(BaseModel):
    """A body of a request. JSON has types: a number in quotes is none."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Turn(Body):
    """A turn of the conversation so far."""

    role: Literal["user", "assistant"]
    text: str = Field(max_length=100_000)


class MinPosition(Body):
    """Everything up to this change of a source must be in."""

    source: Id = Field("", description="the database; needed where there are several")
    position: PositionText


class AskBody(Body):
    """A question, and what its context is to be like."""

    question: Question
    conversation: Id = Field("", description="id of the conversation that it belongs to")
    history: list[Turn] | None = Field(
        None, max_length=MOST_TURNS, description="the conversation so far, oldest first; default: as it is known here"
    )
    budget_tokens: int | None = Field(None, ge=50, le=1_000_000, description="tokens of the block at most")
    max_age_ms: MaxAge | None = None
    min_position: MinPosition | None = None
    wait_seconds: Wait | None = None
    tables: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None, max_length=100, description="look into these live tables only"
    )
    audiences: Labels | None = None
    chunks: int | None = Field(None, ge=0, le=200, description="pieces of documents at most")

    def request(self, most_seconds: float, *, peek: bool = False) -> ContextRequest:
        """Return what it asks for.

        :arg most_seconds: How long it may wait at most.
        """
        least = self.min_position
        return ContextRequest(
            question=self.question,
            conversation=self.conversation,
            history=None if self.history is None else tuple(Said(turn.role, turn.text) for turn in self.history),
            budget_tokens=self.budget_tokens,
            demand=demand(
                self.max_age_ms,
                least.position if least else "",
                least.source if least else "",
                self.wait_seconds,
                most_seconds,
            ),
            tables=None if self.tables is None else tuple(self.tables),
            audiences=None if self.audiences is None else tuple(self.audiences),
            chunks=self.chunks,
            peek=peek,
        )


class ContextBody(AskBody):
    """`POST /context`."""

    peek: bool = Field(False, description="only look: the context is not kept, and not told to the log")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"question": "Is flight CV 214 on time?"},
                {
                    "question": "May I move my trip to next week?",
                    "conversation": "c-81",
                    "budget_tokens": 1200,
                    "max_age_ms": 5000,
                    "wait_seconds": 2,
                },
            ]
        }
    )


class AnswerBody(AskBody):
    """`POST /answer`."""

    stream: bool = Field(True, description="as server-sent events; else as one document at the end")

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"question": "May I bring a bicycle?"}, {"question": "Why?", "stream": False}]}
    )


class SearchBody(Body):
    """`POST /search`."""

    question: Question
    k: int = Field(8, ge=1, le=100, description="how many pieces at most")
    source: Id = Field("", description="only documents of this folder or stream")
    prefix: Id = Field("", description="only documents whose uri begins so")
    audiences: Labels | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"question": "cancellation fee", "k": 3}]})


class TokenBody(Body):
    """`POST /tokens`."""

    person: Annotated[GivenId, AfterValidator(_not_blank)] = Field(
        description="whom it is for: id, e-mail address, telephone number, `TYPE:VALUE` or a record", pattern=_NOT_BLANK
    )
    realm: Id = Field("", description="the person's realm, where one thing leads to several persons")
    audiences: Labels | None = None
    minutes: float | None = Field(None, gt=0, le=1440, allow_inf_nan=False, description="how long it is to be good")

    model_config = ConfigDict(json_schema_extra={"examples": [{"person": "email:ada@example.com"}]})


class Thumb(Body):
    """A thumb up (1) or down (0)."""

    scale: Literal["thumbs"]
    value: Literal[0, 1]


class Marks(Body):
    """One (worst) to five (best)."""

    scale: Literal["stars", "csat"]
    value: int = Field(ge=1, le=5)


class FeedbackBody(Body):
    """`POST /feedback`: a rating, a comment, or both."""

    conversation: GivenId
    turn: Id = Field("", description="id of the answer; default: the whole conversation is meant")
    rating: Thumb | Marks | None = Field(None, discriminator="scale")
    comment: str = Field("", max_length=100_000)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"conversation": "c-81", "turn": "t-2", "rating": {"scale": "thumbs", "value": 1}}],
            "anyOf": [
                {"required": ["rating"], "properties": {"rating": {"not": {"type": "null"}}}},
                {"required": ["comment"], "properties": {"comment": {"pattern": r"\S"}}},
            ],
        }
    )


class Query(BaseModel):
    """Parameters of an address."""

    model_config = ConfigDict(extra="forbid")


Last = Annotated[int, Field(ge=1, le=1440, description="how many windows back from the newest one")]
Window = Annotated[str, Field(max_length=60, description="kind of window, such as `1h`; default: the shortest")]


class RowsQuery(Query):
    """`GET /tables/{name}`."""

    where: list[Annotated[str, Field(max_length=1000)]] = Field(
        [], max_length=20, description="conditions that all must hold: COLUMN=VALUE, or with != < <= > >= ~ (contains)"
    )
    order: Id = Field("", description="column to sort by")
    descending: bool = False
    limit: int = Field(100, ge=1, le=1000)
    max_age_ms: MaxAge | None = None
    min_position: PositionText | None = None
    source: Id = Field("", description="the database that `min_position` is of")
    wait_seconds: Wait | None = None


class KpisQuery(Query):
    """`GET /kpis`."""

    window: Window = ""
    last: Last | None = None


class KpiQuery(KpisQuery):
    """`GET /kpis/{name}`."""

    by: list[Id] = Field([], max_length=10, description="fields that it is grouped by")
    where: list[Annotated[str, Field(max_length=1000, pattern=_PAIR)]] = Field(
        [], max_length=10, description="FIELD=VALUE: these groups only"
    )


class AlertsQuery(Query):
    """`GET /alerts`."""

    limit: int = Field(200, ge=1, le=1000)


class LettersQuery(Query):
    """`GET /dead-letters`."""

    flow: Annotated[str, Field(max_length=60)] = ""
    limit: int = Field(100, ge=1, le=1000)


def demand(
    max_age: int | None, position: str, source: str, seconds: float | None, most_seconds: float
) -> Demand | None:
    """Return how fresh an answer must be; None: as it is.

    :raises RejectedError: When the position is none.
    """
    if max_age is None and not position:
        return None
    try:
        least = parse_position(position) if position else ()
    except ValueError:
        detail = f"{position!r} is not a position"
        raise RejectedError(detail, "take one that an answer has, or an LSN such as 0/16B3748") from None
    return Demand(max_age, source, least, most_seconds if seconds is None else min(seconds, most_seconds))


def bounded(schema: dict[str, Any], longest_question: int) -> dict[str, Any]:
    """Write the settings' own bounds into an OpenAPI document."""
    for shape in schema.get("components", {}).get("schemas", {}).values():
        question = shape.get("properties", {}).get("question", {})
        if "maxLength" in question:
            question["maxLength"] = longest_question
    return schema
