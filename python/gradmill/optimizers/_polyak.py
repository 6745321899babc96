"""Gradient descent with Polyak's step size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.optimizers._sgd import sgd
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import scale_by_polyak
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def polyak_sgd(
    max_learning_rate: float = 1.0,
    scaling: ScalarOrSchedule = 1.0,
    f_min: float = 0.0,
    eps: float = 0.0,
    variant: Literal["sps", "sps+"] = "sps",
) -> GradientTransformationExtraArgs:
    """Gradient descent with Polyak's step size, from how far the loss is above its minimum.

    Pick it when you know the smallest possible loss, such as zero for a network that can fit all
    examples. Pass the loss to each step: ``opt.step(grads, value=loss)``.

    Args:
        max_learning_rate: The largest step size.
        scaling: A number or a schedule that multiplies gradients before they are measured.
        f_min: The smallest loss that can be reached, or a lower bound; 0 for models that can fit
            the data exactly.
        eps: Added to the squared norm of gradients.
        variant: ``"sps"``, or ``"sps+"`` to take a loss below ``f_min`` for ``f_min``.

    Returns:
        The chain of :func:`sgd` and :func:`scale_by_polyak`, whose ``update`` needs the loss of the
        step as ``value``.

    Raises:
        TypeError: An argument has the wrong type; or, from ``update``, ``value`` is missing.
        ValueError: One is out of bounds, as for :func:`scale_by_polyak`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.polyak_sgd(), np.array([3.0, 4.0]))
        >>> for _ in range(3):
        ...     loss, grads = (opt.params**2).sum(), 2 * opt.params
        ...     _ = opt.step(grads, value=loss)
        >>> opt.params
        array([0.375, 0.5  ])

    References:
        Loizou, Vaswani, Laradji and Lacoste-Julien, `Stochastic Polyak Step-size for SGD: An
        Adaptive Learning Rate for Fast Convergence <https://arxiv.org/abs/2002.10542>`_, 2021.
    """
    scaling = real_or_schedule("scaling", scaling)
    return chain(sgd(scaling), scale_by_polyak(f_min, max_learning_rate, eps, variant))
