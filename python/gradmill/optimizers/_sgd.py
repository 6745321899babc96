"""Gradients themselves, summed up or with noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import (
    add_noise,
    identity,
    scale_by_learning_rate,
    trace,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: float | None = None,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    """Stochastic gradient descent: :func:`trace`, then :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number or a schedule.
        momentum: The decay of :func:`trace`; None for none at all, without its state.
        nesterov: Whether to use Nesterov's momentum.
        accumulator_dtype: The dtype of the trace; None for the parameters' own, or float32 where
            that is of half precision.

    Returns:
        The chain of the two, with :func:`identity` in place of a trace without momentum.

    Raises:
        TypeError: An argument is of the wrong kind.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.sgd(0.1, momentum=0.9), np.array([1.0]))
        >>> for _ in range(2):
        ...     _ = opt.step(np.array([1.0]))
        >>> opt.params
        array([0.71])

    References:
        Sutskever, Martens, Dahl and Hinton, `On the importance of initialization and momentum in
        deep learning <https://proceedings.mlr.press/v28/sutskever13.html>`_, 2013.
    """
    return chain(
        identity()
        if momentum is None
        else trace(real("momentum", momentum), nesterov, accumulator_dtype),
        scale_by_learning_rate(learning_rate),
    )


@recorded
def noisy_sgd(
    learning_rate: ScalarOrSchedule,
    eta: float = 0.01,
    gamma: float = 0.55,
    key: Any = None,
    *,
    seed: Any = None,
) -> GradientTransformationExtraArgs:
    """Stochastic gradient descent with fading noise on the gradients.

    Args:
        learning_rate: A number or a schedule; it scales the noise as well.
        eta: The variance of the noise in the first step.
        gamma: The exponent with which it fades.
        key: A seed or a key; see :func:`add_noise`.
        seed: Another name for ``key``.

    Returns:
        The chain of :func:`add_noise` and :func:`scale_by_learning_rate`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: Both ``key`` and ``seed`` are given.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.noisy_sgd(0.1, eta=0.0, seed=0), np.array([1.0]))
        >>> _ = opt.step(np.array([1.0]))
        >>> opt.params
        array([0.9])

    References:
        Neelakantan et al., `Adding Gradient Noise Improves Learning for Very Deep Networks
        <https://arxiv.org/abs/1511.06807>`_, 2015.
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
