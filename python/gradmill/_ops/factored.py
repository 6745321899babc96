"""Updates divided by a root mean square, of which row and column sums are kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmill._ops.common import average, over, root, total
from gradmill._ops.op import op

Array = Any


@op(finds="units")
def scale_by_factored_rms(
    xp: Any,
    u: Array,
    p: Array,
    v_row: Array,
    v_col: Array,
    v: Array,
    *,
    decay: Array,
    eps: Array,
) -> tuple[Array, ...]:
    """Divide by the root of the average square, or of its factors where these are kept."""
    square = u * u + eps
    if v.shape == u.shape:
        v = average(decay, v, square)
        return u / root(xp, v, 0.0, 0.0), v_row, v_col, v
    shorter, longer = longest_axes(u.shape)
    v_row, v_col = (
        average(decay, old, total(xp, square, axis) / u.shape[axis])
        for old, axis in ((v_row, longer), (v_col, shorter))
    )
    own = shorter - (shorter > longer)
    rows = over(xp, v_row, xp.mean(v_row, axis=own, keepdims=True))
    for averages, axis in ((rows, longer), (v_col, shorter)):
        size = root(xp, xp.asarray(averages, u.dtype), 0.0, 0.0)
        u = u / xp.expand_dims(size, axis)
    return u, v_row, v_col, v


def longest_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    """The second longest axis of a shape and the longest; of equal ones, the last is the longer."""
    *_, shorter, longer = np.argsort(shape, kind="stable").tolist()
    return shorter, longer
