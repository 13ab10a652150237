"""Routes of how things stand: KPIs, alerts, freshness, dead letters, metrics, health, and what may be asked at all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi import Query as InQuery
from starlette.responses import Response

from serving.http.asking import Asked, GuardedRoute, OpenRoute, desk_of, reply
from serving.http.errors import documented
from serving.http.metrics import CONTENT_TYPE
from serving.http.replies import AlertsReply, FreshnessReply, HealthReply, KpiReply, KpisReply, LettersReply
from serving.http.shapes import LONGEST_ID, AlertsQuery, KpiQuery, KpisQuery, LettersQuery

router = APIRouter(route_class=GuardedRoute, tags=["insight"])
health_router = APIRouter(route_class=OpenRoute, tags=["insight"])

_ALWAYS = documented(401, 403, 421, 422, 431, 429, 503)
_TEXT = {"text/plain": {"schema": {"type": "string"}}}


@router.get("/kpis", response_class=Response, responses={200: {"model": KpisReply}, **_ALWAYS})
async def kpis(asked: Asked, query: Annotated[KpisQuery, InQuery()]) -> Response:
    """Return all KPIs: the newest value of each, and those before."""
    return reply({"kpis": await asked.run(asked.desk.watches, asked.service.kpis, query.window, query.last)})


@router.get("/kpis/{name}", response_class=Response, responses={200: {"model": KpiReply}, **_ALWAYS})
async def kpi(
    asked: Asked,
    name: Annotated[str, Path(min_length=1, max_length=LONGEST_ID)],
    query: Annotated[KpiQuery, InQuery()],
) -> Response:
    """Return one KPI, group by group."""
    where = {field: value for field, _, value in (one.partition("=") for one in query.where)}
    series = await asked.run(
        asked.desk.watches,
        asked.service.kpi,
        name,
        window=query.window,
        by=query.by,
        where=where,
        last=query.last,
    )
    return reply({"series": series})


@router.get("/alerts", response_class=Response, responses={200: {"model": AlertsReply}, **_ALWAYS})
async def alerts(asked: Asked, query: Annotated[AlertsQuery, InQuery()]) -> Response:
    """Return alerts, those that happened last first."""
    return reply({"alerts": await asked.run(asked.desk.watches, asked.service.alerts, query.limit)})


@router.get("/freshness", response_class=Response, responses={200: {"model": FreshnessReply}, **_ALWAYS})
async def freshness(asked: Asked) -> Response:
    """Return how fresh everything is, source by source."""
    return reply(await asked.run(asked.desk.watches, asked.service.freshness))


@router.get("/dead-letters", response_class=Response, responses={200: {"model": LettersReply}, **_ALWAYS})
async def letters(asked: Asked, query: Annotated[LettersQuery, InQuery()]) -> Response:
    """Return what could not be processed, and why; not what it holds."""
    return reply({"letters": await asked.run(asked.desk.watches, asked.service.letters, query.flow, query.limit)})


@router.get(
    "/metrics", response_class=Response, responses={200: {"description": "Metrics.", "content": _TEXT}, **_ALWAYS}
)
async def metrics(asked: Asked) -> Response:
    """Return metrics for Prometheus, which sends a key by `authorization` of its `scrape_configs`."""
    asked.caller.check("freshness")
    text = await asked.desk.watches.run(asked.desk.metrics.text, asked.caller)
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


@router.get("/openapi.json", include_in_schema=False)
async def openapi(asked: Asked, request: Request) -> Response:
    """Return what may be asked, as OpenAPI."""
    del asked
    return reply(request.app.openapi())


@health_router.get("/health", response_class=Response, responses={200: {"model": HealthReply}, **documented(421, 431)})
async def health(request: Request) -> Response:
    """Tell whether the server can be asked; without a key."""
    return reply({"status": desk_of(request).status})
