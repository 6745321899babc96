from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import scale as ops
from gradmill._plan.spec import Preceded, Spec
from gradmill._run.fused import native, native_with_extra

if TYPE_CHECKING:
    from gradmill._data.types import TransformationLike
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )

_NEGATION = Spec(ops.scale, EmptyState, {"step_size": -1.0})


@recorded
def maximize() -> GradientTransformation:
    r"""Negate gradients, so that the steps after it go uphill.

    .. math:: u' = -u

    Put it first in a chain; weight decay and momentum then act as they do in minimization. It costs
    no pass and no copy. :class:`Optimizer` has an argument ``maximize``, which leaves the structure
    of the state unchanged.

    Returns:
        A transformation with state ``EmptyState()``.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.chain(gm.maximize(), gm.adamw(0.1)), np.array([1.0]))
        >>> _ = opt.step(np.array([2.0]))
        >>> opt.params.round(3)
        array([1.1])
    """
    return native(_NEGATION)


def maximized(tx: TransformationLike) -> GradientTransformationExtraArgs:
    """``tx`` behind :func:`maximize`, with the state of ``tx`` alone."""
    return native_with_extra(Preceded(_NEGATION, tx))
