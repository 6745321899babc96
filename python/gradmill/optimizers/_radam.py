"""RAdam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.transforms import scale_by_learning_rate, scale_by_radam
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def radam(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    """RAdam: :func:`scale_by_radam`, then :func:`scale_by_learning_rate`.

    Adam without a need for a warmup: its first steps are those of momentum.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_root: Added inside the root.
        threshold: How many squares the second moment has to have seen before it counts.
        nesterov: Whether to use Nesterov's momentum.
        eps_mode: "corrected" to add the epsilons to the corrected second moment; "hat" to add them
            to the moment as it is, and correct the quotient, as scikit-learn and many programs do.
        bias_correction: Whether to make up for moments that start at zero.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: One is out of bounds, as for :func:`scale_by_radam`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.radam(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.8 , -1.05])

    References:
        Liu et al., `On the Variance of the Adaptive Learning Rate and Beyond
        <https://arxiv.org/abs/1908.03265>`_, 2019.
    """
    return chain(
        scale_by_radam(
            b1,
            b2,
            eps,
            eps_root,
            threshold,
            nesterov=nesterov,
            eps_mode=eps_mode,
            bias_correction=bias_correction,
        ),
        scale_by_learning_rate(learning_rate),
    )
