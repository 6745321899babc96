from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradmill._data.checks import float_dtype, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import adopt as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native
from gradmill.schedules._base import BuiltinSchedule
from gradmill.schedules._named import named
from gradmill.transforms import ScaleByAdamState, scale_by_learning_rate
from gradmill.transforms._chain import chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


class _FourthRoot(BuiltinSchedule):
    """The bound that the paper takes."""

    def at(self, xp: Any, count: Any) -> Any:
        return xp.sqrt(xp.sqrt(count))


@recorded
def scale_by_adopt(
    b1: float = 0.9,
    b2: float = 0.9999,
    eps: float = 1e-6,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Any], Any] | None = None,
) -> GradientTransformation:
    r"""Rescale updates as Adam does, by a second moment that has not seen them yet.

    .. math::
        d = \operatorname{clip}\!\left(\frac{u}{\max(\sqrt v, \epsilon)}, \pm c_t\right), \qquad
        u' = m' = \beta_1 m + (1 - \beta_1) d, \qquad v' = \beta_2 v + (1 - \beta_2) u^2

    Here :math:`t` counts from 0. The first step only sets :math:`v' = u^2`, and its update is zero.
    The method converges for any ``b2``, where Adam needs one that fits the problem. With
    ``nesterov`` the update is :math:`\beta_1 m' + (1 - \beta_1) d`.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1].
        eps: The smallest denominator: no element is divided by less. Not negative.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        use_clipping: Whether to clip the normalized gradient :math:`d`.
        clip_value_fn: How far the normalized gradient may reach, :math:`c_t`, a function of the
            count of steps taken; None for its fourth root.

    Returns:
        A transformation with state :class:`gradmill.ScaleByAdamState`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number, ``mu_dtype`` is not a dtype of floats, or
            ``clip_value_fn`` no function.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_adopt()
        >>> state = tx.init(np.zeros(2))
        >>> for _ in range(2):
        ...     updates, state = tx.update(np.array([3.0, -0.1]), state)
        >>> updates.round(6)
        array([ 0.1, -0.1])

    References:
        Taniguchi et al., `ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal Rate
        <https://arxiv.org/abs/2411.02853>`_, 2024.
    """
    bound = _FourthRoot() if clip_value_fn is None else clip_value_fn
    if not callable(bound):
        raise TypeError(f"clip_value_fn must be a function, got {bound!r:.80}")
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, at_most=1),
        "eps": real("eps", eps, at_least=0),
        "clip_value": named("clip_value_fn", bound) if use_clipping else math.inf,
    }
    op = ops.scale_by_adopt_nesterov if nesterov else ops.scale_by_adopt
    slots = (
        Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"),
        Slot("nu", coding="square"),
    )
    return native(Spec(op, ScaleByAdamState, hyper, slots))


@recorded
def adopt(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.9999,
    eps: float = 1e-6,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Any], Any] | None = None,
) -> GradientTransformationExtraArgs:
    """ADOPT: Adam that converges for any ``b2``.

    :func:`scale_by_adopt`, then :func:`gradmill.scale_by_learning_rate`.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1].
        eps: The smallest denominator: no element is divided by less. Not negative.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        nesterov: Whether to use Nesterov momentum, which applies the current gradient once more on
            top of the mean.
        use_clipping: Whether to clip the normalized gradient.
        clip_value_fn: How far the normalized gradient may reach, a function of the count of steps
            taken; None for its fourth root.

    Returns:
        The chain of the two. The first step is zero.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.adopt(0.1), np.array([1.0, -1.0]))
        >>> for _ in range(2):
        ...     _ = opt.step(np.array([2.0, 0.5]))
        >>> opt.params.round(6)
        array([ 0.99, -1.01])

    References:
        Taniguchi et al., `ADOPT: Modified Adam Can Converge with Any β₂ with the Optimal Rate
        <https://arxiv.org/abs/2411.02853>`_, 2024.
    """
    tx = scale_by_adopt(
        b1,
        b2,
        eps,
        mu_dtype,
        nesterov=nesterov,
        use_clipping=use_clipping,
        clip_value_fn=clip_value_fn,
    )
    return chain(tx, scale_by_learning_rate(learning_rate))
