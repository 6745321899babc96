from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.checks import is_hat, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import radam as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.transforms._adam import ScaleByAdamState

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


@recorded
def scale_by_radam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformation:
    r"""Rescale updates as RAdam does: as Adam, once its second moment has seen enough.

    .. math::
        \rho &= \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t}, \qquad
        \rho_\infty = \frac{2}{1 - \beta_2} - 1, \qquad
        r^2 = \frac{(\rho - 4)(\rho - 2) \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2) \rho} \\
        u' &= r \, \frac{m' / (1 - \beta_1^t)}
        {\sqrt{v' / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}
        \;\text{ where } \rho \ge \rho_0, \text{ else }\; \frac{m'}{1 - \beta_1^t}

    The moments are those of :func:`scale_by_adam`, with ``nesterov`` too. It replaces a warm-up. Up
    to :math:`\rho = 4` there is no :math:`r`, so a lower threshold acts like 4.

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
        threshold: The least :math:`\rho` for which the second moment counts, :math:`\rho_0`.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
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
            and 1; ``eps`` and ``eps_root`` are not negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_radam()
        >>> tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))[0].round(6)
        array([ 3. , -0.1])

    References:
        Liu et al., `On the Variance of the Adaptive Learning Rate and Beyond
        <https://arxiv.org/abs/1908.03265>`_, 2019.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "threshold": real("threshold", threshold),
        "hat": is_hat(eps_mode),
        "bias_correction": bool(bias_correction),
    }
    op = ops.scale_by_radam_nesterov if nesterov else ops.scale_by_radam
    return native(
        Spec(
            op, ScaleByAdamState, hyper, (Slot("mu", coding="signed"), Slot("nu", coding="square"))
        )
    )
