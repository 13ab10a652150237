"""The places that alerts go to, by the settings."""

from __future__ import annotations

import random
from collections.abc import Sequence

from events.alerts import Alert
from events.clock import Clock, system_clock
from stores.alerting.base import AlertSink
from stores.alerting.console import Console
from stores.alerting.courier import Courier
from stores.alerting.outbox import Outbox
from stores.alerting.stream import AlertStream
from stores.alerting.webhook import Webhook
from stores.log.base import Log
from stores.settings import Settings


class AlertSinks:
    """Hands each alert to several places, in their order; called as a function."""

    def __init__(self, sinks: Sequence[AlertSink]) -> None:
        self._sinks = sinks

    def __call__(self, alert: Alert) -> None:
        """Hand one alert to all."""
        for sink in self._sinks:
            sink.send(alert)

    def close(self) -> None:
        """Let go of all."""
        for sink in self._sinks:
            sink.close()


def open_alert_sinks(settings: Settings, log: Log, clock: Clock = system_clock) -> AlertSinks:
    """Open the program's log, the stream of alerts and, if the settings name one, the webhook.

    :arg log: Headrace's own log.
    """
    sinks: list[AlertSink] = [Console(), AlertStream(log)]
    webhook = settings.feedback.webhook
    if webhook.url:
        outbox = Outbox(settings.outbox_path, clock)
        key = webhook.key.get_secret_value().encode() if webhook.key else b""
        hook = Webhook(webhook.url, key, webhook.timeout_seconds, clock)
        jitter = random.Random().random  # noqa: S311  # spreads attempts, guards nothing
        sinks.append(
            Courier(outbox, hook, clock, jitter, attempts=webhook.attempts, least=webhook.least,
                    lease_seconds=4 * webhook.timeout_seconds)
        )  # fmt: skip
    return AlertSinks(sinks)
