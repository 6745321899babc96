from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.checks import is_hat, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import yogi as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.transforms._adam import ScaleByAdamState

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def scale_by_yogi(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-3,
    eps_root: float = 0.0,
    initial_accumulator_value: float = 1e-6,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformation:
    r"""Rescale updates as Yogi does: Adam with a second moment that changes by bounded amounts.

    .. math::
        m' &= \beta_1 m + (1 - \beta_1) u, \qquad
        v' = v - (1 - \beta_2) \operatorname{sign}(v - u^2) u^2 \\
        u' &= \frac{m' / (1 - \beta_1^t)}{\sqrt{v' / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}

    After large gradients :math:`v` falls more slowly than Adam's, so steps do not jump back at
    once.

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
        initial_accumulator_value: The value of both moments before the first step.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        A transformation with state :class:`ScaleByAdamState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds: those of ``b1`` are -1 and 1, of ``b2`` 0
            and 1; ``eps``, ``eps_root`` and ``initial_accumulator_value`` are not negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_yogi(eps=0.0, initial_accumulator_value=0.0)
        >>> tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))[0].round(6)
        array([ 1., -1.])

    References:
        Zaheer, Reddi, Sachan, Kale and Kumar, `Adaptive Methods for Nonconvex Optimization
        <https://proceedings.neurips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html>`_,
        2018.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "hat": is_hat(eps_mode),
        "bias_correction": bool(bias_correction),
    }
    start = real("initial_accumulator_value", initial_accumulator_value, at_least=0)
    slots = (Slot("mu", start=start, coding="signed"), Slot("nu", start=start, coding="square"))
    return native(Spec(ops.scale_by_yogi, ScaleByAdamState, hyper, slots))
