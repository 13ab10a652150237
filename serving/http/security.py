"""Who may come in: by which name the server is called, with which key and for which person, and how often.

Keys and persons' tokens come in headers only, never in an address: addresses are written down by many.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.errors import HeadraceError, RejectedError
from serving.access.caller import Caller
from serving.access.callers import caller_of
from serving.access.keys import Keys
from serving.access.limits import RateLimit
from serving.access.tokens import Tokens
from serving.errors import UnknownCallerError
from serving.http.errors import LargeHeadError, WrongHostError, refusal
from serving.http.limits import check_text

FAILURES_PER_MINUTE = 30
"""Of one address, requests with a key or a token that is not good."""
PERSON = "Headrace-Person"
HEAD_BYTES = 32 * 1024
_MOST_HEADERS = 100
_LONGEST_HEADER = 8192
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Adds to every response what browsers are to be told; what a response says itself stands."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending)


class OwnHosts:
    """Refuses requests that call the server by a name that is not its own.

    A page of somebody else's whose name leads here would else be of the same origin as ours (DNS rebinding).

    :arg hosts: Its names and addresses, without port.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            called = Headers(scope=scope).getlist("host")
            if len(called) != 1 or host_of(called[0]) not in self._hosts:
                detail = "the server is called by a name that is not its own"
                refused = refusal(WrongHostError(detail, "add the name to serving.hosts in headrace.toml"))
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


class PlainHeads:
    """Refuses requests with too many headers, and addresses that are no Unicode.

    What is lost in reading an address could not be told from something else. The server's own bound of headers holds
    for those that come piece by piece only.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            try:
                _check_head(scope)
            except HeadraceError as error:
                await refusal(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Gate:
    """Lets requests in.

    :arg limit: How often a key may ask.
    :arg failures: How often an address may fail to say who it is. Whoever says so rightly is let in all the same.
    """

    def __init__(self, keys: Keys, tokens: Tokens, limit: RateLimit, failures: RateLimit) -> None:
        self._keys = keys
        self._tokens = tokens
        self._limit = limit
        self._failures = failures

    def admit(self, request: Request) -> Caller:
        """Return who asks.

        :raises UnknownCallerError: When it is not said, or not so that it can be believed.
        :raises TooManyError: When the key has asked too often, or the address failed too often.
        """
        try:
            authorization, person = _only(request.headers, "Authorization"), _only(request.headers, PERSON)
            caller = caller_of(self._keys, self._tokens, authorization, person)
        except UnknownCallerError:
            self._failures.take(_address(request))
            raise
        self._limit.take(caller.key)
        return caller


def host_of(header: str) -> str:
    """Return the host of a `Host` header without its port, in small letters."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_head(scope: Scope) -> None:
    headers = scope["headers"]
    target = scope.get("raw_path") or scope["path"].encode()
    size = len(target) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in headers)
    if len(headers) > _MOST_HEADERS or size > HEAD_BYTES:
        detail = f"address and headers are larger than {HEAD_BYTES:,} bytes, or more than {_MOST_HEADERS}"
        raise LargeHeadError(detail, "send less of them")
    try:
        for part in (target, scope["query_string"]):
            check_text(unquote_to_bytes(part).decode(), "the address")
    except UnicodeDecodeError:
        detail = "the address is not UTF-8"
        raise RejectedError(detail, "percent-encode its bytes in UTF-8") from None


def _only(headers: Headers, name: str) -> str:
    found = headers.getlist(name)
    if len(found) > 1 or len("".join(found)) > _LONGEST_HEADER:
        detail = f"the header {name} is there twice, or far too long"
        raise UnknownCallerError(detail, f"send one {name}")
    return found[0] if found else ""


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
