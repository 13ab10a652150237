"""What can go wrong: one class for each way to react to it, with the server's own words for people."""

from __future__ import annotations

from typing import Any

import msgspec

from events.errors import HeadraceError

_LONGEST = 2000


class ClientError(HeadraceError):
    """Root of all errors of the client.

    :arg kind: The server's name for it; `unreachable`, `timeout`, `malformed` or `cut` where there is none.
    :arg status: HTTP's; 0 where there was no response.
    """

    def __init__(self, detail: str, hint: str = "", kind: str = "refused", status: int = 0) -> None:
        super().__init__(detail, hint)
        self.kind = kind
        self.status = status


class UnknownCallerError(ClientError):
    """The key or the person's token is missing, wrong, or not good any more."""


class ForbiddenError(ClientError):
    """The caller may not see this, or do this."""


class NotFoundError(ClientError):
    """It is not there."""


class SeveralError(ClientError):
    """What was asked for leads to several persons."""


class StaleError(ClientError):
    """The stores are not as fresh as demanded, not even after the wait.

    :arg age_ms: How old they are; None if it cannot be told.
    """

    age_ms: int | None = None


class TooLargeError(ClientError):
    """The request is larger than is taken."""


class RejectedError(ClientError):
    """The request cannot be understood, or asks for something that there is not."""


class TooManyError(ClientError):
    """More was asked than is allowed in this time.

    :arg after: Seconds after which to ask again.
    """

    after: float = 0.0


class UnavailableError(ClientError):
    """The server cannot answer at the moment, cannot be reached, or does not answer in time."""


class BrokenError(ClientError):
    """What came is not what such a server says, or is only a part of it."""


_OF_STATUS: dict[int, type[ClientError]] = {
    400: RejectedError,
    401: UnknownCallerError,
    403: ForbiddenError,
    404: NotFoundError,
    408: UnavailableError,
    409: SeveralError,
    412: StaleError,
    413: TooLargeError,
    421: RejectedError,
    422: RejectedError,
    429: TooManyError,
    431: TooLargeError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}
_OF_KIND: dict[str, type[ClientError]] = {
    "unknown_caller": UnknownCallerError,
    "forbidden": ForbiddenError,
    "not_found": NotFoundError,
    "nobody": NotFoundError,
    "several": SeveralError,
    "stale": StaleError,
    "too_large": TooLargeError,
    "too_many": TooManyError,
    "rejected": RejectedError,
    "busy": UnavailableError,
    "store": UnavailableError,
}


class _Said(msgspec.Struct):
    kind: str = "refused"
    detail: str = ""
    hint: str = ""
    age_ms: int | None = None


class _Reply(msgspec.Struct):
    error: _Said


def of_response(status: int, body: bytes, after: float | None) -> ClientError:
    """Return the error that a response tells.

    :arg after: Seconds of its header `Retry-After`.
    """
    try:
        said = msgspec.json.decode(body, type=_Reply).error
    except msgspec.DecodeError:
        # Not the server's own words: something that stands before it.
        said = _Said("refused", f"the server answered with status {status}", "is this the address of Headrace?")
    error = _made(_OF_STATUS.get(status, ClientError), said, status)
    if isinstance(error, TooManyError):
        error.after = after or 0.0
    return error


def of_event(data: bytes) -> ClientError:
    """Return the error that an event of a stream tells."""
    try:
        said = msgspec.json.decode(data, type=_Said)
    except msgspec.DecodeError:
        return broken("the stream ends in an error that cannot be read")
    return _made(_OF_KIND.get(said.kind, ClientError), said, 0)


def broken(detail: str) -> BrokenError:
    """Return the error of a response that cannot be read."""
    return BrokenError(detail, "is this the address of Headrace, of a version that fits?", "malformed")


def _made(cls: type[ClientError], said: _Said, status: int) -> ClientError:
    detail: Any = said.detail[:_LONGEST] or f"refused with status {status}"
    error = cls(detail, said.hint[:_LONGEST], said.kind, status)
    if isinstance(error, StaleError):
        error.age_ms = said.age_ms
    return error
