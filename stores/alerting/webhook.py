"""One attempt to send an alert to an address. Whether it is tried again is the outbox's business.

An attempt ends in time, whatever the receiver does. No error holds more of the address than its host: who knows the
rest may send.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from events.clock import Clock
from events.errors import HeadraceError
from stores.alerting.signature import SIGNATURE, TIMESTAMP, sign

if TYPE_CHECKING:
    import httpx

_RETRY_AFTER_DIGITS = 6


class DeliveryError(HeadraceError):
    """What was sent has not been accepted.

    :arg wait: Seconds after which the receiver wants to see the next attempt; 0 if it did not say.
    """

    def __init__(self, detail: str, hint: str = "", wait: int = 0) -> None:
        super().__init__(detail, hint)
        self.wait = wait


class Webhook:
    """Posts JSON to one address.

    Each message has `Idempotency-Key`, the same however often it is sent, and with a key a signature. Redirects are
    not followed: what is meant for one address is not sent to another one.

    :arg url: The address.
    :arg key: Signs what is sent; empty: it is not signed.
    :arg timeout: Seconds for one whole attempt, however it dribbles in.
    :arg clock: Dates the signature.
    """

    def __init__(self, url: str, key: bytes, timeout: float, clock: Clock) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None

    @property
    def timeout(self) -> float:
        """Seconds that an attempt takes at most."""
        return self._timeout

    def deliver(self, message: str, body: bytes) -> None:
        """Send one message. All are sent, and the webhook is closed, by one thread.

        :arg message: Names it, so that the receiver knows it again.
        :arg body: JSON.
        :raises DeliveryError: When the receiver cannot be reached, or answers with anything but success.
        """
        import httpx

        timestamp = self._clock() // 1000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "headrace",
            "Idempotency-Key": quote(message, safe="/:"),
            TIMESTAMP: str(timestamp),
        }
        if self._key:
            headers[SIGNATURE] = sign(self._key, timestamp, body)
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        try:
            # On a loop, as only there one deadline holds for all: the name, the connection, and each byte that comes.
            status, wait = self._loop.run_until_complete(asyncio.wait_for(self._post(body, headers), self._timeout))
        except asyncio.TimeoutError:
            detail = f"{self._place()} did not answer within {self._timeout:g} s"
            raise DeliveryError(detail) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            # Its words may hold the address.
            detail = f"{self._place()} cannot be reached: {type(error).__name__}"
            raise DeliveryError(detail, "check feedback.webhook.url") from None
        if not httpx.codes.is_success(status):
            detail = f"the webhook answered {status}"
            hint = "redirects are not followed: set feedback.webhook.url to where it leads" if status < 400 else ""  # noqa: PLR2004
            known = wait.isascii() and wait.isdigit() and len(wait) <= _RETRY_AFTER_DIGITS
            raise DeliveryError(detail, hint, int(wait) if known else 0)

    def close(self) -> None:
        """Let go of the connection."""
        if self._loop is None:
            return
        if self._client is not None:
            self._loop.run_until_complete(self._client.aclose())
        self._loop.close()
        self._loop = self._client = None

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False)
        # As a stream: only the status matters, and an endless answer need not be read.
        async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
            return answer.status_code, answer.headers.get("Retry-After", "")

    def _place(self) -> str:
        try:
            host = urlsplit(self._url).hostname
        except ValueError:
            host = None
        return f"the webhook at {host}" if host else "the webhook"
