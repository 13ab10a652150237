"""How a server is asked: where, with which key, for whom, and with how much patience."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from serving.client.attempts import Policy
from serving.client.calls import Call
from serving.client.errors import RejectedError

_CONNECT_SECONDS = 5.0


class Connection(msgspec.Struct, frozen=True):
    """How a server is asked.

    :arg url: Its address, such as `http://127.0.0.1:8080`.
    :arg key: The application's.
    :arg timeout: Seconds without a sign of the server after which a request has failed.
    """

    url: str
    key: str
    timeout: float
    policy: Policy

    def options(self) -> dict[str, Any]:
        """Return what the HTTP client is made with.

        :raises RejectedError: When there is no such address, or the key cannot be sent.
        """
        url = httpx.URL(self.url) if "://" in self.url else None
        if url is None or url.scheme not in {"http", "https"} or not url.host:
            detail = f"{self.url!r} is no address of a server"
            raise RejectedError(detail, "give one such as http://127.0.0.1:8080")
        return {
            "base_url": url,
            "headers": {"Authorization": f"Bearer {_sendable(self.key, 'the key')}"},
            "timeout": self.timeouts(0.0),
        }

    def timeouts(self, more: float) -> httpx.Timeout:
        """Return the timeouts of a request that the server may take `more` seconds longer for."""
        return httpx.Timeout(self.timeout + more, connect=min(_CONNECT_SECONDS, self.timeout))

    def arguments(self, call: Call[Any], token: str) -> dict[str, Any]:
        """Return the request of a call."""
        headers = {"Headrace-Person": _sendable(token, "the person's token")} if token else {}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return {
            "method": call.method,
            "url": call.path,
            "content": call.body,
            "params": call.params,
            "headers": headers,
            "timeout": self.timeouts(call.seconds),
        }


def _sendable(secret: str, what: str) -> str:
    if not secret or not all("!" <= character <= "~" for character in secret):
        detail = f"{what} is empty, or has characters that none has"
        raise RejectedError(detail, "give it as `headrace keys create` or `headrace token` printed it")
    return secret
