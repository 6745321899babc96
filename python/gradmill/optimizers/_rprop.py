"""Rprop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill.transforms import scale, scale_by_rprop
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def rprop(
    learning_rate: float,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> GradientTransformationExtraArgs:
    """Rprop: step sizes that follow the signs of gradients, for full batches.

    :func:`scale_by_rprop`, then ``scale(-1.0)``. A size grows while the sign of its gradient stays
    and shrinks when it flips. Do not use it with small batches, whose signs flip by chance.

    Args:
        learning_rate: The size of the first step of every parameter, a number. The algorithm adapts
            the sizes from there.
        eta_minus: The factor of a step size when the sign of its gradient has changed: below 1, not
            negative.
        eta_plus: The factor of a step size when the sign of its gradient has stayed: above 1, not
            negative.
        min_step_size: The smallest step size, not negative.
        max_step_size: The largest step size, not negative.

    Returns:
        The chain of the two. As in optax the first step is zero.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.rprop(0.1), np.array([1.0]))
        >>> for _ in range(3):
        ...     _ = opt.step(np.array([3.0]))
        >>> opt.params.round(6)
        array([0.78])

    References:
        Riedmiller and Braun, `A Direct Adaptive Method for Faster Backpropagation Learning: The
        RPROP Algorithm <https://doi.org/10.1109/ICNN.1993.298623>`_, 1993.
    """
    return chain(
        scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size),
        scale(-1.0),
    )
