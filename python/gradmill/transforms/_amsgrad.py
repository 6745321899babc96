from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradmill._data.checks import float_dtype, is_hat, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import amsgrad as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._run.transformation import GradientTransformation


class ScaleByAmsgradState(NamedTuple):
    """The state of :func:`scale_by_amsgrad`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Second moments, a tree like the parameters.
        nu_max: The largest corrected second moments so far, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_amsgrad().init(np.ones(1)).nu_max
        array([0.])
    """

    count: Any
    mu: Any
    nu: Any
    nu_max: Any


@recorded
def scale_by_amsgrad(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
) -> GradientTransformation:
    r"""Rescale updates as AMSGrad does, by the largest second moment so far.

    .. math::
        m' &= \beta_1 m + (1 - \beta_1) u, \qquad v' = \beta_2 v + (1 - \beta_2) u^2, \qquad
        w' = \max\left(w, \frac{v'}{1 - \beta_2^t}\right) \\
        u' &= \frac{m' / (1 - \beta_1^t)}{\sqrt{w' + \bar\epsilon} + \epsilon}

    Steps never grow just because gradients were small for a while. That costs one array more than
    :func:`scale_by_adam`. The paper has neither correction.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        eps_root: Added inside the root, :math:`\bar\epsilon`. Usually 0; a small value keeps the
            derivative of the step finite, for meta-learning.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        bias_correction_mu: Whether to divide the first moment by :math:`1 - \beta_1^t`.
        bias_correction_nu: Whether to divide the second by :math:`1 - \beta_2^t`.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.

    Returns:
        A transformation with state :class:`ScaleByAmsgradState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, or a dtype is not a float dtype.
        ValueError: A hyperparameter is out of bounds: those of ``b1`` are -1 and 1, of ``b2`` 0
            and 1; ``eps`` and ``eps_root`` are not negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_amsgrad(b1=0.0)
        >>> state = tx.init(np.zeros(1))
        >>> for size in 8.0, 2.0:
        ...     updates, state = tx.update(np.array([size]), state)
        >>> updates.round(6)
        array([0.25])

    References:
        Reddi, Kale and Kumar, `On the Convergence of Adam and Beyond
        <https://openreview.net/forum?id=ryQu7f-RZ>`_, 2018.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "bias_correction_mu": bool(bias_correction_mu),
        "bias_correction_nu": bool(bias_correction_nu),
        "hat": is_hat(eps_mode),
    }
    slots = (
        Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"),
        Slot("nu", coding="square"),
        Slot("nu_max", coding="square"),
    )
    return native(Spec(ops.scale_by_amsgrad, ScaleByAmsgradState, hyper, slots))
