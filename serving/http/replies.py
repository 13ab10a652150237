"""What responses hold, for `/openapi.json`: times in ISO 8601 with milliseconds and `Z`, ages and lags in milliseconds.

The responses themselves are what the service says, byte for byte; that they fit these shapes is what the tests prove.
Later versions may add fields.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from events.context import ItemKind

ITEM: dict[str, Any] = {
    "number": 1,
    "kind": "row",
    "id": "fares/214",
    "source": "operations",
    "place": "public.fares/214",
    "title": "Fare of CV 214",
    "text": "CV 214 costs 149 EUR",
    "position": "24023128",
    "as_of": "2026-11-03T09:41:00.000Z",
    "since": "2026-11-03T09:41:00.000Z",
    "applied_at": "2026-11-03T09:41:00.650Z",
    "age_ms": 61_000,
    "lag_ms": 420,
    "stale": False,
    "warning": "",
    "score": 0.93,
    "tokens": 14,
    "data": {"flight": "CV 214", "price": 149},
    "superseded": [{"column": "price", "was": 129, "now": 149, "until": "2026-11-03T09:41:00.000Z"}],
}


class Reply(BaseModel):
    """A document that is sent."""


class ErrorSaid(Reply):
    """What is wrong, and what to do about it."""

    kind: str
    detail: str
    hint: str
    age_ms: int | None = Field(None, description="of kind `stale`: how old the store is; null if it cannot be told")


class ErrorReply(Reply):
    """Every error."""

    error: ErrorSaid

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "kind": "stale",
                        "detail": "the store is 12.0 s old, older than the 5 s asked for",
                        "hint": "is the flow running? see `headrace status`",
                        "age_ms": 12_000,
                    }
                }
            ]
        }
    )


class SupersededSaid(Reply):
    """A value that was true until lately."""

    column: str
    was: Any
    now: Any
    until: str


class Item(Reply):
    """One piece of a context."""

    number: int = Field(description="by which answers cite it")
    kind: ItemKind
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
    lag_ms: int | None = Field(description="how far the store was behind this source at most; null if not known")
    stale: bool = Field(description="whether that is more than the source's objective, or not known")
    warning: str = Field(
        "", description="what speaks against taking it as it stands, such as that it is deleted; or empty"
    )
    score: float
    tokens: int
    data: dict[str, Any]
    superseded: list[SupersededSaid]


class CutSaid(Reply):
    """The state of one store that all items of it are of."""

    store: str
    applied: dict[str, int]
    age_ms: int | None


class ContextReply(Reply):
    """A context, as it is kept."""

    id: str
    conversation: str
    person: str
    question: str
    audiences: list[str]
    at: str
    tokens: int
    budget: int
    tokenizer: str
    items: list[Item]
    left_out: dict[str, int] = Field(description="by kind, what was found and had no room")
    cuts: list[CutSaid]
    notes: list[str]
    block: str = Field(description="ready to go into a prompt")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "c7q2",
                    "conversation": "",
                    "person": "",
                    "question": "What does CV 214 cost?",
                    "audiences": ["public"],
                    "at": "2026-11-03T09:42:01.000Z",
                    "tokens": 41,
                    "budget": 1500,
                    "tokenizer": "all-MiniLM-L6-v2",
                    "items": [ITEM],
                    "left_out": {"chunk": 2},
                    "cuts": [{"store": "tables", "applied": {"operations/0": 812}, "age_ms": 420}],
                    "notes": [],
                    "block": "[1] CV 214 costs 149 EUR (was 129 until 09:41)",
                }
            ]
        }
    )


class CitationSaid(Reply):
    """An item that an answer names."""

    number: int
    kind: ItemKind
    id: str
    source: str
    place: str
    title: str


class AnswerSaid(Reply):
    """A whole answer; also the event `answer` of a stream."""

    turn: str = Field(description="its id, by which it can be rated")
    conversation: str
    context: str
    text: str
    citations: list[CitationSaid]
    model: str
    degraded: str = Field(description="why it is less than was asked for; empty if nothing is wrong")
    latency_ms: float
    first_token_ms: float
    tokens_in: int | None
    tokens_out: int | None


class AnswerReply(Reply):
    """An answer that is not streamed, with the context that it is from."""

    context: ContextReply
    answer: AnswerSaid


class Piece(Reply):
    """A piece of a document."""

    id: str
    score: float
    title: str
    heading: list[str]
    text: str
    source: str
    uri: str
    position: int
    ordinal: int
    as_of: str
    since: str
    applied_at: str
    age_ms: int


class SearchReply(Reply):
    """Pieces of documents, best first."""

    items: list[Piece]


class TokenReply(Reply):
    """A token for a person, for the header `Headrace-Person`."""

    token: str
    person: str
    realm: str
    audiences: list[str]
    expires_at: str


class ProfileReply(Reply):
    """A person, each value with the record that it comes from."""

    person: str
    realm: str
    since: str
    aliases: list[str]
    age_ms: int | None
    fields: dict[str, Any]
    collections: dict[str, Any]
    identifiers: dict[str, list[str]]
    records: list[dict[str, Any]]


class ColumnSaid(Reply):
    """A column of a live table."""

    column: str
    kind: str


class TableSaid(Reply):
    """A live table."""

    name: str
    columns: list[ColumnSaid]
    owned: bool = Field(description="whether each row is a person's: it is served to that person only")


class TablesReply(Reply):
    """The live tables that the caller may read."""

    tables: list[TableSaid]


class RowSaid(Reply):
    """A row; `row` is null when it is older than its table allows."""

    source: str
    table: str
    key: dict[str, Any]
    row: dict[str, Any] | None
    position: str
    as_of: str
    applied_at: str
    initiator: str | None
    age_ms: int
    unknown: list[str]
    unknown_since: str | None
    held: bool


class RowsReply(Reply):
    """Rows of a live table."""

    table: str
    rows: list[RowSaid]
    age_ms: int | None = Field(description="how old the store is at most; null if it cannot be told")


class ValueSaid(Reply):
    """A KPI's value in one window."""

    start: str | None
    value: float | None
    end: str | None = None
    count: int | None = None
    stage: str | None = None


class SeriesSaid(Reply):
    """A KPI over its last windows, for one group."""

    kpi: str
    window: str
    group: dict[str, Any]
    unit: str
    better: str
    value: float | None
    written: str
    windows: list[str] = []
    values: list[ValueSaid]


class KpisReply(Reply):
    """All KPIs."""

    kpis: list[SeriesSaid]


class KpiReply(Reply):
    """One KPI, by group."""

    series: list[SeriesSaid]


class AlertSaid(Reply):
    """An alert."""

    id: str
    kind: str
    severity: str
    state: str
    since: str
    subject: str
    text: str
    group: dict[str, Any]
    documents: list[str]


class AlertsReply(Reply):
    """Alerts, those that happened last first."""

    alerts: list[AlertSaid]


class FeedbackReply(Reply):
    """What was taken in."""

    accepted: int
    ids: list[str]


class SourceSaid(Reply):
    """How far one flow is with one of its sources."""

    flow: str
    source: str
    lag_ms: int | None
    objective_ms: int | None
    met: bool | None


class FreshnessReply(Reply):
    """How fresh everything is."""

    at: str
    sources: list[SourceSaid]
    stores: dict[str, Any]
    dead_letters: dict[str, int]
    alerts: int | None


class LetterSaid(Reply):
    """An event that could not be processed; not what it holds."""

    id: str
    flow: str
    step: str
    reason: str
    stream: str
    partition: int
    offset: int
    failed_at: str


class LettersReply(Reply):
    """Events that could not be processed, newest first."""

    letters: list[LetterSaid]


class HealthReply(Reply):
    """Whether the server can be asked."""

    status: Literal["ok", "starting", "stopping"]
