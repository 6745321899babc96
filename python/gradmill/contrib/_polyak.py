"""The step size at which a linear model of the loss reaches its lower bound."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradmill._ops.common import over
from gradmill.contrib._numbers import larger, number


class Model(NamedTuple):
    """A linear model of the loss, the average of those of some steps.

    Attributes:
        loss: What it says of the parameters.
        loss_at_zero: What it says of parameters of zero.
        size: The square of the norm of its slope.
        filled: The sum of the weights in it.
    """

    loss: Any
    loss_at_zero: Any
    size: Any
    filled: Any


def polyak_step(
    xp: Any,
    model: Model,
    bound: Any,
    rate: Any,
    *,
    weight_decay: float,
    lower_bound: float,
    adapts: bool,
) -> tuple[Any, Any]:
    """The rate of a step, and the lower bound of the loss from then on.

    Args:
        xp: The functions of the library that numbers are of.
        model: The model.
        bound: The lower bound of the loss so far.
        rate: The largest rate.
        weight_decay: How strongly parameters are pulled towards zero: this multiple of them is
            added to the update before the learning rate.
        lower_bound: What the bound never falls below.
        adapts: Whether it moves.
    """
    decays = 1 + rate * weight_decay
    top = model.loss + rate * weight_decay * model.loss_at_zero
    if adapts:
        guess = larger(xp, top / (2 * model.filled * decays), lower_bound)
        bound = number(xp, xp.where(top < decays * model.filled * bound, guess, bound))
    above = larger(xp, top - decays * model.filled * bound, 0.0)
    # Without a slope to speak of there is no step.
    is_flat = model.size <= np.finfo(np.float64).eps
    polyak = xp.where(is_flat, 0.0, over(xp, above, model.size))
    found = number(xp, xp.minimum(rate / model.filled, polyak))
    if adapts:
        after = (model.loss - 0.5 * found * model.size) / model.filled
        bound = larger(xp, after, lower_bound)
    return found, bound
