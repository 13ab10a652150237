"""What can be wrong with a source that is to be captured.

An error stops the capture before anything is read; a warning is of what will hurt somebody later.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong: what, and what to do."""

    level: Literal["error", "warning"]
    detail: str
    hint: str = ""
