from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import trace as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._run.transformation import GradientTransformation


class TraceState(NamedTuple):
    """The state of :func:`trace`.

    Attributes:
        trace: The accumulated updates, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.trace(0.9).init(np.ones(2))
        TraceState(trace=array([0., 0.]))
    """

    trace: Any


@recorded
def trace(
    decay: float = 0.9, nesterov: bool = False, accumulator_dtype: DTypeLike | None = None
) -> GradientTransformation:
    r"""Accumulate updates into a decaying sum: momentum.

    .. math:: t' = u + \beta t, \qquad u' = t' \;\text{ or }\; u + \beta t' \text{ (Nesterov)}

    There is no factor of :math:`1 - \beta`, so a constant gradient ends up multiplied by
    :math:`1 / (1 - \beta)`; :func:`ema` has that factor. Subnormal accumulators are flushed to
    zero.

    Args:
        decay: How much of the running value each step keeps, :math:`\beta`. It remembers about
            :math:`1 / (1 - \beta)` steps: 0.9 is 10 steps, 0.99 is 100.
        nesterov: Whether to use Nesterov momentum: the update looks one step ahead.
        accumulator_dtype: The dtype in which the accumulators are stored. None for the parameters'
            own dtype (float32 where that is 16 bits wide).

    Returns:
        A transformation with state :class:`TraceState`.

    Raises:
        TypeError: ``decay`` is not a real number, or the dtype is not a float dtype.
        ValueError: ``decay`` is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.trace(decay=0.5)
        >>> updates, state = tx.update(np.ones(2), tx.init(np.zeros(2)))
        >>> tx.update(np.ones(2), state)
        (array([1.5, 1.5]), TraceState(trace=array([1.5, 1.5])))

    References:
        Sutskever, Martens, Dahl and Hinton, `On the importance of initialization and momentum in
        deep learning <https://proceedings.mlr.press/v28/sutskever13.html>`_, 2013.
    """
    dtype = float_dtype("accumulator_dtype", accumulator_dtype)
    op = ops.trace_nesterov if nesterov else ops.trace
    return native(
        Spec(
            op,
            TraceState,
            {"decay": real("decay", decay)},
            (Slot("trace", dtype, coding="signed"),),
        )
    )
