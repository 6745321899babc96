"""Gradient descent, plain, with momentum or with noise."""

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
    r"""Stochastic gradient descent, plain, with momentum, or with Nesterov momentum.

    .. math:: t' = g + \beta t, \qquad p' = p - \eta \, t'

    :func:`trace`, then :func:`scale_by_learning_rate`. With ``momentum=0.9`` and a decaying
    learning rate it often generalizes best for convolutional networks, but its learning rate needs
    more tuning than Adam's. Plain, it has no state at all.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        momentum: How much of the running sum of updates each step keeps, usually 0.9: a constant
            gradient then moves 10 times as far. None for plain gradient descent, without state.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        accumulator_dtype: The dtype in which momentum is stored. None for the parameters' own dtype
            (float32 where that is 16 bits wide).

    Returns:
        The chain of the two; without momentum, :func:`identity` takes the place of the trace.

    Raises:
        TypeError: An argument has the wrong type.

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
    """Gradient descent with noise that fades, to escape poor regions early in training.

    :func:`add_noise`, then :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number or a schedule. It scales the noise as well.
        eta: The variance of the noise in the first step.
        gamma: How fast the variance fades. The paper uses 0.55.
        key: A seed or a key; see :func:`add_noise`.
        seed: ``key`` by another name.

    Returns:
        The chain of :func:`add_noise` and :func:`scale_by_learning_rate`.

    Raises:
        TypeError: An argument has the wrong type.
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
