"""Steps by the size of gradients in the past."""

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
    """RMSProp: :func:`scale_by_rms`, :func:`scale_by_learning_rate`, then :func:`trace`.

    Args:
        learning_rate: A number or a schedule.
        decay: Decay of the average of squares.
        eps: Keeps the denominator from zero.
        initial_scale: The average of squares before the first step.
        eps_in_sqrt: Whether ``eps`` stands inside the root.
        centered: Whether to divide by the standard deviation, :func:`scale_by_stddev`.
        momentum: The decay of :func:`trace`, which comes behind the learning rate; None for none.
        nesterov: Whether to use Nesterov's momentum.
        bias_correction: Whether to make up for averages that start at zero.

    Returns:
        The chain of the three, with :func:`identity` in place of a trace without momentum.

    Raises:
        TypeError: An argument is of the wrong kind.

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
