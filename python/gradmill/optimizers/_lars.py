"""LAMB, LARS: steps in proportion to the size of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import (
    add_decayed_weights,
    masked,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_trust_ratio,
    trace,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def lamb(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    r"""LAMB: Adam with weight decay, rescaled per layer, for very large batches.

    :func:`scale_by_adam`, then :func:`add_decayed_weights`, then :func:`scale_by_trust_ratio`, then
    :func:`scale_by_learning_rate`. Each leaf changes in proportion to the norm of its weights,
    which keeps training stable at batch sizes in the thousands.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        eps_root: Added inside the root. Usually 0; a small value keeps the derivative of the step
            finite, for meta-learning.
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule: this
            multiple of them is added to the update before the trust ratio is taken.
        mask: Which leaves decay; see :func:`add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        The chain of :func:`scale_by_adam`, :func:`add_decayed_weights`,
        :func:`scale_by_trust_ratio` and :func:`scale_by_learning_rate`. Its ``update`` needs
        ``params``.

    Raises:
        TypeError: An argument has the wrong type.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.lamb(0.1), np.array([3.0, 4.0]))
        >>> _ = opt.step(np.array([1.0, 1.0]))
        >>> opt.params.round(3)
        array([2.646, 3.646])

    References:
        You et al., `Large Batch Optimization for Deep Learning: Training BERT in 76 minutes
        <https://arxiv.org/abs/1904.00962>`_, 2020.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, eps_mode=eps_mode, bias_correction=bias_correction),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: float = 0.001,
    eps: float = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> GradientTransformationExtraArgs:
    """LARS: gradient descent with momentum, rescaled per layer, for very large batches.

    Weight decay, then :func:`scale_by_trust_ratio`, then :func:`scale_by_learning_rate`, then
    momentum. :func:`lamb` is its counterpart for Adam.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule: this
            multiple of them is added to the update before the trust ratio is taken.
        weight_decay_mask: Which leaves decay, as a mask for :func:`masked`. Biases and the scales
            of normalization layers are usually left out.
        trust_coefficient: How much a layer may change in one step, relative to the size of its
            weights (before the learning rate); 0.001 is usual.
        eps: Added to the norm of the update in the denominator of the trust ratio.
        trust_ratio_mask: Which leaves are scaled by the trust ratio, as a mask for :func:`masked`.
            Biases and normalization layers are usually left out.
        momentum: How much of the running sum of updates each step keeps, as in :func:`trace`. It
            comes after the learning rate.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.

    Returns:
        The chain of :func:`add_decayed_weights`, :func:`scale_by_trust_ratio`,
        :func:`scale_by_learning_rate` and :func:`trace`. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.lars(1.0, trust_coefficient=0.1), np.array([3.0, 4.0]))
        >>> _ = opt.step(np.array([0.3, 0.4]))
        >>> opt.params
        array([2.7, 3.6])

    References:
        You, Gitman and Ginsburg, `Large Batch Training of Convolutional Networks
        <https://arxiv.org/abs/1708.03888>`_, 2017.
    """
    ratio = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(ratio, trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(real("momentum", momentum), nesterov),
    )
