from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import lion as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._run.transformation import GradientTransformation


class ScaleByLionState(NamedTuple):
    """The state of :func:`scale_by_lion`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: Moments, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_lion().init(np.ones(1))
        ScaleByLionState(count=array(0, dtype=int32), mu=array([0.]))
    """

    count: Any
    mu: Any


@recorded
def scale_by_lion(
    b1: float = 0.9,
    b2: float = 0.99,
    mu_dtype: DTypeLike | None = None,
    *,
    mode: Literal["hard", "smooth", "refined"] = "hard",
    smooth_beta: float = 1.0,
) -> GradientTransformation:
    r"""Replace updates by the sign of momentum, as in Lion.

    .. math::
        c = \beta_1 m + (1 - \beta_1) u, \qquad u' = \operatorname{sign}(c), \qquad
        m' = \beta_2 m + (1 - \beta_2) u

    There is one moment where Adam has two. All elements move by the same amount, so learning rates
    are smaller than Adam's, and weight decay is larger. In mode ``"smooth"`` the update is
    :math:`\tanh(\beta c)`, and in mode ``"refined"`` it is :math:`c` clipped to between -1 and 1,
    so that steps fade where gradients do.

    Args:
        b1: How much the running mean counts, against the current gradient, in the direction of a
            step. Lower reacts faster.
        b2: How much of the running mean each step keeps. It spans about ``1 / (1 - b2)`` steps and
            may be longer than the direction's memory: 0.99 is usual, 0.98 for noisy gradients.
        mu_dtype: The dtype in which the moments are stored. bfloat16 saves two bytes a parameter,
            at little cost. None for the parameters' own dtype (float32 where that is 16 bits wide).
        mode: What the direction becomes.
        smooth_beta: The multiple :math:`\beta` of mode ``"smooth"``.

    Returns:
        A transformation with state :class:`ScaleByLionState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, or a dtype is not a float dtype.
        ValueError: ``b1`` or ``b2`` is not between -1 and 1, or ``mode`` is unknown.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_lion()
        >>> tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))[0]
        array([ 1., -1.])

    References:
        Chen et al., `Symbolic Discovery of Optimization Algorithms
        <https://arxiv.org/abs/2302.06675>`_, 2023.
    """
    hyper = {
        "b1": real("b1", b1, at_least=-1, at_most=1),
        "b2": real("b2", b2, at_least=-1, at_most=1),
    }
    smooth_beta = real("smooth_beta", smooth_beta)
    match mode:
        case "hard":
            op = ops.scale_by_lion
        case "refined":
            op = ops.scale_by_lion_refined
        case "smooth":
            op = ops.scale_by_lion_smooth
            hyper["smooth_beta"] = smooth_beta
        case _:
            raise ValueError(f"mode must be 'hard', 'smooth' or 'refined', got {mode!r:.80}")
    return native(
        Spec(
            op,
            ScaleByLionState,
            hyper,
            (Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"),),
        )
    )
