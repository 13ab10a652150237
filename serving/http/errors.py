"""How errors are told over HTTP: always as `{"error": {"kind", "detail", "hint"}}`, each kind with one status code.

Whatever is not refused on purpose is a bug: it is told with status 500 and the request's id only, and written to the
log. Nothing that is sent should ever lead there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from events.errors import HeadraceError, MissingExtraError, RejectedError, SettingsError, StoreError
from serving.errors import ForbiddenError, NotFoundError, TooLargeError, TooManyError, UnknownCallerError
from serving.freshness import StaleError
from serving.http.misfits import misfit
from serving.profiles import NobodyError, SeveralError

BUSY_SECONDS = 1
"""After how long to ask again where there was no thread, or no store, to answer."""
_LONGEST = 2000
_SHOWN = 5


class BusyError(HeadraceError):
    """There is more to do than can be done in time."""


class SlowError(HeadraceError):
    """What was announced did not arrive in time."""


class LargeHeadError(HeadraceError):
    """A request's headers are larger than are taken."""


class WrongHostError(HeadraceError):
    """The server was called by a name that is not its own."""


_KINDS: tuple[tuple[type[HeadraceError], int, str], ...] = (
    (UnknownCallerError, 401, "unknown_caller"),
    (ForbiddenError, 403, "forbidden"),
    (NotFoundError, 404, "not_found"),
    (NobodyError, 404, "nobody"),
    (SlowError, 408, "slow"),
    (SeveralError, 409, "several"),
    (StaleError, 412, "stale"),
    (TooLargeError, 413, "too_large"),
    (WrongHostError, 421, "wrong_host"),
    (TooManyError, 429, "too_many"),
    (LargeHeadError, 431, "large_head"),
    (BusyError, 503, "busy"),
    (StoreError, 503, "store"),
    (MissingExtraError, 503, "missing_extra"),
    (SettingsError, 503, "settings"),
    (RejectedError, 422, "rejected"),
)
"""The first that fits counts."""
_OF_STATUS = {400: "malformed", 404: "not_found", 405: "method", 413: "too_large"}
DESCRIPTIONS = {
    401: "There is no key, or it is not known; or the person's token is not good (any more).",
    403: "The caller may not see this, or do this. It is not said whether it is there.",
    404: "It is not there.",
    408: "The request did not arrive in time.",
    409: "What was asked for leads to several persons.",
    412: "The stores are not as fresh as demanded, not even after the wait; `age_ms` says how old they are.",
    413: "The request is larger than is taken.",
    421: "The server is called by a name that is not its own.",
    422: "The request cannot be understood, or asks for something that there is not.",
    429: "More was asked than is allowed in this time; `Retry-After` says when to ask again.",
    431: "The headers are larger than are taken.",
    503: "A store cannot be read at the moment, or there is too much to do; ask again.",
}
"""Of every status code that says that something went wrong, but bugs."""


def kind_of(error: HeadraceError) -> tuple[int, str]:
    """Return the status code of an error, and the name of its kind."""
    return next(((status, kind) for cls, status, kind in _KINDS if isinstance(error, cls)), (422, "refused"))


def told(error: HeadraceError) -> dict[str, Any]:
    """Return what is said of an error: one object for a response, or for an event of a stream."""
    _, kind = kind_of(error)
    said: dict[str, Any] = {"kind": kind, "detail": error.detail[:_LONGEST], "hint": error.hint[:_LONGEST]}
    if isinstance(error, StaleError):
        said["age_ms"] = error.age
    return said


def headers_of(error: HeadraceError) -> dict[str, str]:
    """Return the headers that belong to an error."""
    status, _ = kind_of(error)
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Bearer realm="headrace"'}
    if isinstance(error, TooManyError):
        return {"Retry-After": str(max(1, math.ceil(error.after)))}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(BUSY_SECONDS)}
    return {}


def response(status: int, said: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that tells an error."""
    body = msgspec.json.encode({"error": said})
    return Response(body, status, headers=dict(headers or {}), media_type="application/json")


def refusal(error: HeadraceError) -> Response:
    """Return the response to a request that is refused on purpose."""
    return response(kind_of(error)[0], told(error), headers_of(error))


def bug_said(request_id: str) -> dict[str, Any]:
    """Return what is said of a bug: nothing but where to look."""
    return {
        "kind": "internal",
        "detail": "something went wrong that should not have",
        "hint": f"see the server's log, request {request_id}",
    }


def bug(request_id: str) -> Response:
    """Return the response to a request that met a bug."""
    return response(HTTPStatus.INTERNAL_SERVER_ERROR, bug_said(request_id))


def handle(app: FastAPI) -> None:
    """Have an application tell all of its errors so."""
    app.add_exception_handler(HeadraceError, _refused)
    app.add_exception_handler(RequestValidationError, _misfit)
    app.add_exception_handler(HTTPException, _by_status)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the descriptions of responses with these status codes, for OpenAPI."""
    from serving.http.replies import ErrorReply

    return {status: {"model": ErrorReply, "description": DESCRIPTIONS[status]} for status in sorted(statuses)}


async def _refused(request: Request, error: Exception) -> Response:
    del request
    return refusal(error) if isinstance(error, HeadraceError) else bug("")


async def _misfit(request: Request, error: Exception) -> Response:
    del request
    found = error.errors() if isinstance(error, RequestValidationError) else []
    parts = [misfit(one) for one in found[:_SHOWN]]
    more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
    return refusal(RejectedError("; ".join(parts) + more, "GET /openapi.json says what is taken"))


async def _by_status(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    said = {"kind": _OF_STATUS.get(status, "refused"), "detail": "", "hint": "GET /openapi.json lists what there is"}
    if status == HTTPStatus.NOT_FOUND:
        said["detail"] = "there is nothing at this address"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        said["detail"] = "this address does not take that method"
    else:
        said["detail"] = HTTPStatus(status).phrase.lower()
    del request
    return response(status, said, getattr(error, "headers", None))
