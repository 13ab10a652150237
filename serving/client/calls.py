"""What can be asked, each as the request that it is and how its response is read: no connection is opened here.

Every verb takes `person_token`: the token of the person that it is asked for, instead of the client's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from serving.client.documents import (
    Alert,
    Answered,
    Context,
    Freshness,
    Letter,
    Piece,
    Profile,
    Rows,
    Series,
    SignedToken,
    Table,
    Taken,
)
from serving.client.errors import broken

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")

Scale = Literal["thumbs", "stars", "csat"]
History = Sequence[tuple[str, str]]
"""Turns of a conversation, oldest first: role (`user` or `assistant`) and text."""


class Call(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One request.

    :arg read: Returns of a response's body what the caller gets.
    :arg safe: Whether it may be sent twice.
    :arg seconds: That the server may wait, beside what it always takes.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    params: tuple[tuple[str, str], ...] = ()
    person_token: str = ""
    safe: bool = True
    seconds: float = 0.0


class Asking(TypedDict, total=False):
    """What a context is to be like; whatever is left out is as configured.

    :arg conversation: Id of the conversation that the question belongs to.
    :arg history: The conversation so far; left out: as far as the server knows it.
    :arg budget_tokens: Tokens of the block at most.
    :arg max_age_ms: Demand that no store that is asked is older.
    :arg min_position: Demand that everything up to this change of the database `source` is in.
    :arg wait_seconds: How long to wait for that before it is refused.
    :arg tables: Look into these live tables only.
    :arg audiences: Answer for these labels only.
    :arg chunks: Pieces of documents at most.
    """

    conversation: str
    history: History | None
    budget_tokens: int | None
    max_age_ms: int | None
    min_position: str
    source: str
    wait_seconds: float | None
    tables: Sequence[str] | None
    audiences: Sequence[str] | None
    chunks: int | None


class _Pieces(msgspec.Struct):
    items: list[Piece]


class _Tables(msgspec.Struct):
    tables: list[Table]


class _Kpis(msgspec.Struct):
    kpis: list[Series]


class _Series(msgspec.Struct):
    series: list[Series]


class _Alerts(msgspec.Struct):
    alerts: list[Alert]


class _Letters(msgspec.Struct):
    letters: list[Letter]


def context(question: str, *, peek: bool = False, person_token: str = "", **asking: Unpack[Asking]) -> Call[Context]:
    """Return everything that a model should know about a question.

    :arg peek: Only look: the context is not kept.
    :arg asking: What it is to be like, see `Asking`.
    :raises StaleError: When the stores do not become as fresh as demanded.
    """
    asked = _asked(question, **asking)
    return Call(
        method="POST",
        path="/context",
        body=_body(**asked, peek=peek or None),
        read=_reading(Context),
        person_token=person_token,
        seconds=asking.get("wait_seconds") or 0.0,
    )


def kept(id_: str, *, person_token: str = "") -> Call[Context]:
    """Return a context again, as it was."""
    return Call(method="GET", path=f"/contexts/{_part(id_)}", read=_reading(Context), person_token=person_token)


def kept_bytes(id_: str, *, person_token: str = "") -> Call[bytes]:
    """Return the document of a context again, byte for byte as it was served."""
    return Call(method="GET", path=f"/contexts/{_part(id_)}", read=bytes, person_token=person_token)


def answer(question: str, *, person_token: str = "", **asking: Unpack[Asking]) -> Call[Answered]:
    """Return the answer to a question, once it is whole, with the context that it is from."""
    return _answering(question, asking, person_token, _reading(Answered), whole=True)


def stream(question: str, *, person_token: str = "", **asking: Unpack[Asking]) -> Call[bytes]:
    """Answer a question as it is written: first the `Context`, then each `Token`, last the whole `Answer`.

    Whoever stops reading closes the iterator, and with it the request to the model.
    """
    return _answering(question, asking, person_token, bytes, whole=False)


def search(
    question: str,
    *,
    k: int = 8,
    source: str = "",
    prefix: str = "",
    audiences: Sequence[str] | None = None,
    person_token: str = "",
) -> Call[list[Piece]]:
    """Return the pieces of documents that say most about a question, best first.

    :arg source: Only of this folder or stream.
    :arg prefix: Only of documents whose uri begins so.
    """
    body = _body(question=question, k=k, source=source or None, prefix=prefix or None, audiences=_list(audiences))
    read = _reading(_Pieces)
    return Call(
        method="POST", path="/search", body=body, read=lambda raw: read(raw).items, person_token=person_token
    )  # fmt: skip


def profile(person: str = "me", *, person_token: str = "") -> Call[Profile]:
    """Return the profile of the person whose token is sent.

    :arg person: Any id of that person.
    """
    return Call(method="GET", path=f"/profiles/{_part(person)}", read=_reading(Profile), person_token=person_token)


def graph(*, person_token: str = "") -> Call[str]:
    """Return the picture of which records are the person's and why, as SVG."""
    return Call(method="GET", path="/profiles/me/graph.svg", read=_text, person_token=person_token)


def tables(*, person_token: str = "") -> Call[list[Table]]:
    """Return the live tables that may be read, with their columns."""
    read = _reading(_Tables)
    return Call(method="GET", path="/tables", read=lambda raw: read(raw).tables, person_token=person_token)


def rows(
    table: str,
    *,
    where: Sequence[str] = (),
    order: str = "",
    descending: bool = False,
    limit: int = 100,
    max_age_ms: int | None = None,
    min_position: str = "",
    source: str = "",
    wait_seconds: float | None = None,
    person_token: str = "",
) -> Call[Rows]:
    """Return rows of a live table.

    :arg where: Conditions that all must hold: COLUMN=VALUE, or with != < <= > >= ~ (contains).
    :arg order: Column to sort by.
    :arg max_age_ms: Demands, as of `context`.
    :raises StaleError: When they are not met in time.
    """
    params = _params(
        where=where,
        order=order,
        descending="true" if descending else "",
        limit=limit,
        max_age_ms=max_age_ms,
        min_position=min_position,
        source=source,
        wait_seconds=wait_seconds,
    )
    return Call(
        method="GET",
        path=f"/tables/{_part(table)}",
        params=params,
        read=_reading(Rows),
        person_token=person_token,
        seconds=wait_seconds or 0.0,
    )


def kpis(*, window: str = "", last: int | None = None, person_token: str = "") -> Call[list[Series]]:
    """Return all KPIs.

    :arg window: Kind of window, such as `1h`; default: the shortest.
    :arg last: How many windows back.
    """
    read = _reading(_Kpis)
    params = _params(window=window, last=last)
    return Call(
        method="GET", path="/kpis", params=params, read=lambda raw: read(raw).kpis, person_token=person_token
    )  # fmt: skip


def kpi(
    name: str,
    *,
    window: str = "",
    by: Sequence[str] = (),
    where: Mapping[str, str] | None = None,
    last: int | None = None,
    person_token: str = "",
) -> Call[list[Series]]:
    """Return one KPI, group by group.

    :arg by: Fields that it is grouped by.
    :arg where: Fields and the values of the groups that are wanted.
    """
    read = _reading(_Series)
    conditions = [f"{field}={value}" for field, value in (where or {}).items()]
    return Call(
        method="GET",
        path=f"/kpis/{_part(name)}",
        params=_params(window=window, by=by, where=conditions, last=last),
        read=lambda raw: read(raw).series,
        person_token=person_token,
    )


def alerts(*, limit: int | None = None, person_token: str = "") -> Call[list[Alert]]:
    """Return alerts, those that happened last first."""
    read = _reading(_Alerts)
    return Call(
        method="GET",
        path="/alerts",
        params=_params(limit=limit),
        read=lambda raw: read(raw).alerts,
        person_token=person_token,
    )


def feedback(
    conversation: str,
    turn: str = "",
    *,
    rating: tuple[Scale, int] | None = None,
    comment: str = "",
    person_token: str = "",
) -> Call[Taken]:
    """Rate an answer, or say something about it.

    :arg turn: Id of the answer; default: the whole conversation is meant.
    :arg rating: Scale and value: `thumbs` 0 or 1, `stars` and `csat` 1 to 5.
    """
    rated = None if rating is None else {"scale": rating[0], "value": rating[1]}
    body = _body(conversation=conversation, turn=turn or None, rating=rated, comment=comment or None)
    return Call(
        method="POST", path="/feedback", body=body, read=_reading(Taken), person_token=person_token, safe=False
    )  # fmt: skip


def freshness(*, person_token: str = "") -> Call[Freshness]:
    """Return how fresh everything is, source by source."""
    return Call(method="GET", path="/freshness", read=_reading(Freshness), person_token=person_token)


def letters(flow: str = "", *, limit: int = 100, person_token: str = "") -> Call[list[Letter]]:
    """Return what could not be processed, and why; not what it holds."""
    read = _reading(_Letters)
    params = _params(flow=flow, limit=limit)
    return Call(
        method="GET", path="/dead-letters", params=params, read=lambda raw: read(raw).letters, person_token=person_token
    )  # fmt: skip


def token(
    person: str,
    *,
    realm: str = "",
    audiences: Sequence[str] | None = None,
    minutes: float | None = None,
    person_token: str = "",
) -> Call[SignedToken]:
    """Have a token signed for a person of whom the application has made sure.

    :arg person: Id, e-mail address, telephone number, TYPE:VALUE or a record.
    """
    body = _body(person=person, realm=realm or None, audiences=_list(audiences), minutes=minutes)
    return Call(
        method="POST", path="/tokens", body=body, read=_reading(SignedToken), person_token=person_token, safe=False
    )


def _answering(question: str, asking: Asking, person_token: str, read: Callable[[bytes], T], *, whole: bool) -> Call[T]:
    asked = _asked(question, **asking)
    return Call(
        method="POST",
        path="/answer",
        body=_body(**asked, stream=not whole),
        read=read,
        person_token=person_token,
        safe=False,
        seconds=asking.get("wait_seconds") or 0.0,
    )


def _asked(
    question: str,
    *,
    conversation: str = "",
    history: History | None = None,
    budget_tokens: int | None = None,
    max_age_ms: int | None = None,
    min_position: str = "",
    source: str = "",
    wait_seconds: float | None = None,
    tables: Sequence[str] | None = None,
    audiences: Sequence[str] | None = None,
    chunks: int | None = None,
) -> dict[str, Any]:
    return {
        "question": question,
        "conversation": conversation or None,
        "history": None if history is None else [{"role": role, "text": text} for role, text in history],
        "budget_tokens": budget_tokens,
        "max_age_ms": max_age_ms,
        "min_position": {"source": source, "position": min_position} if min_position else None,
        "wait_seconds": wait_seconds,
        "tables": _list(tables),
        "audiences": _list(audiences),
        "chunks": chunks,
    }


def _body(**fields: Any) -> bytes:
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def _params(**fields: str | float | Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, (str, int, float)):
            found += [(name, str(value))] if value != "" else []
        elif value is not None:
            found += [(name, one) for one in value]
    return tuple(found)


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _part(name: str) -> str:
    # A name of dots only would lead somewhere else.
    return quote(name, safe="") if name.strip(".") else "%2E" * len(name) or "%20"


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _reading(kind: type[T]) -> Callable[[bytes], T]:
    decoder = msgspec.json.Decoder(kind)

    def read(raw: bytes) -> T:
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            detail = f"the response cannot be read: {error}"
            raise broken(detail) from None

    return read
