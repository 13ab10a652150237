"""Settings of the lake: where conversations are kept, and how long late feedback may amend them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from stores.sections import Section


class LakeSettings(Section):
    """`[lake]`: the lake of conversations. It reads the streams of [feedback]."""

    dir: Path | None = Field(None, description="folder of the lake; default: `lake` in the data folder")
    keep_days: float = Field(
        90, gt=0, le=36_500, allow_inf_nan=False, description="event time for which late feedback amends a conversation"
    )
    compact_every: int = Field(60, ge=1, description="commits between two compactions")
    retain_hours: float = Field(
        24, ge=0, le=87_840, allow_inf_nan=False, description="how long replaced files are kept for readers"
    )
    batch_size: int = Field(1000, ge=1, le=100_000, description="events that are taken in at once")
