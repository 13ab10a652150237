"""What a context is asked for by."""

from __future__ import annotations

import msgspec

from serving.freshness import Demand


class Said(msgspec.Struct, frozen=True):
    """A turn of the conversation so far, as the application hands it over."""

    role: str
    text: str


class ContextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and what its context is to be like.

    :arg conversation: Id of the conversation that it belongs to; empty for none.
    :arg history: The conversation so far, oldest first; None: as far as it is known here.
    :arg budget_tokens: Tokens of the block at most; None: of the settings.
    :arg demand: How fresh each store must be that is asked, but not the conversation so far; None: as it is.
    :arg tables: Look-ups of these live tables only; None: all that are configured.
    :arg audiences: Labels to answer for, among the caller's; None: all of these.
    :arg chunks: Pieces of documents at most; None: of the settings.
    :arg peek: Only look: the context is shown to no model, so that it is neither kept nor told to the log.
    """

    question: str
    conversation: str = ""
    history: tuple[Said, ...] | None = None
    budget_tokens: int | None = None
    demand: Demand | None = None
    tables: tuple[str, ...] | None = None
    audiences: tuple[str, ...] | None = None
    chunks: int | None = None
    peek: bool = False
