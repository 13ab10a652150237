"""Routes of what is known: persons and live tables."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi import Query as InQuery
from starlette.responses import Response

from serving.http.asking import Asked, GuardedRoute, reply
from serving.http.errors import documented
from serving.http.replies import ProfileReply, RowsReply, TablesReply
from serving.http.shapes import LONGEST_ID, RowsQuery, demand

router = APIRouter(route_class=GuardedRoute, tags=["data"])

_ALWAYS = (401, 403, 421, 422, 431, 429, 503)
_SVG = {"image/svg+xml": {"schema": {"type": "string"}}}
Name = Annotated[str, Path(min_length=1, max_length=LONGEST_ID)]


@router.get(
    "/profiles/me",
    response_class=Response,
    responses={200: {"model": ProfileReply}, **documented(*_ALWAYS, 404, 409)},
)
async def my_profile(asked: Asked) -> Response:
    """Return the profile of the person whose token is sent, each value with where it is from."""
    return reply(await asked.run(asked.desk.reads, asked.service.profile))


@router.get(
    "/profiles/me/graph.svg",
    response_class=Response,
    responses={200: {"description": "The picture.", "content": _SVG}, **documented(*_ALWAYS, 404, 409)},
)
async def graph(asked: Asked) -> Response:
    """Draw which records are the person's, and by which identifiers they belong together."""
    drawn = await asked.run(asked.desk.watches, asked.service.graph)
    return Response(drawn, media_type="image/svg+xml")


@router.get(
    "/profiles/{person}",
    response_class=Response,
    responses={200: {"model": ProfileReply}, **documented(*_ALWAYS, 404, 409)},
)
async def profile(asked: Asked, person: Name) -> Response:
    """Return the profile of a person, by any of its ids; of nobody but the one whose token is sent."""
    return reply(await asked.run(asked.desk.reads, asked.service.profile, person))


@router.get("/tables", response_class=Response, responses={200: {"model": TablesReply}, **documented(*_ALWAYS)})
async def tables(asked: Asked) -> Response:
    """List the live tables that the caller may read, with their columns."""
    return reply({"tables": await asked.run(asked.desk.reads, asked.service.tables)})


@router.get(
    "/tables/{name}",
    response_class=Response,
    responses={200: {"model": RowsReply}, **documented(*_ALWAYS, 404, 412)},
)
async def rows(asked: Asked, name: Name, query: Annotated[RowsQuery, InQuery()]) -> Response:
    """Return rows of a live table; of a table of persons' rows those of the person whose token is sent."""
    most = asked.desk.settings.serving.wait_seconds
    fresh = demand(query.max_age_ms, query.min_position or "", query.source, query.wait_seconds, most)
    found = await asked.run(
        asked.desk.reads if fresh is None else asked.desk.waits,
        asked.service.rows,
        name,
        where=query.where,
        order=query.order,
        descending=query.descending,
        limit=query.limit,
        demand=fresh,
    )
    return reply(found)
