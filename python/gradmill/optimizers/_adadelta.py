"""Adadelta."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill.transforms import (
    add_decayed_weights,
    identity,
    scale_by_adadelta,
    scale_by_learning_rate,
)
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    """Adadelta: adapts the size of each element's steps, so that there is no learning rate to tune.

    :func:`add_decayed_weights`, then :func:`scale_by_adadelta`, then
    :func:`scale_by_learning_rate`. Steps start tiny and grow; :func:`adam` is usually faster.

    Args:
        learning_rate: A number (usually 1) or a schedule. None drops the last member of the chain,
            and the change of sign with it: such steps go uphill.
        rho: How much of both running means each step keeps, in [0, 1].
        eps: Sets the size of the first steps: they are proportional to its root. Not negative.
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule: this
            multiple of them is added to the updates.
        weight_decay_mask: Which leaves decay; see :func:`add_decayed_weights`. Biases and the
            scales of normalization layers are usually left out:
            ``lambda path, leaf: leaf.ndim > 1``.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adadelta(1.0, rho=0.75, eps=0.01), np.array([1.0]))
        >>> _ = opt.step(np.array([3.0]))
        >>> opt.params.round(4)
        array([0.8004])

    References:
        Zeiler, `ADADELTA: An Adaptive Learning Rate Method <https://arxiv.org/abs/1212.5701>`_,
        2012.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        identity() if learning_rate is None else scale_by_learning_rate(learning_rate),
    )
