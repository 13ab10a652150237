"""Brings what the outbox holds to the webhook: at least once, ever later after each failure, in a thread of its own.

The flow never waits for the receiver: an alert is taken when the outbox has it. Neither does its end: what is not sent
by then stays in the outbox.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from typing_extensions import override

from events.alerts import Alert, Severity
from events.clock import Clock
from stores.alerting.base import AlertSink, is_at_least
from stores.alerting.outbox import Message, Outbox
from stores.alerting.webhook import DeliveryError, Webhook

FIRST_MILLIS = 1_000
LONGEST_MILLIS = 3_600_000
_GROWTH = 4
_LONGEST_LOOK = 60.0
"""Seconds after which the outbox is looked at again, should another process have put something into it."""
_MOST_ERROR = 300

_logger = logging.getLogger(__name__)


def back_off(attempts: int, first: int = FIRST_MILLIS, longest: int = LONGEST_MILLIS) -> int:
    """Return the milliseconds until the next attempt, after so many have failed.

    With the usual eight attempts the last one is an hour and a half after the first.
    """
    # The exponent is bounded, as numbers that are cut off anyway need not have thousands of digits.
    return int(min(longest, first * _GROWTH ** min(attempts - 1, 32)))


class Courier(AlertSink):
    """Takes alerts that are severe enough and sends them.

    :arg outbox: Belongs to the courier, which closes it.
    :arg webhook: Belongs to the courier, which closes it.
    :arg clock: Tells when the next attempt is.
    :arg jitter: Returns random numbers from 0 to 1, so that attempts of many do not coincide.
    :arg attempts: After so many a message is given up.
    :arg least: Less severe alerts are not sent.
    :arg lease_seconds: Longer than an attempt can take.
    :arg first: Milliseconds until the second attempt.
    """

    def __init__(
        self,
        outbox: Outbox,
        webhook: Webhook,
        clock: Clock,
        jitter: Callable[[], float],
        *,
        attempts: int,
        least: Severity = "info",
        lease_seconds: float = 60.0,
        first: int = FIRST_MILLIS,
    ) -> None:
        self._outbox = outbox
        self._webhook = webhook
        self._clock = clock
        self._jitter = jitter
        self._attempts = attempts
        self._least = least
        self._lease = round(lease_seconds * 1000)
        self._first = first
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="headrace-alerts", daemon=True)
        self._thread.start()

    @override
    def send(self, alert: Alert) -> None:
        if is_at_least(alert.severity, self._least) and self._outbox.put(alert):
            self._wake.set()

    @override
    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join(self._webhook.timeout)
        if self._thread.is_alive():
            _logger.warning("an attempt to send an alert has not ended; the next start tries again")

    def _run(self) -> None:
        try:
            self._deliver()
        finally:
            # Here, as nobody else knows when the last attempt is over.
            self._webhook.close()
            self._outbox.close()

    def _deliver(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                message = self._outbox.claim(self._lease)
                if message is not None:
                    self._try(message)
                    continue
                wait = self._until_next()
            except Exception:
                # The thread must live on: what is in the outbox would wait for the next start otherwise.
                _logger.exception("alerts cannot be sent for the moment")
                wait = _LONGEST_LOOK
            self._wake.wait(wait)

    def _try(self, message: Message) -> None:
        try:
            self._webhook.deliver(message.name, message.body)
        except DeliveryError as error:
            self._failed(message, error)
        else:
            self._outbox.sent(message)

    def _failed(self, message: Message, error: DeliveryError) -> None:
        attempts = message.attempts + 1
        reason = " ".join(str(error).split())[:_MOST_ERROR]
        if attempts >= self._attempts:
            _logger.error("the alert %r is given up after %d attempts: %s", message.alert, attempts, reason)
            self._outbox.failed(message, reason, None)
            return
        pause = back_off(attempts, self._first) * (1.0 + 0.2 * self._jitter())
        pause = max(pause, min(error.wait * 1000, LONGEST_MILLIS))
        _logger.info("the alert %r is sent again in %.0f s: %s", message.alert, pause / 1000, reason)
        self._outbox.failed(message, reason, self._clock() + round(pause))

    def _until_next(self) -> float:
        moment = self._outbox.next_at()
        if moment is None:
            return _LONGEST_LOOK
        return min(_LONGEST_LOOK, max(0.001, (moment - self._clock()) / 1000))
