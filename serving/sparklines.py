"""Series of numbers as one line of text: a block for each, as high as it is among its neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_GAP = "·"


def sparkline(values: Sequence[float | None], width: int | None = None) -> str:
    """Return a text with one sign for each value, the lowest and the highest block for the least and the most.

    Values that are all the same are half as high, but lowest if they are 0; where there is none, a dot stands.

    :arg width: Only so many of the last values; None: all.
    """
    if width is not None:
        values = values[-width:] if width > 0 else ()
    there = [value for value in values if value is not None and math.isfinite(value)]
    if not there:
        return _GAP * len(values)
    low, high = min(there), max(there)
    return "".join(_block(value, low, high) for value in values)


def _block(value: float | None, low: float, high: float) -> str:
    if value is None or not math.isfinite(value):
        return _GAP
    if low == high:
        return _BLOCKS[3 if value else 0]
    # Halves first, as the range of two finite numbers may not be finite.
    share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return _BLOCKS[min(round(share * (len(_BLOCKS) - 1)), len(_BLOCKS) - 1)]
