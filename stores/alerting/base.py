"""The port of places that alerts go to."""

from __future__ import annotations

from abc import ABC, abstractmethod

from events.alerts import Alert, Severity

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""From the least severe on."""


class AlertSink(ABC):
    """A place that alerts go to."""

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Take one alert; it has been taken, not necessarily delivered, when this returns.

        After a crash the same alert comes again, with the same id and state: whoever can tell ignores it, whoever
        cannot passes both on. Never waits for another machine.
        """

    def close(self) -> None:
        """Let go of the place. What has been taken stays taken."""
        return


def is_at_least(severity: Severity, least: Severity) -> bool:
    """Tell whether a severity is `least` or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)
