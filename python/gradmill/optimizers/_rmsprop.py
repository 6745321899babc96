"""RMSProp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import (
    identity,
    scale_by_learning_rate,
    scale_by_rms,
    scale_by_stddev,
    trace,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> GradientTransformationExtraArgs:
    r"""RMSProp: divides gradients by the root of their running mean square.

    .. math:: p' = p - \eta \, \frac{g}{\sqrt{v' + \epsilon}}, \qquad v' = \beta v + (1 - \beta) g^2

    :func:`scale_by_rms` (or :func:`scale_by_stddev`), then :func:`scale_by_learning_rate`, then
    :func:`trace`. Common in reinforcement learning, where gradients change in size all the time.
    :func:`adam` adds momentum and a correction for the start.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        decay: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - decay)`` steps.
        eps: Keeps the denominator away from zero. Raise it (1e-6 to 1e-3) if updates of rarely used
            parameters are too large.
        initial_scale: The value of the mean square before the first step. Above 0, it tempers the
            first steps.
        eps_in_sqrt: Whether ``eps`` is added inside the root, as optax does, or outside, as torch
            does.
        centered: Whether to subtract the squared mean, that is, to divide by the standard
            deviation, as :func:`scale_by_stddev` does. It costs a second average.
        momentum: How much of the running sum of updates each step keeps, as in :func:`trace`. It
            comes after the learning rate. None for no momentum.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        bias_correction: Whether to make up for averages that start at zero, by dividing them by
            :math:`1 - \beta^t`.

    Returns:
        The chain of the three; without momentum, :func:`identity` takes the place of the trace.

    Raises:
        TypeError: An argument has the wrong type.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.rmsprop(0.1, decay=0.75), np.array([1.0]))
        >>> _ = opt.step(np.array([3.0]))
        >>> opt.params.round(6)
        array([0.8])

    References:
        Tieleman and Hinton, `Lecture 6.5: rmsprop
        <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>`_, 2012; Graves,
        `Generating Sequences With Recurrent Neural Networks <https://arxiv.org/abs/1308.0850>`_,
        2013.
    """
    by_average = scale_by_stddev if centered else scale_by_rms
    return chain(
        by_average(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(real("momentum", momentum), nesterov),
    )
