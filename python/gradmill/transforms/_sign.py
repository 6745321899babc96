from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.recorded import recorded
from gradmill._data.types import EmptyState
from gradmill._ops import sign as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def scale_by_sign() -> GradientTransformation:
    r"""Replace each element of the updates by its sign, -1, 0 or 1.

    .. math::
        u' = \operatorname{sign}(u)

    All elements move by the same amount, so a huge gradient does no harm.

    Returns:
        A transformation with state ``EmptyState()``.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_sign()
        >>> tx.update(np.array([3.0, 0.0, -0.1]), tx.init(np.zeros(3)))[0]
        array([ 1.,  0., -1.])

    References:
        Bernstein, Wang, Azizzadenesheli and Anandkumar, `signSGD: Compressed Optimisation for
        Non-Convex Problems <https://arxiv.org/abs/1802.04434>`_, 2018.
    """
    return native(Spec(ops.scale_by_sign, EmptyState))
