from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._ops import prodigy as ops
from gradmill._plan.spec import Spec
from gradmill._run.fused import native_with_extra
from gradmill.contrib._estimating import Estimating
from gradmill.contrib._numbers import decay, decays
from gradmill.schedules._named import real_or_schedule

if TYPE_CHECKING:
    from gradmill._data.types import ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


class ProdigyState(NamedTuple):
    """The state of :func:`prodigy`.

    Attributes:
        exp_avg: First moments, a tree like the parameters.
        exp_avg_sq: Second moments, a tree like the parameters.
        grad_sum: Weighted sums of gradients, a tree like the parameters.
        params0: The initial parameters.
        estim_lr: The estimated distance, a 0-d array.
        numerator_weighted: The weighted sum that it is estimated from, a 0-d array.
        count: Steps taken, a 0-d int32 array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.prodigy().init(np.ones(2)).params0
        array([1., 1.])
    """

    exp_avg: Any
    exp_avg_sq: Any
    grad_sum: Any
    params0: Any
    estim_lr: Any
    numerator_weighted: Any
    count: Any


@recorded
def prodigy(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    beta3: float | None = None,
    eps: float = 1e-8,
    estim_lr0: float = 1e-6,
    estim_lr_coef: float = 1.0,
    weight_decay: float = 0.0,
    safeguard_warmup: bool = False,
) -> GradientTransformationExtraArgs:
    r"""Prodigy: Adam that finds its own learning rate.

    .. math::
        r' = \beta_3 r + \tfrac{d}{d_0} \gamma d \, \langle g, p_0 - p \rangle, \quad
        s' = \beta_3 s + \tfrac{d}{d_0} \gamma d \, g, \quad
        d' = \max(d, c \, r' / \|s'\|_1), \quad
        u = -\gamma d \, m' / (\sqrt{v'} + d' \epsilon)

    :math:`m` and :math:`v` are Adam's moments of :math:`d \, g`, and :math:`\gamma` is the learning
    rate times both bias corrections. The estimate :math:`d` grows with the distance that parameters
    have moved. Leave the learning rate at 1, or use a schedule that starts from 1 or warms up to
    it.

    Args:
        learning_rate: A number or a schedule that multiplies the estimate. Leave it at 1, or let it
            decay.
        betas: How much of the two running means (of gradients and of their squares) each step
            keeps, each in [0, 1).
        beta3: How much of the sums each step keeps, :math:`\beta_3`; None for the root of the
            second of ``betas``.
        eps: The number :math:`\epsilon` added outside the root, not negative.
        estim_lr0: The first estimate :math:`d_0`, above 0. It grows by itself: far too small is
            better than too large.
        estim_lr_coef: The factor :math:`c` of the estimate. Lower it (0.5) if training is unstable,
            raise it (2) if it is slow.
        weight_decay: How strongly parameters are pulled towards zero: a step subtracts this
            multiple of them, times the learning rate.
        safeguard_warmup: Whether to leave the learning rate out of :math:`s`. Set it if the
            learning rate warms up.

    Returns:
        A transformation with state :class:`ProdigyState`, whose ``update`` needs ``params`` and
        which turns the sign of gradients. While all gradients are zero the estimate stays.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.prodigy(), np.array([1.0, -2.0]))
        >>> for _ in range(200):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Mishchenko and Defazio, `Prodigy: An Expeditiously Adaptive Parameter-Free Learner
        <https://arxiv.org/abs/2306.06101>`_, 2023.
    """
    hyper = {
        "learning_rate": real_or_schedule("learning_rate", learning_rate),
        **decays(betas),
        "b3": betas[1] ** 0.5 if beta3 is None else decay("beta3", beta3),
        "eps": real("eps", eps, at_least=0),
        "estim_lr0": real("estim_lr0", estim_lr0, above=0),
        "estim_lr_coef": real("estim_lr_coef", estim_lr_coef),
        "weight_decay": real("weight_decay", weight_decay),
        "safeguard_warmup": safeguard_warmup,
    }
    first = {"estim_lr": hyper["estim_lr0"], "numerator_weighted": 0.0}
    averages = map(Slot, ("exp_avg", "exp_avg_sq", "grad_sum"))
    return native_with_extra(
        Spec(
            ops.prodigy,
            ProdigyState,
            slots=(*averages, Slot("params0", start="params")),
            control=Estimating(ops.prodigy, hyper, first),
        )
    )
