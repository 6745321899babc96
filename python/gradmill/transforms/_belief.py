from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradmill._data.checks import is_hat, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import belief as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


class ScaleByBeliefState(NamedTuple):
    """The state of :func:`scale_by_belief`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Moments of squared deviations from them, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_belief().init(np.ones(1))
        ScaleByBeliefState(count=array(0, dtype=int32), mu=array([0.]), nu=array([0.]))
    """

    count: Any
    mu: Any
    nu: Any


@recorded
def scale_by_belief(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-16,
    eps_root: float = 1e-16,
    *,
    nesterov: bool = False,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformation:
    r"""Divide the running mean of updates by their deviation from it, as in AdaBelief.

    .. math::
        m' &= \beta_1 m + (1 - \beta_1) u, \qquad
        s' = \beta_2 s + (1 - \beta_2) (u - m')^2 + \bar\epsilon \\
        u' &= \frac{m' / (1 - \beta_1^t)}{\sqrt{s' / (1 - \beta_2^t)} + \epsilon}

    Steps are large where gradients are as predicted, whatever their size. With ``nesterov`` the
    numerator is :math:`\beta_1 m' / (1 - \beta_1^{t+1}) + (1 - \beta_1) u / (1 - \beta_1^t)`.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn.
        b2: How much of the running mean of squared deviations each step keeps, over about
            ``1 / (1 - b2)`` steps.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Raise it (1e-6 to 1e-3) for noisy or sparse gradients.
        eps_root: Added to the moment of squares in each step, :math:`\bar\epsilon`.
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        eps_mode: Where the epsilons go. "corrected" adds them to the bias-corrected second moment,
            as in the algorithm of the paper. "hat" adds them to the uncorrected moment and corrects
            the quotient, as scikit-learn and many other programs do; choose it to reproduce their
            numbers.
        bias_correction: Whether to divide the moments by :math:`1 - \beta^t`, to make up for their
            start at zero. Without it the first steps are too small or too large.

    Returns:
        A transformation with state :class:`ScaleByBeliefState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds: those of ``b1`` are -1 and 1, of ``b2`` 0
            and 1; ``eps`` and ``eps_root`` are not negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_belief(b1=0.5)
        >>> tx.update(np.array([3.0, -0.1]), tx.init(np.zeros(2)))[0].round(6)
        array([ 2., -2.])

    References:
        Zhuang et al., `AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients
        <https://arxiv.org/abs/2010.07468>`_, 2020.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, below=1),
        "eps": real("eps", eps, at_least=0),
        "eps_root": real("eps_root", eps_root, at_least=0),
        "hat": is_hat(eps_mode),
        "bias_correction": bool(bias_correction),
    }
    op = ops.scale_by_belief_nesterov if nesterov else ops.scale_by_belief
    return native(
        Spec(
            op,
            ScaleByBeliefState,
            hyper,
            (Slot("mu", coding="signed"), Slot("nu", coding="square")),
        )
    )
