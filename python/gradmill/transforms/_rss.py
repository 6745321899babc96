from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import rss as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native

if TYPE_CHECKING:
    from gradmill._run.transformation import GradientTransformation


class ScaleByRssState(NamedTuple):
    """The state of :func:`scale_by_rss`.

    Attributes:
        sum_of_squares: Sums of squared updates, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_rss().init(np.ones(2))
        ScaleByRssState(sum_of_squares=array([0.1, 0.1]))
    """

    sum_of_squares: Any


@recorded
def scale_by_rss(
    initial_accumulator_value: float = 0.1, eps: float = 1e-7, *, eps_in_sqrt: bool = True
) -> GradientTransformation:
    r"""Divide updates by the root of the sum of all their squares so far.

    .. math::
        s' = s + u^2, \qquad u' = \frac{u}{\sqrt{s' + \epsilon}}

    Elements that rarely receive a gradient keep large steps, and all steps shrink over time. Where
    :math:`s' = 0`, the update is zero too.

    Args:
        initial_accumulator_value: The value of :math:`s` before the first step.
        eps: Added inside the root, so that parameters with tiny gradients do not take huge steps.
        eps_in_sqrt: Whether ``eps`` is added inside the root; otherwise it is added to the root, as
            torch does.

    Returns:
        A transformation with state :class:`ScaleByRssState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_rss(initial_accumulator_value=16.0)
        >>> tx.update(np.array([3.0, 0.0]), tx.init(np.zeros(2)))[0].round(6)
        array([0.6, 0. ])

    References:
        Duchi, Hazan and Singer, `Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization <https://jmlr.org/papers/v12/duchi11a.html>`_, 2011.
    """
    start = real("initial_accumulator_value", initial_accumulator_value, at_least=0)
    eps = real("eps", eps, at_least=0)
    hyper = {"eps": 0.0 if eps_in_sqrt else eps, "eps_root": eps if eps_in_sqrt else 0.0}
    slots = (Slot("sum_of_squares", start=start, coding="square"),)
    return native(Spec(ops.scale_by_rss, ScaleByRssState, hyper, slots))
