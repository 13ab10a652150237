"""What the server says, with types. Times are as it says them, ISO 8601 in UTC; ages and lags are milliseconds.

Fields that a newer server adds are left aside, and those that an older one does not have yet have a default.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """A value that was true until lately."""

    column: str
    was: Any = None
    now: Any = None
    until: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a context.

    :arg number: By which answers cite it.
    :arg kind: `profile`, `activity`, `row`, `chunk` or `turn`.
    :arg position: Up to which change of its source it is true.
    :arg as_of: When that change happened.
    :arg lag_ms: How far the server's copy was behind the source at most; None if not known.
    :arg stale: Whether that is more than the source's objective, or not known.
    :arg warning: What speaks against taking it as it stands, such as that it is deleted; empty if nothing does.
    """

    number: int
    kind: str
    id: str
    source: str
    place: str
    title: str
    text: str
    position: str
    as_of: str
    since: str
    applied_at: str
    age_ms: int
    lag_ms: int | None
    stale: bool
    warning: str = ""
    score: float
    tokens: int
    data: dict[str, Any] = {}
    superseded: tuple[Superseded, ...] = ()


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one store that all items of it are of."""

    store: str
    applied: dict[str, int] = {}
    age_ms: int | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a model should know about a question.

    :arg block: Ready to go into a prompt.
    :arg left_out: By kind, what was found and had no room.
    :arg notes: What could not be asked, and why.
    """

    id: str
    conversation: str
    person: str
    question: str
    audiences: tuple[str, ...] = ()
    at: str
    tokens: int
    budget: int
    tokenizer: str
    items: tuple[Item, ...]
    left_out: dict[str, int] = {}
    cuts: tuple[Cut, ...] = ()
    notes: tuple[str, ...] = ()
    block: str


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """An item of the context that an answer names."""

    number: int
    kind: str
    id: str
    source: str
    place: str
    title: str


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """The next piece of an answer's text."""

    text: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer.

    :arg turn: Its id, by which it is rated.
    :arg degraded: Why it is less than was asked for; empty if nothing is wrong.
    """

    turn: str
    conversation: str
    context: str
    text: str
    citations: tuple[Citation, ...] = ()
    model: str
    degraded: str = ""
    latency_ms: float
    first_token_ms: float
    tokens_in: int | None = None
    tokens_out: int | None = None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and the context that it is from."""

    context: Context
    answer: Answer


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document."""

    id: str
    score: float
    title: str
    heading: tuple[str, ...] = ()
    text: str
    source: str
    uri: str
    position: int
    ordinal: int
    as_of: str
    since: str
    applied_at: str
    age_ms: int


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A value of a profile, with the record that it is from."""

    value: Any
    record: str
    source: str
    table: str
    key: Any
    position: str
    as_of: str
    applied_at: str
    age_ms: int


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a profile.

    :arg of: What it is from, newest first.
    :arg others: What other records say.
    """

    value: Any
    of: tuple[Value, ...] = ()
    others: tuple[Value, ...] = ()


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """A booking, a case or the like."""

    row: dict[str, Any]
    at: str
    open: bool
    record: str
    source: str
    table: str
    key: Any
    position: str
    as_of: str
    applied_at: str
    age_ms: int


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """All activities of one kind."""

    count: int
    open_count: int
    sums: dict[str, Any] = {}
    first: str | None = None
    latest: str | None = None
    open: tuple[Activity, ...] = ()
    last: tuple[Activity, ...] = ()


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A person."""

    person: str
    realm: str
    since: str
    aliases: tuple[str, ...] = ()
    age_ms: int | None = None
    fields: dict[str, Field] = {}
    collections: dict[str, Collection] = {}
    identifiers: dict[str, tuple[str, ...]] = {}
    records: tuple[dict[str, Any], ...] = ()


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a live table."""

    column: str
    kind: str


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A live table.

    :arg owned: Whether each row is a person's, and served to that person only.
    """

    name: str
    columns: tuple[Column, ...] = ()
    owned: bool = False


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a live table; `row` is None when it is older than its table allows."""

    source: str
    table: str
    key: dict[str, Any]
    row: dict[str, Any] | None
    position: str
    as_of: str
    applied_at: str
    initiator: str | None = None
    age_ms: int
    unknown: tuple[str, ...] = ()
    unknown_since: str | None = None
    held: bool = False


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a live table, and how old that is at most; None if it cannot be told."""

    table: str
    rows: tuple[Row, ...]
    age_ms: int | None


class WindowValue(msgspec.Struct, frozen=True, kw_only=True):
    """A KPI's value in one window."""

    start: str | None = None
    end: str | None = None
    value: float | None = None
    count: int | None = None
    stage: str | None = None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A KPI over its last windows, for one group."""

    kpi: str
    window: str
    group: dict[str, Any] = {}
    unit: str = ""
    better: str = ""
    value: float | None = None
    written: str = ""
    values: tuple[WindowValue, ...] = ()


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a KPI or a metric that somebody should look at."""

    id: str
    kind: str
    severity: str
    state: str
    since: str
    subject: str
    text: str
    group: dict[str, Any] = {}
    documents: tuple[str, ...] = ()


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken in of feedback."""

    accepted: int
    ids: tuple[str, ...] = ()


class SourceFreshness(msgspec.Struct, frozen=True, kw_only=True):
    """How far one flow is with one of its sources.

    :arg met: Whether it is within its objective; None where there is none, or it cannot be told.
    """

    flow: str
    source: str
    running: bool | None = None
    partitions: Any = None
    backlog: int | None = None
    lag_ms: int | None = None
    objective_ms: int | None = None
    met: bool | None = None
    newest: str | None = None
    age_ms: int | None = None
    positions: dict[str, str] = {}
    rate: float | None = None
    caught_up: bool = False


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How fresh everything is."""

    at: str
    sources: tuple[SourceFreshness, ...] = ()
    stores: dict[str, Any] = {}
    dead_letters: dict[str, int] = {}
    alerts: int | None = None


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be processed, without what it holds."""

    id: str
    flow: str
    step: str
    reason: str
    stream: str
    partition: int
    offset: int
    failed_at: str


class SignedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token for a person, for the header `Headrace-Person`."""

    token: str
    person: str
    realm: str
    audiences: tuple[str, ...] = ()
    expires_at: str
