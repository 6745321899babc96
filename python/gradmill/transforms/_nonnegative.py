from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import nonnegative as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def keep_params_nonnegative() -> GradientTransformation:
    r"""Shorten updates that would make a parameter negative, so that it becomes zero instead.

    .. math:: u' = -p \text{ where } p + u < 0, \text{ else } u

    Put it last in a chain. A parameter that is already negative becomes zero.

    Returns:
        A transformation with state ``EmptyState()``. Its ``update`` needs ``params``.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.chain(gm.sgd(1.0), gm.keep_params_nonnegative()), np.ones(2))
        >>> _ = opt.step(np.array([0.5, 3.0]))
        >>> opt.params
        array([0.5, 0. ])
    """
    return native(Spec(ops.keep_params_nonnegative, EmptyState))
