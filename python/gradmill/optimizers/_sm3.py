"""SM3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill.transforms import scale, scale_by_sm3
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def sm3(learning_rate: float, momentum: float = 0.9) -> GradientTransformationExtraArgs:
    """SM3: Adagrad with one number per row and column instead of one per element.

    :func:`scale_by_sm3`, then ``scale(-learning_rate)``. Pick it for large embeddings whose
    optimizer state would not fit in memory.

    Args:
        learning_rate: A number; schedules are not accepted.
        momentum: How much of the running mean of updates each step keeps, between -1 and 1.

    Returns:
        The chain of the two.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.sm3(0.1, momentum=0.5), np.array([1.0, 1.0]))
        >>> _ = opt.step(np.array([2.0, -3.0]))
        >>> opt.params.round(6)
        array([0.95, 1.05])

    References:
        Anil et al., `Memory-Efficient Adaptive Optimization <https://arxiv.org/abs/1901.11150>`_,
        2019.
    """
    return chain(
        scale_by_sm3(real("momentum", momentum)), scale(-real("learning_rate", learning_rate))
    )
