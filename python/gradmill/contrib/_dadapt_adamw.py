from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import dadapt_adamw as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native_with_extra
from gradmill.contrib._estimating import Estimating
from gradmill.contrib._numbers import decays
from gradmill.schedules._named import real_or_schedule

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


class DAdaptAdamWState(NamedTuple):
    """The state of :func:`dadapt_adamw`.

    Attributes:
        exp_avg: First moments of steps, a tree like the parameters.
        exp_avg_sq: Second moments of gradients, a tree like the parameters.
        grad_sum: Averages of steps without corrections, a tree like the parameters.
        estim_lr: The estimated learning rate, a 0-d array.
        numerator_weighted: The average that it is estimated from, a 0-d array.
        count: Steps taken, a 0-d int32 array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.dadapt_adamw().init(np.ones(2)).estim_lr
        array(1.e-06)
    """

    exp_avg: Any
    exp_avg_sq: Any
    grad_sum: Any
    estim_lr: Any
    numerator_weighted: Any
    count: Any


@recorded
def dadapt_adamw(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    estim_lr0: float = 1e-6,
    weight_decay: float = 0.0,
) -> GradientTransformationExtraArgs:
    r"""AdamW that estimates its learning rate by D-adaptation.

    .. math::
        r' = \beta r + (1 - \beta) \gamma d \, \langle g, s / (\sqrt{v} + \epsilon) \rangle, \quad
        s' = \beta s + (1 - \beta) \gamma d \, g, \quad
        d' = \max\left(d, \frac{r'}{(1 - \beta) \|s'\|_1}\right), \quad
        u = -\frac{m'}{\sqrt{v'} + \epsilon}

    :math:`m` is Adam's first moment of :math:`\gamma d \, g`, :math:`v` the second moment of
    gradients, :math:`\beta` the root of the latter's decay, and :math:`\gamma` the learning rate
    times both bias corrections. :func:`prodigy` finds larger estimates sooner; try it first.

    Args:
        learning_rate: A number or a schedule that multiplies the estimate. Leave it at 1, or let it
            decay.
        betas: How much of the two running means (of gradients and of their squares) each step
            keeps, each in [0, 1).
        eps: The number :math:`\epsilon` added outside the root, not negative.
        estim_lr0: The first estimate of :math:`d`, above 0. It grows by itself: far too small is
            better than too large.
        weight_decay: How strongly parameters are pulled towards zero: a step subtracts this
            multiple of them, times the learning rate.

    Returns:
        A transformation with state :class:`DAdaptAdamWState`, whose ``update`` needs ``params`` and
        which turns the sign of gradients. While all gradients are zero the estimate stays.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.dadapt_adamw(), np.array([1.0, -2.0]))
        >>> for _ in range(2000):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Defazio and Mishchenko, `Learning-Rate-Free Learning by D-Adaptation
        <https://arxiv.org/abs/2301.07733>`_, 2023.
    """
    hyper = {
        "learning_rate": real_or_schedule("learning_rate", learning_rate),
        **decays(betas),
        "eps": real("eps", eps, at_least=0),
        "weight_decay": real("weight_decay", weight_decay),
    }
    first = {"estim_lr": real("estim_lr0", estim_lr0, above=0), "numerator_weighted": 0.0}
    return native_with_extra(
        Spec(
            ops.dadapt_adamw,
            DAdaptAdamWState,
            slots=tuple(map(Slot, ops.dadapt_adamw.slots)),
            control=Estimating(ops.dadapt_adamw, hyper, first),
        )
    )
