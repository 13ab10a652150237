"""The place at which a tap was left, as its own struct: read from plain data, and what helps when that cannot be."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from events.errors import StoreError
from stores.capture_settings import TapSettings

P = TypeVar("P", bound=msgspec.Struct)

ANEW: dict[str, Any] = {"phase": "anew"}
"""Place of a database that is to be read anew."""


def place_as(kind: type[P], what: str, settings: TapSettings, place: Any) -> P | None:
    """Read a place that was written as plain data; None stays None.

    :arg what: What the place is to be of.
    :raises StoreError: When it is of something else.
    """
    if place is None:
        return None
    try:
        return msgspec.convert(place, kind)
    except msgspec.ValidationError as error:
        detail = f"capture {settings.name!r}: the place where it was left is none of {what}: {error}"
        raise StoreError(detail, remedy(settings)) from None


def remedy(settings: TapSettings) -> str:
    """Return what helps when there is a gap."""
    return f"`headrace capture reset {settings.name}` has everything read again"
