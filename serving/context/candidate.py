"""A piece that may go into a context: what was found, before it is known whether there is room for it."""

from __future__ import annotations

from typing import Any

import msgspec

from events.context import ItemKind, Superseded


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Fields as of `events.context.ContextItem`.

    :arg store: Name of the flow whose store it was read from: `knowledge`, `tables`, `profiles`, `lake`.
    :arg text: May be cut where there is not room for all of it.
    :arg lasting: Lines behind the text that are never cut off: it goes with all of them, or not at all.
    :arg score: How useful it is, from 0 to 1: what decides who goes first where there is not room for all.
    """

    kind: ItemKind
    id: str
    store: str
    source: str
    place: str
    title: str
    text: str
    position: str
    as_of: int
    since: int
    applied_at: int
    score: float
    lasting: str = ""
    warning: str = ""
    data: dict[str, Any] = {}
    superseded: tuple[Superseded, ...] = ()
