"""One attempt to send an alert to an address. Whether it is tried again is the outbox's business."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

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
    :arg timeout: Seconds to connect, and to wait for each part of the answer.
    :arg clock: Dates the signature.
    """

    def __init__(self, url: str, key: bytes, timeout: float, clock: Clock) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout
        self._clock = clock
        self._client: httpx.Client | None = None

    def deliver(self, message: str, body: bytes) -> None:
        """Send one message.

        :arg message: Names it, so that the receiver knows it again.
        :arg body: JSON.
        :raises DeliveryError: When the receiver cannot be reached, or answers with anything but success.
        """
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=self._timeout, follow_redirects=False)
        timestamp = self._clock() // 1000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "headrace",
            "Idempotency-Key": quote(message, safe="/:"),
            TIMESTAMP: str(timestamp),
        }
        if self._key:
            headers[SIGNATURE] = sign(self._key, timestamp, body)
        try:
            # As a stream: only the status matters, and an endless answer need not be read.
            with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                status, wait = answer.status_code, answer.headers.get("Retry-After", "")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            said = str(error) or type(error).__name__
            raise DeliveryError(f"the webhook cannot be reached: {said}", "check feedback.webhook.url") from error  # noqa: EM102
        if not httpx.codes.is_success(status):
            detail = f"the webhook answered {status}"
            hint = "redirects are not followed: set feedback.webhook.url to where it leads" if status < 400 else ""  # noqa: PLR2004
            known = wait.isascii() and wait.isdigit() and len(wait) <= _RETRY_AFTER_DIGITS
            raise DeliveryError(detail, hint, int(wait) if known else 0)

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
