from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import number, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import factored as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.schedules._base import BuiltinSchedule
from gradmill.schedules._named import named

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._run.transformation import GradientTransformation


class FactoredState(NamedTuple):
    """The state of :func:`scale_by_factored_rms`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        v_row: Averages of squares over the longest axis, where there are two long ones, else
            ``zeros(1)``.
        v_col: Averages of squares over the second longest axis, or ``zeros(1)``.
        v: Averages of squares of the other leaves, or ``zeros(1)``.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_factored_rms(min_dim_size_to_factor=2)
        >>> state = tx.init({"bias": np.ones(3), "kernel": np.ones((2, 3))})
        >>> state.v_row
        {'bias': array([0.]), 'kernel': array([0., 0.])}
        >>> state.v
        {'bias': array([0., 0., 0.]), 'kernel': array([0.])}
    """

    count: Any
    v_row: Any
    v_col: Any
    v: Any


@dataclass(frozen=True)
class _Power(BuiltinSchedule):
    """One less a power of the number of the step, which is 1 at first."""

    rate: float
    offset: float

    def at(self, xp: Any, count: Any) -> Any:
        return 1.0 - xp.power(xp.maximum(count - self.offset + 1.0, 1.0), -self.rate)


@dataclass(frozen=True)
class _Shifted:
    """What a function of the user's makes of a count and of the rate."""

    function: Callable[[Any, Any], Any]
    rate: float
    offset: float

    def __call__(self, count: Any) -> Any:
        return self.function(count - self.offset, self.rate)


def _average(without: int, xp: Any, array: Any, dtype: Any) -> Any:
    """Zeros for averages over one of the longest axes."""
    axis = ops.longest_axes(array.shape)[without]
    return xp.zeros((*array.shape[:axis], *array.shape[axis + 1 :]), dtype)


def _is_factored(least: int, shape: tuple[int, ...]) -> bool:
    """Whether the two longest axes are long enough."""
    return len(shape) > 1 and sorted(shape)[-2] >= least


def _is_whole(least: int, shape: tuple[int, ...]) -> bool:
    """Whether there is an average for each element."""
    return not _is_factored(least, shape)


@recorded
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: float = 0.8,
    step_offset: int = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: float = 1e-30,
    decay_rate_fn: Callable[[Any, Any], Any] | None = None,
) -> GradientTransformation:
    r"""Divide updates by their root mean square, estimated from row and column means.

    .. math::
        d_t &= 1 - t^{-\rho}, \qquad s = u^2 + \epsilon \\
        r' &= d_t r + (1 - d_t) \operatorname{mean}_{rows}(s), \qquad
        c' = d_t c + (1 - d_t) \operatorname{mean}_{columns}(s) \\
        u' &= \frac{u}{\sqrt{r' / \operatorname{mean}(r')} \sqrt{c'}}

    Here :math:`t` counts from 1. A matrix needs one number per row and column instead of one per
    element. Leaves without two long axes have :math:`v' = d_t v + (1 - d_t) s` and
    :math:`u' = u / \sqrt{v'}`.

    Args:
        factored: Whether to keep row and column means of squares instead of one value per element:
            that is what saves memory.
        decay_rate: The power :math:`\rho`, not negative.
        step_offset: Subtracted from the step count; set it to the count at which fine-tuning
            begins.
        min_dim_size_to_factor: Leaves whose second longest axis is shorter than this keep a value
            per element.
        epsilon: Added to squares, :math:`\epsilon`, not negative.
        decay_rate_fn: A function of the steps taken, less ``step_offset``, and of ``decay_rate``
            that returns the decay; None for that above.

    Returns:
        A transformation with state :class:`FactoredState`. Its ``update`` needs ``params``. It does
        not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number; or, from a step, ``decay_rate_fn`` did not
            return one.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_factored_rms(min_dim_size_to_factor=2)
        >>> params = np.zeros((2, 2))
        >>> updates, state = tx.update(np.array([[1.0, 2.0], [2.0, 4.0]]), tx.init(params), params)
        >>> updates.round(6)
        array([[1., 1.],
               [1., 1.]])
        >>> state.v_row, state.v_col
        (array([ 2.5, 10. ]), array([ 2.5, 10. ]))

    References:
        Shazeer and Stern, `Adafactor: Adaptive Learning Rates with Sublinear Memory Cost
        <https://arxiv.org/abs/1804.04235>`_, 2018.
    """
    rate = real("decay_rate", decay_rate, at_least=0)
    offset = real("step_offset", step_offset)
    hyper = {
        "decay": _Power(rate, offset)
        if decay_rate_fn is None
        else named("decay_rate_fn", _Shifted(decay_rate_fn, rate, offset)),
        "eps": real("epsilon", epsilon, at_least=0),
    }
    length = number("min_dim_size_to_factor", min_dim_size_to_factor) if factored else math.inf
    least = math.ceil(min(max(length, 0), sys.maxsize))
    has_factors, is_whole = partial(_is_factored, least), partial(_is_whole, least)
    slots = (
        Slot("v_row", start=partial(_average, 1), where=has_factors),
        Slot("v_col", start=partial(_average, 0), where=has_factors),
        Slot("v", where=is_whole),
    )
    return native(Spec(ops.scale_by_factored_rms, FactoredState, hyper, slots, axes=(least,)))
