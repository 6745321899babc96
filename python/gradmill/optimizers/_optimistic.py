"""Optimistic gradient descent, plain and with Adam's direction."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import (
    scale,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_optimistic_gradient,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def optimistic_gradient_descent(
    learning_rate: ScalarOrSchedule, alpha: float = 1.0, beta: float = 1.0
) -> GradientTransformationExtraArgs:
    """Optimistic gradient descent, for games: it converges where gradient descent circles.

    :func:`scale_by_optimistic_gradient`, then :func:`scale_by_learning_rate`. It extrapolates the
    last change of the gradient. Pick it for two players with opposing losses.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        alpha: The factor of the current gradient.
        beta: The factor of its change since the last step, which anticipates the next one.

    Returns:
        The chain of :func:`scale_by_optimistic_gradient` and :func:`scale_by_learning_rate`.

    Raises:
        TypeError: An argument has the wrong type.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.optimistic_gradient_descent(0.1), np.array([1.0, 1.0]))
        >>> for _ in range(1000):
        ...     x, y = opt.params
        ...     _ = opt.step(np.array([y, -x]))
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Mokhtari, Ozdaglar and Pattathil, `A Unified Analysis of Extra-gradient and Optimistic
        Gradient Methods for Saddle Point Problems <https://arxiv.org/abs/1901.08511>`_, 2019.
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))


@recorded
def optimistic_adam_v2(
    learning_rate: ScalarOrSchedule,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """Adam with an optimistic step, for games and adversarial networks.

    It adds the last change of Adam's direction to each step, which damps the circling of two
    players around an equilibrium.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        alpha: The factor of Adam's current direction.
        beta: The factor of its change since the last step, which anticipates the next one.
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
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.

    Returns:
        The chain of :func:`scale_by_adam`, :func:`scale_by_optimistic_gradient` and
        :func:`scale_by_learning_rate`.

    Raises:
        TypeError: An argument has the wrong type.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.optimistic_adam_v2(0.1, nesterov=False)
        >>> opt = gm.Optimizer(tx, np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.9, -1.1])

    References:
        Daskalakis, Ilyas, Syrgkanis and Zeng, `Training GANs with Optimism
        <https://arxiv.org/abs/1711.00141>`_, 2017.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def optimistic_adam(
    learning_rate: float,
    optimism: float | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """The older optimistic Adam; prefer :func:`optimistic_adam_v2`, which takes schedules.

    As in optax, it warns that it is deprecated.

    Args:
        learning_rate: A number; schedules are not accepted.
        optimism: What the change of Adam's direction is multiplied by; None for the learning rate.
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
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.

    Returns:
        The chain of :func:`scale_by_adam`, :func:`scale_by_optimistic_gradient` and :func:`scale`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The learning rate is a schedule.

    Example:
        >>> import warnings
        >>> import numpy as np
        >>> import gradmill as gm
        >>> with warnings.catch_warnings(action="ignore"):
        ...     tx = gm.optimistic_adam(0.1, nesterov=False)
        >>> opt = gm.Optimizer(tx, np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.9, -1.1])

    References:
        Daskalakis, Ilyas, Syrgkanis and Zeng, `Training GANs with Optimism
        <https://arxiv.org/abs/1711.00141>`_, 2017.
    """
    warnings.warn(
        "optimistic_adam is deprecated; use `optimistic_adam_v2` instead",
        DeprecationWarning,
        stacklevel=3,
    )
    if callable(learning_rate):
        raise ValueError("optimistic_adam takes no schedule; optimistic_adam_v2 does")
    rate = real("learning_rate", learning_rate)
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(
            rate, rate if optimism is None else real("optimism", optimism)
        ),
        scale(-1.0),
    )
