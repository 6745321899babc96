"""Fromage."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradmill._data.numbers import is_traced, namespace_of
from gradmill._data.recorded import recorded
from gradmill.schedules._named import real_or_schedule
from gradmill.transforms import (
    add_decayed_weights,
    scale_by_learning_rate,
    scale_by_trust_ratio,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


def _shrinkage(rate: Any) -> Any:
    """What keeps weights from growing by steps at a right angle to them."""
    return 1 / namespace_of(rate).sqrt(1 + rate * rate)


def _rate(rate: Any) -> Any:
    return rate * _shrinkage(rate)


def _decay(rate: Any) -> Any:
    return _shrinkage(rate) - 1


def _at(function: Any, schedule: Any, count: Any) -> Any:
    rate = schedule(count)
    return function(rate if is_traced(rate) else float(rate))


@recorded
def fromage(
    learning_rate: ScalarOrSchedule, min_norm: float = 1e-6
) -> GradientTransformationExtraArgs:
    r"""Fromage: each leaf's step is the learning rate times the norm of its weights.

    .. math::
        p' = c \left(p - \gamma \, g \, \frac{\lVert p \rVert}{\lVert g \rVert}\right), \qquad
        c = \frac{1}{\sqrt{1 + \gamma^2}}

    where norms are at least ``min_norm``. One rate suits many networks (0.01 is a good start); the
    factor :math:`c` keeps weights from growing.

    Args:
        learning_rate: A number or a schedule :math:`\gamma`.
        min_norm: Smaller norms of weights and updates count as this.

    Returns:
        The chain of :func:`scale_by_trust_ratio`, :func:`scale_by_learning_rate` and
        :func:`add_decayed_weights`. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``min_norm`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.fromage(0.75), np.array([3.0, 4.0]))
        >>> _ = opt.step(np.array([0.8, -0.6]))
        >>> opt.params.round(6)
        array([0., 5.])

    References:
        Bernstein, Vahdat, Yue and Liu, `On the distance between two neural networks and the
        stability of learning <https://arxiv.org/abs/2002.03432>`_, 2020.
    """
    rate: ScalarOrSchedule
    decay: ScalarOrSchedule
    learning_rate = real_or_schedule("learning_rate", learning_rate)
    if callable(learning_rate):
        rate, decay = (partial(_at, part, learning_rate) for part in (_rate, _decay))
    else:
        rate, decay = _rate(learning_rate), _decay(learning_rate)
    return chain(
        scale_by_trust_ratio(min_norm), scale_by_learning_rate(rate), add_decayed_weights(decay)
    )
