"""Alerts as lines in the program's own log. Nothing in an alert is a command to the terminal that shows it."""

from __future__ import annotations

import logging

from typing_extensions import override

from events.alerts import Alert, Severity
from stores.alerting.base import AlertSink

_LEVELS: dict[Severity, int] = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}
_LONGEST = 1_000

_logger = logging.getLogger(__name__)


def line_of(alert: Alert) -> str:
    """Write an alert as one line; a mark stands in place of each letter that cannot be seen as it is."""
    text = " ".join(alert.text.split())
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


class Console(AlertSink):
    """Says each alert in the program's log, as severe as it is; that one is over is only worth an information."""

    @override
    def send(self, alert: Alert) -> None:
        level = logging.INFO if alert.state == "over" else _LEVELS[alert.severity]
        _logger.log(level, "%s", line_of(alert))
