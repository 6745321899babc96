from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._ops.common import adams_corrections, average, over, root
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._numbers import (
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


def _init(xp: Any, params: PyTree, *, estim_lr0: float, **_: Any) -> DAdaptAdamWState:
    dtype = dtype_of_numbers(params)
    return DAdaptAdamWState(
        exp_avg=tree.zeros_like(params),
        exp_avg_sq=tree.zeros_like(params),
        grad_sum=tree.zeros_like(params),
        estim_lr=xp.asarray(estim_lr0, dtype),
        numerator_weighted=xp.zeros((), dtype),
        count=zero_count(xp),
    )


def _dadapt_adamw(
    xp: Any,
    updates: PyTree,
    state: DAdaptAdamWState,
    params: PyTree,
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    learning_rate: ScalarOrSchedule,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    **_: Any,
) -> tuple[PyTree, DAdaptAdamWState]:
    d, weighted = number(xp, state.estim_lr), number(xp, state.numerator_weighted)
    step = (
        d * rate_at(learning_rate, state.count) * number(xp, adams_corrections(b1, b2, state.count))
    )
    root_b2 = b2**0.5

    def scaled(xp: Any, s: Any, v: Any, eps: Any) -> Any:
        return s / root(xp, v, 0.0, eps)

    def second(_: Any, v: Any, g: Any) -> Any:
        return average(b2, v, g * g)

    def averaged(kept: float) -> Any:
        return lambda _, old, g, step: average(kept, old, step * g)

    trees = {"state": state.grad_sum, "exp_avg_sq": state.exp_avg_sq}
    along = number(xp, tree.vdot(updates, mapped("dadapt_adamw", scaled, trees, (eps,))))
    exp_avg = mapped(
        "dadapt_adamw", averaged(b1), {"state": state.exp_avg, "updates": updates}, (step,)
    )
    exp_avg_sq = mapped("dadapt_adamw", second, {"state": state.exp_avg_sq, "updates": updates})
    grad_sum = mapped(
        "dadapt_adamw", averaged(root_b2), {"state": state.grad_sum, "updates": updates}, (step,)
    )

    weighted = average(root_b2, weighted, step * along)
    total = (1 - root_b2) * number(xp, tree.norm(grad_sum, ord=1))
    # Gradients of zero so far tell nothing of a distance.
    estim_lr = larger(xp, d, over(xp, weighted, total))

    def update(xp: Any, m: Any, v: Any, p: Any, step: Any, eps: Any) -> Any:
        return -weight_decay * step * p - m / root(xp, v, 0.0, eps)

    trees = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq, "params": params}
    return mapped("dadapt_adamw", update, trees, (step, eps)), state._replace(
        exp_avg=exp_avg,
        exp_avg_sq=exp_avg_sq,
        grad_sum=grad_sum,
        estim_lr=estim_lr,
        numerator_weighted=weighted,
        count=next_count(state.count),
    )


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

    :math:`m` is Adam's first moment of :math:`\gamma d \, g`, :math:`v` the second one of
    gradients, :math:`\beta` the root of the latter's decay, and :math:`\gamma` the learning rate
    times both bias corrections. :func:`prodigy` finds larger estimates sooner.

    Args:
        learning_rate: A number or a schedule, which multiplies the estimate.
        betas: Decays of both moments, each at least 0 and below 1.
        eps: The number :math:`\epsilon` added outside the root, not negative.
        estim_lr0: The first estimate of :math:`d`, above 0. Better far too small than too large.
        weight_decay: The multiple of the parameters, which the learning rate multiplies.

    Returns:
        A transformation with state :class:`DAdaptAdamWState`, whose ``update`` needs ``params`` and
        which turns the sign of gradients. It runs on NumPy. While all gradients are zero the
        estimate stays.

    Raises:
        TypeError: An argument is of the wrong kind.
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
        "estim_lr0": real("estim_lr0", estim_lr0, above=0),
        "weight_decay": real("weight_decay", weight_decay),
    }
    slots = ("exp_avg", "exp_avg_sq", "grad_sum")
    return by_tree(_init, _dadapt_adamw, hyper, slots, reads_params=True)
