"""Adagrad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill.transforms import scale_by_learning_rate, scale_by_rss
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def adagrad(
    learning_rate: ScalarOrSchedule,
    initial_accumulator_value: float = 0.1,
    eps: float = 1e-7,
    *,
    eps_in_sqrt: bool = True,
) -> GradientTransformationExtraArgs:
    """Adagrad: divides each element by the root of the sum of its squared gradients so far.

    :func:`scale_by_rss`, then :func:`scale_by_learning_rate`. Pick it for sparse features: elements
    that rarely receive a gradient keep large steps. All steps shrink over time, so long runs on
    dense gradients are better served by :func:`adam`.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        initial_accumulator_value: The sum of squares before the first step. Larger values temper
            the first steps.
        eps: Added inside the root, so that parameters with tiny gradients do not take huge steps.
        eps_in_sqrt: Whether ``eps`` is added inside the root; otherwise it is added to the root, as
            torch does.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: One is out of bounds, as for :func:`scale_by_rss`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adagrad(0.1, 0.0), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.9, -1.1])

    References:
        Duchi, Hazan and Singer, `Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization <https://jmlr.org/papers/v12/duchi11a.html>`_, 2011.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=eps_in_sqrt),
        scale_by_learning_rate(learning_rate),
    )
