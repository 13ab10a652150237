"""Numbers and sketches that give the same result whatever the order: sums, histograms, samples of what is different.

Each is a function of the multiset of values, so that a value can be taken out again and two of them can be merged. A
sum is a whole number of billionths, never a float.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from itertools import accumulate

UNIT = 10**9
"""Sums count billionths."""
LARGEST = 10**15
"""Numbers beyond this, either way, do not count: 53 bits do not hold them to the last unit any more."""
ERROR = 0.005
"""Relative error of a quantile at most."""
EXACT = 2048
"""Up to so many different values are counted exactly; above, the standard error is 1/sqrt(1024) = 3.1 % at most."""
SAMPLED = 4 * EXACT
"""Different values that are remembered at most."""

_PER_OCTAVE = 100
_LOWEST_OCTAVE = -30
_NEARLY_ZERO = 1e-9
_SURE = 2.0**43
_CLOSE_TO_TIE = 0.499

Counts = dict[int, int]
"""How many of each, by bin or by hash. Never 0; below 0 only for what was taken out before it came."""


def number_of(value: object) -> int | float | None:
    """Return `value` if it is a number that counts: finite, and not beyond `LARGEST`; true is 1, false is 0."""
    if isinstance(value, (int, float)) and -LARGEST <= value <= LARGEST:
        return value
    return None


def units_of(number: float) -> int:
    """Return `number` in billionths, rounded half to even from its exact binary value."""
    if isinstance(number, int):
        return number * UNIT
    product = number * 1e9
    if -_SURE < product < _SURE:
        nearest = round(product)
        # The product may be off by a thousandth here: far from a tie that does not matter.
        if abs(product - nearest) < _CLOSE_TO_TIE:
            return nearest
    numerator, denominator = number.as_integer_ratio()
    whole, rest = divmod(numerator * UNIT, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


def bin_of(number: float) -> int:
    """Return the bin of `number`: bins are ordered as numbers are.

    Each octave has 100 bins of the same width, as in a high dynamic range histogram: no logarithm, so that every
    machine has the same bin for the same number. What is nearer to zero than a billionth is zero.
    """
    size = abs(number)
    if size < _NEARLY_ZERO:
        return 0
    fraction, octave = math.frexp(size)
    index = (octave - _LOWEST_OCTAVE) * _PER_OCTAVE + int((fraction - 0.5) * (2 * _PER_OCTAVE)) + 1
    return index if number > 0 else -index


def middle_of(bin_: int) -> float:
    """Return the number whose relative error is the same to both ends of a bin, and `ERROR` at most."""
    if bin_ == 0:
        return 0.0
    octave, part = divmod(abs(bin_) - 1, _PER_OCTAVE)
    low, high = (math.ldexp(0.5 + edge / (2 * _PER_OCTAVE), octave + _LOWEST_OCTAVE) for edge in (part, part + 1))
    return math.copysign(2 * low * high / (low + high), bin_)


def quantile_of(bins: Counts, quantile: float) -> float | None:
    """Return the smallest number that a share of `quantile` is not above (SQL's `percentile_disc`), to `ERROR`."""
    there = sorted((bin_, count) for bin_, count in bins.items() if count > 0)
    if not there:
        return None
    sums = list(accumulate(count for _, count in there))
    # 0.07 * 100 is a little more than 7: what is meant is 7.
    rank = max(1, math.ceil(quantile * sums[-1] - 1e-9))
    return middle_of(next(bin_ for (bin_, _), upto in zip(there, sums, strict=True) if upto >= rank))


def hash_of(value: str | float) -> int:
    """Return 64 bits that name `value`, the same in every process; 1 and 1.0 are the same value, true is another."""
    if isinstance(value, str):
        named = "s" + value
    elif isinstance(value, bool):
        named = "t" if value else "f"
    else:
        named = f"n{int(value)}" if value == value // 1 else f"n{value!r}"
    return int.from_bytes(blake2b(named.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def sampled(hashes: Counts, level: int) -> int:
    """Forget hashes until `SAMPLED` are left at most, and return the level: one of 2**level values is remembered.

    Adaptive sampling (Wegman; Flajolet, "On adaptive sampling", 1990): those whose hash begins with `level` zeros.
    """
    while len(hashes) > SAMPLED:
        level += 1
        for hash_ in [hash_ for hash_ in hashes if hash_ >> (64 - level)]:
            del hashes[hash_]
    return level


def how_many(hashes: Counts, level: int) -> int:
    """Return how many different values there are: exactly up to `EXACT`, else by a sample of 1,025 to 2,048.

    Four times as many are remembered as are used: the level of the sample follows from the values that are there, not
    from those that were and were taken out again, unless three of four were taken out.
    """
    there = [hash_ for hash_, count in hashes.items() if count > 0]
    while len(there) > EXACT:
        level += 1
        there = [hash_ for hash_ in there if not hash_ >> (64 - level)]
    return len(there) << level
