"""Routes of questions: their context, their answer, pieces of documents, and what is said of answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from serving.http.asking import Asked, Desk, GuardedRoute, reply
from serving.http.errors import documented
from serving.http.replies import (
    AnswerReply,
    ContextReply,
    FeedbackReply,
    SearchReply,
    TokenReply,
)
from serving.http.shapes import LONGEST_ID, AnswerBody, ContextBody, FeedbackBody, SearchBody, TokenBody
from serving.http.stream import EventStream, Told, while_there
from serving.service import AnswerEvent, Given, Served, given_json

router = APIRouter(route_class=GuardedRoute, tags=["questions"])

_ALWAYS = (401, 403, 408, 413, 421, 422, 431, 429, 503)
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["context", "token", "answer", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_EVENTS = """event: context
data: {"id": "c7q2", "items": []}

event: token
data: {"text": "CV 214 "}

event: answer
data: {"turn": "t9", "text": "CV 214 costs 149 EUR [1].", "citations": [{"number": 1, "kind": "row"}]}

"""


@router.post(
    "/context", response_class=Response, responses={200: {"model": ContextReply}, **documented(*_ALWAYS, 409, 412)}
)
async def context(asked: Asked, body: ContextBody) -> Response:
    """Assemble the context of a question: what is known of it, each piece with where it is from and how old it is."""
    request = body.request(asked.desk.settings.serving.wait_seconds, peek=body.peek)
    pool = asked.desk.reads if request.demand is None else asked.desk.waits
    served = await asked.run(pool, asked.service.context, request)
    asked.desk.metrics.context(served.context)
    return Response(served.body, media_type="application/json")


@router.get(
    "/contexts/{id}",
    response_class=Response,
    responses={200: {"model": ContextReply}, **documented(401, 403, 404, 421, 422, 431, 429, 503)},
)
async def kept(asked: Asked, id: str = Path(max_length=LONGEST_ID)) -> Response:  # noqa: A002  # as it is documented
    """Return a context as it was served, byte for byte."""
    body = await asked.run(asked.desk.reads, asked.service.kept, id)
    return Response(body, media_type="application/json")


@router.post(
    "/answer",
    response_class=Response,
    responses={
        200: {
            "model": AnswerReply,
            "description": "With `stream` events: `context` (as of `POST /context`), `token` (`{text}`) for each piece "
            "of the text, and in the end `answer`, or `error` if it came to nothing. Lines that begin with a colon say "
            "that the server is still there.",
            "content": {"text/event-stream": {"schema": _EVENT, "example": _EVENTS}},
        },
        **documented(*_ALWAYS, 409, 412),
    },
)
async def answer(asked: Asked, body: AnswerBody, request: Request) -> Response:
    """Answer a question from its context, as it is written, or whole."""
    wanted = body.request(asked.desk.settings.serving.wait_seconds)
    desk, place = asked.desk, asked.desk.place(asked.caller.key)
    run = partial(place.run, desk.reads)
    wait = run if wanted.demand is None else partial(place.run, desk.waits)
    told = Told(asked.service.answer(asked.caller, wanted, run=run, wait=wait), place)
    try:
        first = await while_there(request.receive, told.next())
        if first is None or not body.stream:
            return await while_there(request.receive, _whole(desk, first, told))
    except BaseException:
        await told.close()
        raise
    return EventStream(first, told, desk.stopping, desk.metrics.event)


@router.post("/search", response_class=Response, responses={200: {"model": SearchReply}, **documented(*_ALWAYS)})
async def search(asked: Asked, body: SearchBody) -> Response:
    """Find the pieces of documents that say most about a question."""
    labels = None if body.audiences is None else tuple(body.audiences)
    items = await asked.run(
        asked.desk.reads,
        asked.service.search,
        body.question,
        k=body.k,
        source=body.source,
        prefix=body.prefix,
        audiences=labels,
    )
    return reply({"items": items})


@router.post("/feedback", response_class=Response, responses={200: {"model": FeedbackReply}, **documented(*_ALWAYS)})
async def feedback(asked: Asked, body: FeedbackBody) -> Response:
    """Rate an answer, or say something about it. Said again, it counts once."""
    rating = None if body.rating is None else (body.rating.scale, float(body.rating.value))
    taken = await asked.run(
        asked.desk.reads, asked.service.feedback, body.conversation, body.turn, rating, body.comment
    )
    return reply(taken)


@router.post(
    "/tokens", response_class=Response, responses={200: {"model": TokenReply}, **documented(*_ALWAYS, 404, 409)}
)
async def token(asked: Asked, body: TokenBody) -> Response:
    """Sign a token for a person, of whom the application has made sure: it is good for that person's data only."""
    labels = None if body.audiences is None else tuple(body.audiences)
    token = asked.service.token
    return reply(await asked.run(asked.desk.reads, token, body.person, body.realm, labels, body.minutes))


async def _whole(desk: Desk, event: AnswerEvent | None, told: Told) -> Response:
    whole: dict[str, Any] = {}
    while event is not None:
        desk.metrics.event(event)
        if isinstance(event, Served):
            whole["context"] = msgspec.Raw(event.body)
        elif isinstance(event, Given):
            whole["answer"] = given_json(event)
        event = await told.next()
    await told.close()
    return reply(whole)
