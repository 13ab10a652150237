"""What the tools take: every argument is named, described for whoever has only this to go by, and bounded.

Numbers in quotes and a text in place of a list of one are taken for what they mean; what is not named is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from events.errors import RejectedError
from serving.http.limits import check_text

_LONGEST_ID = 512
_DEEPEST = 8
_SHOWN = 5


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Question = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100_000,
        description="What is to be known, as a whole sentence in the user's own words, with the names, numbers and "
        "dates in it: 'Is flight CV 214 on Friday on time?' finds more than 'flight status'.",
    ),
]
Conversation = Annotated[str, Field(max_length=_LONGEST_ID)]
Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], BeforeValidator(_as_list)]


class Arguments(BaseModel):
    """What a tool is called with."""

    model_config = ConfigDict(extra="forbid")


class ContextArguments(Arguments):
    """Of `get_context`."""

    question: Question
    conversation: Conversation | None = Field(
        None,
        description="Id of the conversation that the question belongs to, if there is one; what was said in it lately "
        "then becomes part of the context.",
    )
    budget_tokens: int | None = Field(
        None, ge=50, le=1_000_000, description="How many tokens the context may have at most; default: as configured."
    )
    max_age_seconds: float | None = Field(
        None,
        ge=0,
        le=3_200_000_000,
        allow_inf_nan=False,
        description="Demand that no source read is further behind than this: 5 for prices about to be paid. Waits a "
        "moment if need be, then refuses and tells the age. Leave it out if older data, told as such, will do.",
    )
    tables: Names | None = Field(
        None, max_length=100, description="Look into these live tables only; default: into all that fit the question."
    )


class SearchArguments(Arguments):
    """Of `search_knowledge`."""

    question: Question
    k: int = Field(5, ge=1, le=50, description="How many passages at most.")
    source: str | None = Field(
        None, max_length=_LONGEST_ID, description="Only documents of this source, as results name it; default: of all."
    )


class ProfileArguments(Arguments):
    """Of `get_profile`."""


class TableArguments(Arguments):
    """Of `query_table`."""

    table: str = Field(min_length=1, max_length=200, description="Name of the live table.")
    where: Annotated[list[Annotated[str, Field(max_length=1000)]], BeforeValidator(_as_list)] | None = Field(
        None,
        max_length=20,
        description="Conditions that must all hold, each a text COLUMN OPERATOR VALUE with = != < <= > >= or ~ "
        "(contains), without quotes around the value: ['destination=Lisbon', 'price<200'].",
    )
    order: str | None = Field(None, max_length=_LONGEST_ID, description="Name of the column to sort by.")
    descending: bool = Field(False, description="Sort from the greatest to the least.")
    limit: int = Field(20, ge=1, le=200, description="How many rows at most.")


class FeedbackArguments(Arguments):
    """Of `give_feedback`."""

    conversation: str = Field(min_length=1, max_length=_LONGEST_ID, description="Id of the conversation that is meant.")
    turn: Conversation | None = Field(
        None, description="Id of the answer that is meant; default: the conversation as a whole."
    )
    thumbs: Literal["up", "down"] | None = Field(None, description="Whether the user liked it. Not beside `stars`.")
    stars: int | None = Field(None, ge=1, le=5, description="From 1, worst, to 5, best. Not beside `thumbs`.")
    comment: str | None = Field(None, max_length=100_000, description="What the user said of it, in their own words.")


def read(model: type[Arguments], given: dict[str, Any] | None) -> Any:
    """Return the arguments of a call.

    :raises RejectedError: When they are not what the tool takes, naming each that is wrong.
    """
    arguments = given or {}
    _check_texts(arguments)
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        parts = [f"{'.'.join(str(part)[:60] for part in one['loc'])}: {one['msg']}" for one in found[:_SHOWN]]
        raise RejectedError("; ".join(parts), f"it takes: {', '.join(model.model_fields) or 'nothing'}") from None


def _check_texts(value: Any, depth: int = 0) -> None:
    if depth > _DEEPEST:
        detail = "the arguments are nested too deeply"
        raise RejectedError(detail, "give them as the tool describes them")
    if isinstance(value, str):
        check_text(value, "an argument")
    elif isinstance(value, list):
        for one in value:
            _check_texts(one, depth + 1)
    elif isinstance(value, dict):
        for name, one in value.items():
            _check_texts(name, depth + 1)
            _check_texts(one, depth + 1)
