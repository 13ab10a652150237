"""The port of what records of the log are delivered to: a stream of another system, files in a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from events.errors import RejectedError
from events.log import LogRecord


class Refused(NamedTuple):
    """A record that the target can never take, and why: it becomes a dead letter."""

    record: LogRecord
    error: RejectedError


class Deliverer(ABC):
    """One target, with one deliverer in the whole cluster. It is driven by `DeliveryIntake`.

    Records of one partition come in their order, and none that has been taken before, unless a crash came between its
    delivery and the note of it.
    """

    @abstractmethod
    def deliver(self, records: Sequence[LogRecord]) -> Sequence[Refused]:
        """Take records; on return the target has confirmed all of them, or they are as durable as the note of them.

        A record without a value is a tombstone. Returns those that the target can never take; the others are delivered.
        What is wrong for a while, such as a broken connection or a limit of the rate, is tried again with growing
        pauses, for about a minute at most.

        :raises StoreError: When the target refuses, or cannot be reached. Some of the records may be delivered then.
        """

    def settle(self) -> None:
        """Do what is due, once the last records are noted as taken. Called with every epoch, records or not.

        :raises StoreError: As `deliver`.
        """
        return

    def finish(self) -> None:
        """Deliver all that waits, as no more comes: the flow has read its streams to their end.

        :raises StoreError: As `deliver`.
        """
        return

    @abstractmethod
    def close(self) -> None:
        """Let go of the target. Closing twice does nothing."""
