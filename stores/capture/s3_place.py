"""Where the tap of a bucket is.

Invariant: `looked` and `empty` are moments before the queue was asked, so that what came while it was is not in them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from events.errors import StoreError
from stores.capture_settings import S3TapSettings


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the tap is: plain data in JSON.

    :arg looks: How many looks have been given.
    :arg position: The highest position that has been given.
    :arg scan: The key behind which the first scan goes on; None if there is none to do.
    :arg scanned: How many objects the scan has seen.
    :arg looked: When the queue was asked last; None if that is not known (ms since epoch).
    :arg empty: When the queue was found without anything more, and there was nothing to scan: everything of before has
        been given. None if it has not been.
    """

    looks: int = 0
    position: int = 0
    scan: str | None = None
    scanned: int = 0
    looked: int | None = None
    empty: int | None = None


def read_place(place: Any, settings: S3TapSettings) -> Place:
    """Return the place of a tap, from what JSON holds of it; its beginning if that is None.

    :raises StoreError: When it is no such place.
    """
    if place is None:
        return Place(scan="" if settings.scan else None)
    try:
        return msgspec.convert(place, Place)
    except msgspec.ValidationError as error:
        detail = f"the place of {settings.name!r} is not one of a bucket: {error}"
        raise StoreError(
            detail, f"was it another kind of source? `headrace capture reset {settings.name}` begins anew"
        ) from None
