"""AMSGrad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.transforms import scale_by_amsgrad, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
) -> GradientTransformationExtraArgs:
    """AMSGrad: Adam whose denominator never shrinks.

    :func:`scale_by_amsgrad`, then :func:`scale_by_learning_rate`. A quiet stretch of small
    gradients does not inflate the steps that follow, which guarantees convergence on convex
    problems. It costs one array more than :func:`adam`.

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
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        bias_correction_mu: Whether to correct the first moment.
        bias_correction_nu: Whether to correct the second.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: One is out of bounds, as for :func:`scale_by_amsgrad`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.amsgrad(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params
        array([ 0.9, -1.1])

    References:
        Reddi, Kale and Kumar, `On the Convergence of Adam and Beyond
        <https://openreview.net/forum?id=ryQu7f-RZ>`_, 2018.
    """
    return chain(
        scale_by_amsgrad(
            b1,
            b2,
            eps,
            eps_root,
            mu_dtype,
            bias_correction_mu,
            bias_correction_nu,
            eps_mode=eps_mode,
        ),
        scale_by_learning_rate(learning_rate),
    )
