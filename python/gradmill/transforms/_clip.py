from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import clip as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def clip(max_delta: float) -> GradientTransformation:
    r"""Clip each element of the updates to :math:`[-\delta, \delta]`.

    .. math:: u' = \min(\max(u, -\delta), \delta)

    This changes the direction of the update. :func:`clip_by_global_norm` keeps it.

    Args:
        max_delta: The largest absolute value an element may have, at least 0. Infinity becomes
            ``max_delta``; NaN stays NaN.

    Returns:
        A transformation with state ``EmptyState()``. Updates keep their dtype.

    Raises:
        TypeError: ``max_delta`` is not a real number.
        ValueError: ``max_delta`` is NaN or negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.clip(1.0)
        >>> tx.update(np.array([0.5, -3.0, np.inf, np.nan]), tx.init(np.zeros(4)))[0]
        array([ 0.5, -1. ,  1. ,  nan])
    """
    return native(
        Spec(ops.clip, EmptyState, {"max_delta": real("max_delta", max_delta, at_least=0)})
    )
