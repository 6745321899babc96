from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradmill import tree
from gradmill._data.checks import number_of, real
from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops.common import over
from gradmill._run.fused import by_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformationExtraArgs

_VARIANTS = ("sps", "sps+")
_LEAST = float(np.finfo(float).eps)
"""A squared norm that counts as zero."""


def _init(xp: Any, params: PyTree, **_: Any) -> EmptyState:  # noqa: ARG001  (there is no state)
    return EmptyState()


def _scale_by_polyak(
    xp: Any,
    updates: PyTree,
    state: EmptyState,
    params: PyTree | None,  # noqa: ARG001  (updates and the value say it all)
    extra: Mapping[str, Any],
    *,
    f_min: float,
    max_learning_rate: float,
    eps: float,
    variant: str,
) -> tuple[PyTree, EmptyState]:
    value = number_of(extra.get("value"))
    if value is None:
        raise TypeError(
            "scale_by_polyak needs the loss of the step, a number: call update(..., value=loss)"
        )
    gap = value - f_min
    if variant == "sps+":
        gap = xp.maximum(gap, 0.0)
    squares = tree.norm(updates, squared=True) + eps
    rate = xp.minimum(over(xp, gap, squares), max_learning_rate)
    rate = xp.where(squares <= _LEAST, 0.0, rate)
    return tree.scale(float(rate) if xp is np else rate, updates), state


@recorded
def scale_by_polyak(
    f_min: float = 0.0,
    max_learning_rate: float = 1.0,
    eps: float = 0.0,
    variant: Literal["sps", "sps+"] = "sps",
) -> GradientTransformationExtraArgs:
    r"""Scale updates by Polyak's step size, from how far the loss is above its minimum.

    .. math::
        u' = u \min\left(\frac{f - f^*}{\|u\|^2 + \epsilon}, \gamma\right)

    It needs no tuned learning rate if the smallest loss :math:`f^*` is known, such as zero for a
    network that can fit all examples. Where :math:`\|u\|^2 + \epsilon` is at most 2.2e-16, the
    update is zero. The sign of updates stays, unless the loss is below :math:`f^*`.

    Args:
        f_min: The smallest loss :math:`f^*` that can be reached, or a lower bound; 0 for models
            that can fit the data exactly.
        max_learning_rate: The largest factor :math:`\gamma`.
        eps: The number :math:`\epsilon` added to the squared norm, not negative.
        variant: ``"sps"``, or ``"sps+"`` to take a loss below :math:`f^*` for :math:`f^*`.

    Returns:
        A transformation with state ``EmptyState()``, whose ``update`` needs the loss of the step as
        ``value``; see :func:`polyak_sgd` for how to pass it. It runs on NumPy.

    Raises:
        TypeError: A hyperparameter is not a real number; or, from ``update``, ``value`` is missing.
        ValueError: A hyperparameter is NaN, ``eps`` is negative, or ``variant`` is unknown.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_polyak()
        >>> grads = np.array([3.0, 4.0])
        >>> tx.update(grads, tx.init(grads), value=5.0)[0]
        array([0.6, 0.8])

    References:
        Loizou, Vaswani, Laradji and Lacoste-Julien, `Stochastic Polyak Step-size for SGD: An
        Adaptive Learning Rate for Fast Convergence <https://arxiv.org/abs/2002.10542>`_, 2021;
        Garrigos, Gower and Schaipp, `Function Value Learning: Adaptive Learning Rates Based on the
        Polyak Stepsize and Function Splitting in ERM <https://arxiv.org/abs/2307.14528>`_, 2023,
        for ``"sps+"``.
    """
    if variant not in _VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(_VARIANTS)}, got {variant!r:.80}")
    hyper = {
        "f_min": real("f_min", f_min),
        "max_learning_rate": real("max_learning_rate", max_learning_rate),
        "eps": real("eps", eps, at_least=0),
        "variant": variant,
    }
    return by_tree(_init, _scale_by_polyak, hyper)
