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
    """AdaBelief: :func:`scale_by_belief`, then :func:`scale_by_learning_rate`.

    Its steps are large where gradients are what was expected of them.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the moment of squares.
        eps: Added outside the root.
        eps_root: Added to the moment of squares in each step.
        nesterov: Whether to use Nesterov's momentum.
        eps_mode: "corrected" to add the epsilons to the corrected second moment; "hat" to add them
            to the moment as it is, and correct the quotient, as scikit-learn and many programs do.
        bias_correction: Whether to make up for moments that start at zero.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument is of the wrong kind.
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
