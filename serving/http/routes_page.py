"""The web page: its files are read once at the start, and nothing but these can be asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serving.http.logs import trail_of

FOLDER = Path(__file__).parent.parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_METHODS = ["GET", "HEAD"]


def page_routes(folder: Path = FOLDER) -> APIRouter:
    """Return the routes of a folder's files; without one there are none."""
    router = APIRouter()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in _TYPES or path.is_symlink() or not path.is_file():
            continue
        send = _sending(path.read_bytes(), _TYPES[path.suffix])
        name = path.relative_to(folder).as_posix()
        router.add_api_route(f"/{name}", send, methods=_METHODS, include_in_schema=False)
        if name == "index.html":
            router.add_api_route("/", send, methods=_METHODS, include_in_schema=False)
    return router


def _sending(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    # To be asked for each time, and sent only if it has changed.
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Type": media_type}

    async def send(request: Request) -> Response:
        trail_of(request.scope).route = "(page)"
        known = request.headers.get("if-none-match", "")
        if tag in {one.strip().removeprefix("W/") for one in known.split(",")}:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return send
