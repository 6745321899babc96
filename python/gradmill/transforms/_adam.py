from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradmill._data.checks import float_dtype, is_hat, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import adam as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._run.transformation import GradientTransformation


class ScaleByAdamState(NamedTuple):
    """The state of :func:`scale_by_adam`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Second moments, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_adam().init(np.ones(1))
        ScaleByAdamState(count=array(0, dtype=int32), mu=array([0.]), nu=array([0.]))
    """

    count: Any
    mu: Any
    nu: Any


@recorded
def scale_by_adam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    nu_dtype: DTypeLike | None = None,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformation:
    r"""Divide the running mean of updates by the root of their running mean square, as in Adam.

    .. math::
        m' &= \beta_1 m + (1 - \beta_1) u, \qquad v' = \beta_2 v + (1 - \beta_2) u^2 \\
        u' &= \frac{m' / (1 - \beta_1^t)}{\sqrt{v' / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}

    Here :math:`t` counts from 1. With ``nesterov`` the numerator is :math:`\beta_1 m' / (1 -
    \beta_1^{t+1}) + (1 - \beta_1) u / (1 - \beta_1^t)`. The corrections are computed in float64,
    and subnormal moments are flushed to zero. :func:`adam` adds the learning rate; use this one to
    build a chain of your own.

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
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        nu_dtype: The dtype in which the second moments are stored; None as for ``mu_dtype``. Keep
            it wide: in 16 bits the moments hardly decay, because the steps of ``b2`` are smaller
            than the rounding.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        A transformation with state :class:`ScaleByAdamState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, or a dtype is not a float dtype.
        ValueError: A hyperparameter is out of bounds: those of ``b1`` are -1 and 1, of ``b2`` 0
            and 1; ``eps`` and ``eps_root`` are not negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_adam()
        >>> updates, state = tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))
        >>> updates.round(6)
        array([ 1., -1.])
        >>> state.count
        array(1, dtype=int32)

    References:
        Kingma and Ba, `Adam: A Method for Stochastic Optimization
        <https://arxiv.org/abs/1412.6980>`_, 2014; Dozat, `Incorporating Nesterov Momentum into Adam
        <https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ>`_, 2016.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "hat": is_hat(eps_mode),
        "bias_correction": bool(bias_correction),
    }
    op = ops.scale_by_adam_nesterov if nesterov else ops.scale_by_adam
    slots = (
        Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"),
        Slot("nu", float_dtype("nu_dtype", nu_dtype), coding="square"),
    )
    return native(Spec(op, ScaleByAdamState, hyper, slots))
