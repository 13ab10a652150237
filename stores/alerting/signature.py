"""The signature of what is sent to a webhook, made here and verified by whoever receives it.

    Headrace-Timestamp: 1767225600
    Headrace-Signature: v1=<HMAC-SHA256 in lower-case hexadecimal digits>

is made of the key and the bytes `<timestamp>.<body>`, the timestamp as it stands in its header, in seconds since
1970-01-01 UTC. As it is part of what is signed, an old message sent again by somebody else is known by its age.
"""

from __future__ import annotations

import hashlib
import hmac

TIMESTAMP, SIGNATURE = "Headrace-Timestamp", "Headrace-Signature"
TOLERANCE_SECONDS = 300
_VERSION = "v1="
_DIGITS = 15


def sign(key: bytes, timestamp: int, body: bytes) -> str:
    """Return the signature as it stands in its header.

    :arg timestamp: Seconds since 1970-01-01 UTC.
    """
    return _VERSION + hmac.new(key, b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def verify(
    key: bytes, timestamp: str, signature: str, body: bytes, *, now: int, tolerance: int = TOLERANCE_SECONDS
) -> bool:
    """Tell whether a message is of somebody who has the key, and not too old.

    :arg timestamp: The header `Headrace-Timestamp`; empty if it is missing.
    :arg signature: The header `Headrace-Signature`; empty if it is missing.
    :arg body: As it came, before anything has decoded it.
    :arg now: Seconds since 1970-01-01 UTC.
    :arg tolerance: How many seconds the clocks of both may differ, and the message may have been on its way.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS):
        return False
    expected = sign(key, int(timestamp), body)
    is_right = hmac.compare_digest(expected.encode(), signature.encode())
    return is_right and abs(now - int(timestamp)) <= tolerance
