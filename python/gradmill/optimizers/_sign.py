"""Gradient descent by signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import ema, scale_by_learning_rate, scale_by_sign
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def sign_sgd(learning_rate: ScalarOrSchedule) -> GradientTransformationExtraArgs:
    """Steps by the sign of the gradient.

    :func:`scale_by_sign`, then :func:`scale_by_learning_rate`. Every element moves by the learning
    rate, however large its gradient.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.

    Returns:
        The chain of the two.

    Raises:
        TypeError: ``learning_rate`` is neither a real number nor a function.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.sign_sgd(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params
        array([ 0.9, -1.1])

    References:
        Bernstein, Wang, Azizzadenesheli and Anandkumar, `signSGD: Compressed Optimisation for
        Non-Convex Problems <https://arxiv.org/abs/1802.04434>`_, 2018.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@recorded
def signum(
    learning_rate: ScalarOrSchedule,
    beta: float = 0.9,
    accumulator_dtype: DTypeLike | None = None,
) -> GradientTransformationExtraArgs:
    """Steps by the sign of momentum.

    :func:`ema` without ``debias``, then :func:`scale_by_sign`, then :func:`scale_by_learning_rate`.
    Every element moves by the learning rate; :func:`lion` refines the idea.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        beta: How much of the running mean of gradients each step keeps, over about
            ``1 / (1 - beta)`` steps.
        accumulator_dtype: The dtype in which the average is stored. None for the parameters' own
            dtype (float32 where that is 16 bits wide).

    Returns:
        The chain of the three.

    Raises:
        TypeError: An argument has the wrong type.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.signum(0.1), np.array([1.0]))
        >>> for size in 3.0, -1.0:
        ...     _ = opt.step(np.array([size]))
        >>> opt.params
        array([0.8])

    References:
        Bernstein, Wang, Azizzadenesheli and Anandkumar, `signSGD: Compressed Optimisation for
        Non-Convex Problems <https://arxiv.org/abs/1802.04434>`_, 2018.
    """
    return chain(
        ema(real("beta", beta), False, accumulator_dtype),
        scale_by_sign(),
        scale_by_learning_rate(learning_rate),
    )
