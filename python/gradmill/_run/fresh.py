"""Leaves in memory of their own."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.trees import flatten

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def copied(leaf: Any) -> Any:
    """A leaf that no op touches, in new memory."""
    if isinstance(leaf, np.ma.MaskedArray):
        return leaf.copy()
    if hasattr(leaf, "__array__") or isinstance(leaf, (bool, int, float, complex)):
        try:
            return np.array(leaf, order="C")
        except Exception:  # noqa: BLE001  (an __array__ may raise anything)
            return leaf
    return leaf


def zeroed(leaf: Any) -> Any:
    """Zeros for a leaf; None for one that can have none."""
    array = copied(leaf)
    return np.zeros_like(array) if isinstance(array, np.ndarray) else None


def apart(tree: PyTree, inputs: PyTree) -> PyTree:
    """``tree`` with a copy of each array that may share memory with one of ``inputs``."""
    spans = sorted(_span(leaf) for leaf in flatten(inputs)[0] if isinstance(leaf, np.ndarray))
    starts = [start for start, _ in spans]
    ends = list(accumulate((end for _, end in spans), max))

    def is_apart(leaf: Any) -> bool:
        if not isinstance(leaf, np.ndarray):
            return True
        start, end = _span(leaf)
        before = bisect_left(starts, end)
        return before == 0 or ends[before - 1] <= start

    leaves, spec = flatten(tree)
    if all(map(is_apart, leaves)):
        return tree
    return spec.unflatten([leaf if is_apart(leaf) else np.array(leaf) for leaf in leaves])


def _span(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """The addresses of an array's first byte and of the one behind its last."""
    start: int = array.__array_interface__["data"][0]
    if array.size == 0:
        return start, start
    steps = [(length - 1) * step for length, step in zip(array.shape, array.strides, strict=True)]
    low, high = sum(step for step in steps if step < 0), sum(step for step in steps if step > 0)
    return start + low, start + high + array.itemsize
