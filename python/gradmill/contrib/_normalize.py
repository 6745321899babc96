from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill.transforms import normalize_by_update_norm

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation

NormalizeState = EmptyState
"""The state of :func:`normalize`."""


@recorded
def normalize() -> GradientTransformation:
    r"""Divide updates by the norm over all leaves.

    .. math:: u' = u / \lVert u \rVert

    This is :func:`gradmill.normalize_by_update_norm` without an epsilon. It is meant for the ascent
    of :func:`sam`, whose length is a hyperparameter.

    Returns:
        A transformation with state ``EmptyState()``. It costs one more read of the updates. Those
        that are all zero stay zero.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.normalize()
        >>> tx.update([np.array([3.0]), np.array([4.0])], tx.init(None))[0]
        [array([0.6]), array([0.8])]
    """
    return normalize_by_update_norm(eps=0.0)
