"""Profiles as JSON: numbers keep every digit, as in the images of rows."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from events.profiles import Profile
from stores.rows.sqlite_image import finite, real

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(Profile, float_hook=real).decode


def profile_text(profile: Profile) -> str:
    """Write a profile as JSON."""
    text = _encode(profile).decode()
    # JSON has no word for these; the encoder writes them all the same.
    if "NaN" in text or "Infinity" in text:
        return _encode(finite(msgspec.to_builtins(profile, builtin_types=(Decimal,)))).decode()
    return text


def profile_of(text: str) -> Profile:
    """Read what `profile_text` wrote."""
    return _decode(text)
