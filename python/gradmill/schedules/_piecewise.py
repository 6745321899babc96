from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any

from gradmill._data.checks import number
from gradmill._data.numbers import HOST
from gradmill._data.recorded import recorded
from gradmill.schedules._base import BuiltinSchedule

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class _PiecewiseConstant(BuiltinSchedule):
    boundaries: tuple[int, ...]
    values: tuple[float, ...]

    def at(self, xp: Any, count: Any) -> Any:
        return xp.asarray(self.values)[_passed(xp, self.boundaries, count)]


@dataclass(frozen=True)
class _PiecewiseInterpolate(BuiltinSchedule):
    boundaries: tuple[int, ...]
    starts: tuple[int, ...]
    values: tuple[float, ...]
    is_cosine: bool

    def at(self, xp: Any, count: Any) -> Any:
        passed, pieces = _passed(xp, self.boundaries, count), len(self.boundaries)
        is_early, is_late = (passed == 0) & (count < 0), passed == pieces
        if xp is HOST and (is_early or is_late):
            # Not the formula below: infinite counts have no cosine there.
            return 0.0 if is_early else self.values[-1]
        after = xp.minimum(passed + 1, pieces)
        starts, values = xp.asarray(self.starts), xp.asarray(self.values)
        share = (count - starts[passed]) / xp.maximum(starts[after] - starts[passed], 1)
        if self.is_cosine:
            share = 0.5 * (1 - xp.cos(math.pi * share))
        value = values[passed] + (values[after] - values[passed]) * share
        return xp.where(is_early, 0.0, xp.where(is_late, self.values[-1], value))


def _passed(xp: Any, boundaries: tuple[int, ...], count: Any) -> Any:
    """How many boundaries are reached."""
    if xp is HOST:
        return bisect_right(boundaries, count)
    return xp.searchsorted(xp.asarray(boundaries), count, side="right")


def _pieces(
    name: str, init_value: float, boundaries_and_scales: Mapping[int, float] | None
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The boundaries in ascending order, and the values at 0 and at each of them."""
    pairs = sorted(
        (number(f"{name}: a boundary", boundary), number(f"{name}: the scale at {boundary}", scale))
        for boundary, scale in (boundaries_and_scales or {}).items()
    )
    for boundary, scale in pairs:
        if scale < 0:
            raise ValueError(
                f"`{name}` expects non-negative scale factors, got {scale} at step {boundary}"
            )
    start = number("init_value", init_value)
    values = accumulate((scale for _, scale in pairs), mul, initial=start)
    return tuple(boundary for boundary, _ in pairs), tuple(values)


@recorded
def piecewise_constant_schedule(
    init_value: float, boundaries_and_scales: Mapping[int, float] | None = None
) -> BuiltinSchedule:
    r"""Multiply by a factor at given steps, and stay constant in between.

    .. math:: v_0 \prod_{i : b_i \le t} s_i

    Args:
        init_value: The value :math:`v_0` before the first boundary.
        boundaries_and_scales: For each step :math:`b_i` the factor :math:`s_i` from that step on;
            None for no change.

    Returns:
        A function of the step count.

    Raises:
        TypeError: A value, step or factor is not a real number.
        ValueError: A factor is negative, or an argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.piecewise_constant_schedule(1.0, {2: 0.5, 4: 0.1})
        >>> [schedule(count) for count in range(6)]
        [1.0, 1.0, 0.5, 0.5, 0.05, 0.05]
    """
    return _PiecewiseConstant(
        *_pieces("piecewise_constant_schedule", init_value, boundaries_and_scales)
    )


@recorded
def piecewise_interpolate_schedule(
    interpolate_type: str,
    init_value: float,
    boundaries_and_scales: Mapping[int, float] | None = None,
) -> BuiltinSchedule:
    r"""Interpolate between the values at given steps, linearly or along half cosine waves.

    With :math:`v_i = v_{i-1} s_i` at step :math:`b_i`, :math:`b_0 = 0`, and :math:`x` the fraction
    of the way from :math:`b_i` to :math:`b_{i+1}`:

    .. math::
        v_i + (v_{i+1} - v_i)\, x \quad\text{or}\quad
        v_i + (v_{i+1} - v_i) \tfrac12 (1 - \cos \pi x)

    Args:
        interpolate_type: ``"linear"`` or ``"cosine"``.
        init_value: The value :math:`v_0` at step 0; before it, the schedule is 0.
        boundaries_and_scales: For each step :math:`b_i` the factor :math:`s_i` between the
            value at the boundary before and the value here; the last value stays. None for no
            change.

    Returns:
        A function of the step count.

    Raises:
        TypeError: A value, step or factor is not a real number.
        ValueError: ``interpolate_type`` is another one, a factor is negative, or an argument is
            NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.piecewise_interpolate_schedule("linear", 1.0, {2: 3.0, 4: 0.0})
        >>> [schedule(count) for count in range(6)]
        [1.0, 2.0, 3.0, 1.5, 0.0, 0.0]
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ValueError(
            "piecewise_interpolate_schedule: `interpolate_type` must be either 'cosine' or"
            f" 'linear', got {interpolate_type!r:.80}"
        )
    boundaries, values = _pieces(
        "piecewise_interpolate_schedule", init_value, boundaries_and_scales
    )
    return _PiecewiseInterpolate(boundaries, (0, *boundaries), values, interpolate_type == "cosine")
