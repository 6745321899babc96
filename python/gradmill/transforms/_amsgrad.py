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
        nu_max: The largest of these so far, a tree like the parameters.

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
    r"""Rescale updates as AMSGrad does: by Adam's second moment where it was largest.

    .. math::
        m' &= \beta_1 m + (1 - \beta_1) u, \qquad v' = \beta_2 v + (1 - \beta_2) u^2, \qquad
        w' = \max\left(w, \frac{v'}{1 - \beta_2^t}\right) \\
        u' &= \frac{m' / (1 - \beta_1^t)}{\sqrt{w' + \bar\epsilon} + \epsilon}

    so that steps never grow because gradients were small for a while, which costs one array more
    than :func:`scale_by_adam`. The paper has neither correction.

    Args:
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_root: Added inside the root, :math:`\bar\epsilon`.
        mu_dtype: The dtype of the first moments; None for the parameters' own, or float32 where
            that is of half precision.
        bias_correction_mu: Whether to divide the first moment by :math:`1 - \beta_1^t`.
        bias_correction_nu: Whether to divide the second by :math:`1 - \beta_2^t`.
        eps_mode: "corrected" to add the epsilons to the corrected second moment; "hat" to add them
            to the moment as it is, and correct the quotient, as scikit-learn and many programs do.

    Returns:
        A transformation with state :class:`ScaleByAmsgradState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, or a dtype none of floats.
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
