"""Which deliverer the settings name."""

from __future__ import annotations

from events.clock import Clock
from stores.delivery.base import Deliverer
from stores.delivery.outbox import Outbox
from stores.delivery_settings import FilesDeliverySettings, KinesisDeliverySettings


def open_deliverer(
    settings: KinesisDeliverySettings | FilesDeliverySettings, outbox: Outbox, clock: Clock
) -> Deliverer:
    """Open what a delivery goes to.

    :raises StoreError: When it is not there, cannot be reached or refuses.
    :raises MissingExtraError: When a package that it needs is not installed.
    """
    if isinstance(settings, FilesDeliverySettings):
        from stores.delivery.files import FilesDeliverer

        return FilesDeliverer(settings, outbox, clock)
    from stores.delivery.kinesis import KinesisDeliverer

    return KinesisDeliverer(settings, clock)
