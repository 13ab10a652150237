"""What can be wrong with a source that is to be captured.

An error stops the capture before anything is read; a warning is of what will hurt somebody later.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from events.errors import StoreError


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong: what, and what to do."""

    level: Literal["error", "warning"]
    detail: str
    hint: str = ""


def finding_of(error: StoreError, capture: str, level: Literal["error", "warning"] = "error") -> Finding:
    """Return what an error of a capture says, without its name: findings are shown beside it."""
    return Finding(level, error.detail.removeprefix(f"capture {capture!r}: "), error.hint)
