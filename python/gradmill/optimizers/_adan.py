"""Adan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.transforms import add_decayed_weights, scale_by_adan, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import Mask, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def adan(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    """Adan: Nesterov's momentum from differences of gradients, with decoupled weight decay.

    :func:`scale_by_adan`, then :func:`add_decayed_weights`, then :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the moment of updates.
        b2: Decay of the moment of differences.
        b3: Decay of the moment of squares.
        eps: Added outside the root.
        eps_root: Added inside the root.
        weight_decay: The multiple of the parameters, or a schedule of it.
        mask: Which leaves decay, as for :func:`add_decayed_weights`.
        eps_mode: "corrected" to add the epsilons to the corrected second moment; "hat" to add them
            to the moment as it is, and correct the quotient, as scikit-learn and many programs do.
        bias_correction: Whether to make up for moments that start at zero.

    Returns:
        The chain of the three. Its ``update`` needs ``params``.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: One is out of bounds, as for :func:`scale_by_adan`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.adan(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.9, -1.1])

    References:
        Xie et al., `Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models
        <https://arxiv.org/abs/2208.06677>`_, 2022.
    """
    return chain(
        scale_by_adan(
            b1, b2, b3, eps, eps_root, eps_mode=eps_mode, bias_correction=bias_correction
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
