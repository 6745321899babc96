"""Lion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate, scale_by_lion
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def lion(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.99,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-3,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Lion: steps by the sign of momentum, with decoupled weight decay.

    :func:`scale_by_lion`, then :func:`add_decayed_weights`, then :func:`scale_by_learning_rate`.
    Every element moves by the learning rate, so use a third to a tenth of AdamW's rate and three to
    ten times its weight decay. It keeps one array of state per parameter, half of AdamW's.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much the running mean counts, against the current gradient, in the direction of a
            step. Lower reacts faster.
        b2: How much of the running mean each step keeps. It spans about ``1 / (1 - b2)`` steps and
            may be longer than the direction's memory: 0.99 is usual, 0.98 for noisy gradients.
        mu_dtype: The dtype in which the moments are stored. bfloat16 saves two bytes a parameter,
            at little cost. None for the parameters' own dtype (float32 where that is 16 bits wide).
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule. A
            step subtracts this multiple of the parameters, times the learning rate: with 0.1 and a
            rate of 1e-3, one part in 10,000.
        mask: Which leaves decay; see :func:`add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: One is out of bounds, as for :func:`scale_by_lion`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.lion(0.1, weight_decay=0.01), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params
        array([ 0.899, -1.099])

    References:
        Chen et al., `Symbolic Discovery of Optimization Algorithms
        <https://arxiv.org/abs/2302.06675>`_, 2023.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
