"""Adan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.transforms import add_decayed_weights, scale_by_adan, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def adan(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    r"""Adan: Nesterov momentum from differences of gradients, with decoupled weight decay.

    :func:`scale_by_adan`, then :func:`add_decayed_weights`, then :func:`scale_by_learning_rate`. It
    tolerates learning rates several times those of AdamW, at the price of four arrays of state per
    parameter.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. Adan's values are high: 0.98
            spans 50 steps.
        b2: How much of the running mean of gradient differences each step keeps, over about
            ``1 / (1 - b2)`` steps.
        b3: How much of the running mean of squares each step keeps, over about ``1 / (1 - b3)``
            steps.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the step
            finite, for meta-learning.
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule. A
            step subtracts this multiple of the parameters, times the learning rate: with 0.1 and a
            rate of 1e-3, one part in 10,000.
        mask: Which leaves decay; see :func:`add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: One is out of bounds, as for :func:`scale_by_adan`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adan(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.9, -1.1])

    References:
        Xie et al., `Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models
        <https://arxiv.org/abs/2208.06677>`_, 2022.
    """
    return chain(
        scale_by_adan(
            b1, b2, b3, eps, eps_root, eps_mode=eps_mode, bias_correction=bias_correction
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
