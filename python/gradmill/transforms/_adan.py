from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradmill._data.checks import is_hat, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import adan as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


class ScaleByAdanState(NamedTuple):
    """The state of :func:`scale_by_adan`.

    Attributes:
        m: Moments of updates, a tree like the parameters.
        v: Moments of differences between updates, a tree like the parameters.
        n: Moments of squares, a tree like the parameters.
        g: The last updates that came in, a tree like the parameters.
        t: Steps taken, a 0-d int32 array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_adan().init(np.ones(1)).g
        array([0.])
    """

    m: Any
    v: Any
    n: Any
    g: Any
    t: Any


@recorded
def scale_by_adan(
    b1: float = 0.98,
    b2: float = 0.92,
    b3: float = 0.99,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformation:
    r"""Rescale updates as Adan does, with Nesterov momentum from differences of gradients.

    .. math::
        d &= u - g, \qquad m' = \beta_1 m + (1 - \beta_1) u, \qquad
        v' = \beta_2 v + (1 - \beta_2) d \\
        n' &= \beta_3 n + (1 - \beta_3) (u + (1 - \beta_2) d)^2, \qquad g' = u \\
        u' &= \frac{m' / (1 - \beta_1^t) + (1 - \beta_2) v' / (1 - \beta_2^t)}
        {\sqrt{n' / (1 - \beta_3^t) + \bar\epsilon} + \epsilon}

    In the first step :math:`d` is zero. The decays are one minus those of the paper. Four arrays of
    state per parameter buy larger learning rates than Adam's.

    Args:
        b1: How much of the running mean of gradients each step keeps. Adan's values are high: 0.98
            spans 50 steps.
        b2: How much of the running mean of gradient differences each step keeps, over about
            ``1 / (1 - b2)`` steps.
        b3: How much of the running mean of squares each step keeps, over about ``1 / (1 - b3)``
            steps.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        eps_root: Added inside the root, :math:`\bar\epsilon`. Usually 0; a small value keeps the
            derivative of the step finite, for meta-learning.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        A transformation with state :class:`ScaleByAdanState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds: those of ``b1`` and ``b2`` are -1 and 1, of
            ``b3`` 0 and 1; ``eps`` and ``eps_root`` are not negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_adan()
        >>> tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))[0].round(6)
        array([ 1., -1.])

    References:
        Xie et al., `Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models
        <https://arxiv.org/abs/2208.06677>`_, 2022.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, above=-1, below=1),
        "b3": real("b3", b3, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "hat": is_hat(eps_mode),
        "bias_correction": bool(bias_correction),
    }
    signed = (Slot(name, coding="signed") for name in "mv")
    slots = (*signed, Slot("n", coding="square"), Slot("g", coding="signed"))
    return native(Spec(ops.scale_by_adan, ScaleByAdanState, hyper, slots, counters=("t",)))
