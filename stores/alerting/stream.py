"""Alerts on the stream of alerts, which any program may follow. After a crash one may stand there twice."""

from __future__ import annotations

from typing_extensions import override

from events.alerts import Alert
from stores.alerting.base import AlertSink
from stores.alerts import append_alert
from stores.log.base import Log


class AlertStream(AlertSink):
    """Appends each alert to the log, keyed by its id.

    :arg log: The log; it stays open, as others use it too.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    @override
    def send(self, alert: Alert) -> None:
        append_alert(self._log, alert)
