"""AMSGrad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.transforms import scale_by_amsgrad, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
) -> GradientTransformationExtraArgs:
    """AMSGrad: :func:`scale_by_amsgrad`, then :func:`scale_by_learning_rate`.

    Adam whose steps never grow because gradients were small for a while.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: The dtype of the first moments; None for the parameters' own, or float32 where
            that is of half precision.
        bias_correction_mu: Whether to correct the first moment.
        bias_correction_nu: Whether to correct the second.
        eps_mode: "corrected" to add the epsilons to the corrected second moment; "hat" to add them
            to the moment as it is, and correct the quotient, as scikit-learn and many programs do.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: One is out of bounds, as for :func:`scale_by_amsgrad`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.amsgrad(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params
        array([ 0.9, -1.1])

    References:
        Reddi, Kale and Kumar, `On the Convergence of Adam and Beyond
        <https://openreview.net/forum?id=ryQu7f-RZ>`_, 2018.
    """
    return chain(
        scale_by_amsgrad(
            b1,
            b2,
            eps,
            eps_root,
            mu_dtype,
            bias_correction_mu,
            bias_correction_nu,
            eps_mode=eps_mode,
        ),
        scale_by_learning_rate(learning_rate),
    )
