"""Something that somebody should look at, raised by a flow."""

from __future__ import annotations

import msgspec


class Alert(msgspec.Struct, frozen=True):
    """One alert. Raised again it has the same id, so that it can be told from another one.

    :arg id: Names what it is about, such as `mass-delete/flights/29383910`.
    :arg kind: What sort of alert it is, such as `mass-delete`.
    :arg subject: The thing concerned, such as the live table.
    :arg text: One line for people, with the remedy.
    :arg event_time: When it happened, by the events' own time (ms since epoch).
    """

    id: str
    kind: str
    subject: str
    text: str
    event_time: int
