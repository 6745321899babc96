"""AdaBelief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.transforms import scale_by_belief, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
    *,
    nesterov: bool = False,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    r"""AdaBelief: Adam that takes large steps where gradients are as predicted.

    :func:`scale_by_belief`, then :func:`scale_by_learning_rate`. It divides by the deviation of
    gradients from their running mean, not by their size.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn.
        b2: How much of the running mean of squared deviations each step keeps, over about
            ``1 / (1 - b2)`` steps.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        eps_root: Added to the moment of squares in each step.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: One is out of bounds, as for :func:`scale_by_belief`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adabelief(0.1, b1=0.5), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.8, -1.2])

    References:
        Zhuang et al., `AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients
        <https://arxiv.org/abs/2010.07468>`_, 2020.
    """
    return chain(
        scale_by_belief(
            b1,
            b2,
            eps,
            eps_root,
            nesterov=nesterov,
            eps_mode=eps_mode,
            bias_correction=bias_correction,
        ),
        scale_by_learning_rate(learning_rate),
    )
