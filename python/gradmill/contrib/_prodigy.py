from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._ops.common import average, over, root
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._numbers import (
    adams_corrections,
    copy_of,
    decay,
    decays,
    dtype_of_numbers,
    larger,
    number,
    rate_at,
    zero_count,
)
from gradmill.schedules._named import real_or_schedule
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


class ProdigyState(NamedTuple):
    """The state of :func:`prodigy`.

    Attributes:
        exp_avg: First moments, a tree like the parameters.
        exp_avg_sq: Second moments, a tree like the parameters.
        grad_sum: Weighted sums of gradients, a tree like the parameters.
        params0: The parameters at first.
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


def _init(xp: Any, params: PyTree, *, estim_lr0: float, **_: Any) -> ProdigyState:
    dtype = dtype_of_numbers(params)
    return ProdigyState(
        exp_avg=tree.zeros_like(params),
        exp_avg_sq=tree.zeros_like(params),
        grad_sum=tree.zeros_like(params),
        params0=copy_of(params),
        estim_lr=xp.asarray(estim_lr0, dtype),
        numerator_weighted=xp.zeros((), dtype),
        count=zero_count(xp),
    )


def _prodigy(
    xp: Any,
    updates: PyTree,
    state: ProdigyState,
    params: PyTree,
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    learning_rate: ScalarOrSchedule,
    b1: float,
    b2: float,
    b3: float,
    eps: float,
    estim_lr0: float,
    estim_lr_coef: float,
    weight_decay: float,
    safeguard_warmup: bool,
) -> tuple[PyTree, ProdigyState]:
    d, weighted = number(xp, state.estim_lr), number(xp, state.numerator_weighted)
    step = d * rate_at(learning_rate, state.count) * adams_corrections(xp, b1, b2, state.count)

    def first(_: Any, m: Any, g: Any, d: Any) -> Any:
        return average(b1, m, d * g)

    def second(_: Any, v: Any, g: Any, d: Any) -> Any:
        return average(b2, v, (d * g) * (d * g))

    def added(_: Any, s: Any, g: Any, factor: Any) -> Any:
        return b3 * s + factor * g

    factor = (d if safeguard_warmup else step) / estim_lr0 * d
    exp_avg = mapped("prodigy", first, {"state": state.exp_avg, "updates": updates}, (d,))
    exp_avg_sq = mapped("prodigy", second, {"state": state.exp_avg_sq, "updates": updates}, (d,))
    grad_sum = mapped("prodigy", added, {"state": state.grad_sum, "updates": updates}, (factor,))

    towards = number(xp, tree.vdot(updates, tree.sub(state.params0, params)))
    weighted = b3 * weighted + d / estim_lr0 * step * towards
    # Gradients of zero so far tell nothing of a distance.
    estimate = over(xp, estim_lr_coef * weighted, number(xp, tree.norm(grad_sum, ord=1)))
    estim_lr = larger(xp, d, estimate)

    def update(xp: Any, m: Any, v: Any, p: Any, step: Any, least: Any) -> Any:
        return -weight_decay * step * p - step * m / root(xp, v, 0.0, least)

    trees = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq, "params": params}
    return mapped("prodigy", update, trees, (step, estim_lr * eps)), state._replace(
        exp_avg=exp_avg,
        exp_avg_sq=exp_avg_sq,
        grad_sum=grad_sum,
        estim_lr=estim_lr,
        numerator_weighted=weighted,
        count=next_count(state.count),
    )


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
    r"""Adam that estimates its learning rate, from how far parameters have come and where to.

    .. math::
        r' = \beta_3 r + \tfrac{d}{d_0} \gamma d \, \langle g, p_0 - p \rangle, \quad
        s' = \beta_3 s + \tfrac{d}{d_0} \gamma d \, g, \quad
        d' = \max(d, c \, r' / \|s'\|_1), \quad
        u = -\gamma d \, m' / (\sqrt{v'} + d' \epsilon)

    :math:`m` and :math:`v` are Adam's moments of :math:`d \, g`, and :math:`\gamma` is the learning
    rate times both bias corrections. It needs no tuned learning rate: leave that at 1, or at a
    schedule that ends with 1 or comes from it.

    Args:
        learning_rate: A number or a schedule, which multiplies the estimate.
        betas: Decays of both moments, each at least 0 and below 1.
        beta3: Decay :math:`\beta_3` of the sums; None for the root of the second of ``betas``.
        eps: The number :math:`\epsilon` added outside the root, not negative.
        estim_lr0: The first estimate :math:`d_0`, above 0. Better far too small than too large.
        estim_lr_coef: The factor :math:`c`.
        weight_decay: The multiple of the parameters, which the learning rate multiplies.
        safeguard_warmup: Whether to leave the learning rate out of :math:`s`, as a warm-up needs.

    Returns:
        A transformation with state :class:`ProdigyState`, whose ``update`` needs ``params`` and
        which turns the sign of gradients. It runs on NumPy. While all gradients are zero the
        estimate stays.

    Raises:
        TypeError: An argument is of the wrong kind.
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
    slots = ("exp_avg", "exp_avg_sq", "grad_sum", "params0")
    return by_tree(_init, _prodigy, hyper, slots, reads_params=True)
