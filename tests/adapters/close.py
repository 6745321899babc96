"""How near our numbers have to be to those of the program that an adapter is for."""

from __future__ import annotations

from typing import Any

import numpy as np

MOST = {np.float32: 1e-6, np.float64: 1e-14}
"""The distance over the length of a vector, after a hundred steps."""


def check_close(ours: Any, theirs: Any, most: float) -> None:
    """See that two lists of arrays, arrays or numbers are that close, and of the same dtypes."""
    if not isinstance(ours, (list, tuple)):
        ours, theirs = [ours], [theirs]
    for mine, its in zip(map(np.asarray, ours), map(np.asarray, theirs), strict=True):
        assert (mine.dtype, mine.shape) == (its.dtype, its.shape)
        distance = np.linalg.norm(np.subtract(mine, its, dtype=np.float64))
        assert distance <= most * np.linalg.norm(its.astype(np.float64))
