"""Yogi."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gradmill._data.recorded import recorded
from gradmill.transforms import scale_by_learning_rate, scale_by_yogi
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


@recorded
def yogi(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-3,
    *,
    eps_mode: Literal["corrected", "hat"] = "corrected",
    bias_correction: bool = True,
) -> GradientTransformationExtraArgs:
    """Yogi: :func:`scale_by_yogi`, then :func:`scale_by_learning_rate`.

    Adam whose second moment moves by bounded steps.

    Args:
        learning_rate: A number or a schedule.
        b1: Decay of the first moment.
        b2: Decay of the second moment.
        eps: Added outside the root.
        eps_mode: "corrected" to add the epsilons to the corrected second moment; "hat" to add them
            to the moment as it is, and correct the quotient, as scikit-learn and many programs do.
        bias_correction: Whether to make up for moments that start at zero.

    Returns:
        The chain of the two.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: One is out of bounds, as for :func:`scale_by_yogi`.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.yogi(0.1), np.array([1.0, -1.0]))
        >>> _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(3)
        array([ 0.9, -1.1])

    References:
        Zaheer, Reddi, Sachan, Kale and Kumar, `Adaptive Methods for Nonconvex Optimization
        <https://proceedings.neurips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html>`_,
        2018.
    """
    return chain(
        scale_by_yogi(b1, b2, eps, eps_mode=eps_mode, bias_correction=bias_correction),
        scale_by_learning_rate(learning_rate),
    )
