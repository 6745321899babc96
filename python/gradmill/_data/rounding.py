"""How 16-bit arrays are rounded when they are written."""

from __future__ import annotations

import operator


def rounding_key(rounding: str, seed: int) -> tuple[int, int] | None:
    """What to draw with for rounding at random, or None for rounding to nearest.

    Raises:
        TypeError: ``seed`` is not an integer.
        ValueError: ``rounding`` is not one of its two values, or ``seed`` is out of range.
    """
    if rounding not in {"nearest", "stochastic"}:
        raise ValueError(f'rounding must be "nearest" or "stochastic", got {rounding!r}')
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be from 0 to 2**64 - 1, got {seed}")
    return None if rounding == "nearest" else divmod(seed, 2**32)
