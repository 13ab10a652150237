"""One line of JSON on stderr for each request, and for whatever else there is to say; nothing personal in any of them.

A line names the route, not the path, for a path may hold a person's id; the key by its name. No question, no person, no
token and no query is ever written, and of a bug the places in the code, not what was in the variables.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from events.clock import Clock, to_iso
from serving.http.errors import bug

logger = logging.getLogger("headrace.http")

UNKNOWN_ROUTE = "(none)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GONE = 499
"""Written for a request whose client went before it was answered; nobody is sent it."""
_TRAIL = "headrace.trail"


class Trail:
    """What is to be written of one request.

    :arg id: Its id.
    """

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.route = UNKNOWN_ROUTE
        self.key = ""


class Counting(Protocol):
    """Takes note of each request that has ended."""

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""


def trail_of(scope: Scope) -> Trail:
    """Return what is to be written of the request."""
    trail: Trail = scope[_TRAIL]
    return trail


class RequestLog:
    """Outermost: gives each request its id, writes its line, and turns a bug into a response.

    :arg new_id: Makes ids.
    :arg clock: Tells the time of a line.
    """

    def __init__(self, app: ASGIApp, clock: Clock, new_id: Callable[[], str], counting: Counting) -> None:
        self._app = app
        self._clock = clock
        self._new_id = new_id
        self._counting = counting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trail = scope[_TRAIL] = Trail(self._new_id())
        began, status, ended = time.perf_counter(), 0, False

        async def sending(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"headrace-request", trail.id.encode())]
            ended = ended or (message["type"] == "http.response.body" and not message.get("more_body"))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            status = status or _GONE
        except Exception as error:
            log_bug(error, trail)
            if status:
                # Too late to say anything: break off, so that nobody takes what came for the whole.
                raise
            await bug(trail.id)(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._counting.request(trail.route, method, status or _GONE, seconds)
            fields: dict[str, Any] = {
                "request": trail.id,
                "method": method,
                "route": trail.route,
                "status": status or _GONE,
                "ms": round(seconds * 1000, 1),
                "key": trail.key or None,
            }
            if status and not ended:
                fields["cut"] = True
            logger.info("request", extra={"fields": fields, "time": self._clock()})


class JsonLines(logging.Formatter):
    """Writes each record as one line of JSON.

    :arg clock: Tells the time of records that bring none.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": to_iso(getattr(record, "time", None) or self._clock()),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.name != logger.name:
            line["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _places(record.exc_info[1])
        return json.dumps(line | getattr(record, "fields", {}), ensure_ascii=False)


def configure(level: str, clock: Clock) -> None:
    """Have this process write its log so.

    :arg level: `debug`, `info`, `warning` or `error`; requests are told at `info`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(clock))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logger.setLevel(level.upper())
    # What the server itself has to say below that is of no use to anybody who runs it.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def log_bug(error: BaseException, trail: Trail) -> None:
    """Write down a bug that a request met."""
    logger.error("%s", _places(error), extra={"fields": {"request": trail.id, "route": trail.route}})


def _places(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return " < ".join([type(error).__qualname__, *reversed(lines)])
