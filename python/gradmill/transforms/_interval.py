"""Intervals of learning rates in which a good one lies, and where in them to look next.

As in algorithms 3.5 and 3.6 of Nocedal and Wright, `Numerical Optimization`, 1999.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from gradmill.transforms._line import Point


class Interval(NamedTuple):
    """An interval of learning rates.

    Attributes:
        low: The end with the lower value, which is low enough, and falls towards the other end.
        high: The other end, on either side.
        third: A point that was an end before; at first the lower end.
    """

    low: Point
    high: Point
    third: Point

    @property
    def width(self) -> float:
        """The distance between both ends."""
        return abs(self.high.rate - self.low.rate)


def first_interval(
    last: Point, trial: Point, too_large: float, *, is_first: bool
) -> Interval | None:
    """The interval between two points of a growing row; None where the value still falls.

    Args:
        last: The point before.
        trial: The newest point.
        too_large: By how much the value of that is too large.
        is_first: Whether it is the first one.
    """
    if too_large > 0 or (trial.value >= last.value and not is_first):
        return Interval(last, trial, last)
    return Interval(trial, last, trial) if trial.slope >= 0 else None


def cut(interval: Interval, trial: Point, too_large: float) -> Interval:
    """The part of an interval that a point within leaves."""
    low, high, _ = interval
    if too_large > 0 or trial.value >= low.value:
        return Interval(low, trial, high)
    if trial.slope * (high.rate - low.rate) >= 0:
        return Interval(trial, low, high)
    return Interval(trial, high, low)


def inside(interval: Interval) -> float:
    """Where to look: the minimum of a cubic, or of a parabola, or the middle.

    A minimum near an end, or outside, would cut off too little.
    """
    low, high, third = interval
    with np.errstate(all="ignore"):
        for minimum, share in ((_of_cubic(low, high, third), 0.2), (_of_parabola(low, high), 0.1)):
            margin = share * interval.width
            left, right = sorted((low.rate, high.rate))
            if left + margin < minimum < right - margin:
                return float(minimum)
    return (low.rate + high.rate) / 2


def _of_cubic(start: Point, first: Point, second: Point) -> Any:
    """The minimum of the cubic through three points with the slope of the first; or NaN."""
    a, b = np.float64(first.rate - start.rate), np.float64(second.rate - start.rate)
    of_first, of_second = _bend(start, first), _bend(start, second)
    third = (of_first - of_second) / (a - b)
    bend = of_first - third * a
    root = np.sqrt(bend * bend - 3 * third * start.slope)
    # The same by both; each loses its digits where the other has them.
    step = -start.slope / (bend + root) if bend > 0 else (root - bend) / (3 * third)
    return start.rate + step


def _of_parabola(start: Point, end: Point) -> Any:
    """The minimum of the parabola through two points with the slope of the first; or NaN."""
    return start.rate - start.slope / (2 * _bend(start, end))


def _bend(start: Point, end: Point) -> Any:
    """How much the value at the end differs from that on a straight line, by distance squared."""
    distance = np.float64(end.rate - start.rate)
    return (end.value - start.value - start.slope * distance) / (distance * distance)
