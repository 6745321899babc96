from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import adamax as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.transforms._adam import ScaleByAdamState

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def scale_by_adamax(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> GradientTransformation:
    r"""Divide the running mean of updates by a running maximum of their sizes, as in Adamax.

    .. math::
        m' = \beta_1 m + (1 - \beta_1) u, \qquad
        v' = \max\left(\beta_2 v, |u| + \epsilon\right), \qquad
        u' = \frac{m' / (1 - \beta_1^t)}{v'}

    The maximum bounds steps even where updates are mostly zero, as in embeddings, and needs no
    correction. Where :math:`v' = 0`, the update is zero too.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn.
        b2: How much of the running maximum of gradient sizes each step keeps. A spike is forgotten
            over about ``1 / (1 - b2)`` steps.
        eps: Added to the size of the gradient before the maximum is taken, which keeps the
            denominator away from zero.

    Returns:
        A transformation with state :class:`ScaleByAdamState`, whose ``nu`` is the maximum. It does
        not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds: those of ``b1`` are -1 and 1, of ``b2`` 0
            and 1; ``eps`` is not negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_adamax(b1=0.0, b2=0.5)
        >>> state = tx.init(np.zeros(1))
        >>> for size in 8.0, 2.0:
        ...     updates, state = tx.update(np.array([size]), state)
        >>> updates.round(6)
        array([0.5])

    References:
        Kingma and Ba, `Adam: A Method for Stochastic Optimization
        <https://arxiv.org/abs/1412.6980>`_, 2014.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
    }
    return native(
        Spec(
            ops.scale_by_adamax,
            ScaleByAdamState,
            hyper,
            (Slot("mu", coding="signed"), Slot("nu", coding="square")),
        )
    )
