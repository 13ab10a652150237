"""Where alerts go: a stream of the log that any program may follow, and the program's own log.

An alert may stand there twice after a crash, with the same id.
"""

from __future__ import annotations

import logging

import msgspec

from events.alerts import Alert
from events.log import LogRecord
from stores.log.base import Log

STREAM = "alerts"
_logger = logging.getLogger(__name__)


def raise_alert(log: Log, alert: Alert) -> None:
    """Append `alert` to the stream of alerts, and say it in the program's log."""
    _logger.warning("%s", alert.text)
    append_alert(log, alert)


def append_alert(log: Log, alert: Alert) -> None:
    """Append `alert` to the stream of alerts, keyed by its id."""
    value = msgspec.json.encode(alert)
    log.append(STREAM, [LogRecord(STREAM, 0, 0, alert.event_time, alert.id.encode(), value)])
