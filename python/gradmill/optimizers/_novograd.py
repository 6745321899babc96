"""Steps by the norms that leaves have had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill.transforms import scale_by_learning_rate, scale_by_novograd
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def novograd(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.25,
    eps: float = 1e-6,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
) -> GradientTransformationExtraArgs:
    """NovoGrad: :func:`scale_by_novograd`, then :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment, between -1 and 1.
        b2: Decay of the second moment, from 0 to 1.
        eps: Added outside the root, not negative.
        eps_root: Added inside the root, not negative.
        weight_decay: The multiple of the parameters.

    Returns:
        The chain of the two. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.novograd(0.1), np.array([1.0, 1.0]))
        >>> _ = opt.step(np.array([3.0, -4.0]))
        >>> opt.params.round(6)
        array([0.94, 1.08])

    References:
        Ginsburg et al., `Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training
        of Deep Networks <https://arxiv.org/abs/1905.11286>`_, 2019.
    """
    return chain(
        scale_by_novograd(b1, b2, eps, eps_root, weight_decay),
        scale_by_learning_rate(learning_rate),
    )
