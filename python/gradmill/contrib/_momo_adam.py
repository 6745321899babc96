from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._ops.common import average, correction, root
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._loss import loss_of
from gradmill.contrib._numbers import decay, dtype_of_numbers, number, rate_at, zero_count
from gradmill.contrib._polyak import Model, polyak_step
from gradmill.schedules._named import real_or_schedule
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs


class MomoAdamState(NamedTuple):
    """The state of :func:`momo_adam`.

    Attributes:
        exp_avg: First moments, a tree like the parameters.
        exp_avg_sq: Second moments, a tree like the parameters.
        barf: The average of losses, a 0-d array.
        gamma: The average of products of gradients and parameters, a 0-d array.
        lb: The lower bound of the loss, a 0-d array.
        count: Steps taken, a 0-d int32 array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.momo_adam(lower_bound=0.5).init(np.ones(2)).lb
        array(0.5)
    """

    exp_avg: Any
    exp_avg_sq: Any
    barf: Any
    gamma: Any
    lb: Any
    count: Any


def _init(xp: Any, params: PyTree, *, lower_bound: float, **_: Any) -> MomoAdamState:
    dtype = dtype_of_numbers(params)
    return MomoAdamState(
        exp_avg=tree.zeros_like(params),
        exp_avg_sq=tree.zeros_like(params),
        barf=xp.zeros((), dtype),
        gamma=xp.zeros((), dtype),
        lb=xp.asarray(lower_bound, dtype),
        count=zero_count(xp),
    )


def _momo_adam(
    xp: Any,
    updates: PyTree,
    state: MomoAdamState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    learning_rate: ScalarOrSchedule,
    b1: float,
    b2: float,
    eps: float,
    lower_bound: float,
    weight_decay: float,
    adapt_lower_bound: bool,
) -> tuple[PyTree, MomoAdamState]:
    loss, rate = loss_of(extra, "momo_adam"), rate_at(learning_rate, state.count)
    steps = integer(state.count) + 1.0

    def first(_: Any, m: Any, g: Any) -> Any:
        return average(b1, m, g)

    def second(_: Any, v: Any, g: Any) -> Any:
        return average(b2, v, g * g)

    def divided(xp: Any, m: Any, v: Any, filled: Any) -> Any:
        return m / root(xp, v / filled, 0.0, eps)

    exp_avg = mapped("momo_adam", first, {"state": state.exp_avg, "updates": updates})
    exp_avg_sq = mapped("momo_adam", second, {"state": state.exp_avg_sq, "updates": updates})
    moments = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    slope = mapped("momo_adam", divided, moments, (correction(b2, steps),))

    barf = average(b1, number(xp, state.barf), loss)
    gamma = average(b1, number(xp, state.gamma), number(xp, tree.vdot(updates, params)))
    model = Model(
        loss=barf - gamma + number(xp, tree.vdot(exp_avg, params)),
        loss_at_zero=barf - gamma,
        size=number(xp, tree.vdot(exp_avg, slope)),
        filled=correction(b1, steps),
    )
    rate_found, lb = polyak_step(
        xp,
        model,
        number(xp, state.lb),
        rate,
        weight_decay=weight_decay,
        lower_bound=lower_bound,
        adapts=adapt_lower_bound,
    )

    def update(_: Any, step: Any, p: Any, rate_found: Any, shrinks: Any) -> Any:
        return -shrinks * p - rate_found * step

    numbers = (rate_found, rate * weight_decay / (1 + rate * weight_decay))
    trees = {"slope": slope, "params": params}
    return mapped("momo_adam", update, trees, numbers), state._replace(
        exp_avg=exp_avg,
        exp_avg_sq=exp_avg_sq,
        barf=barf,
        gamma=gamma,
        lb=lb,
        count=next_count(state.count),
    )


@recorded
def momo_adam(
    learning_rate: ScalarOrSchedule = 1e-2,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    lower_bound: float = 0.0,
    weight_decay: float = 0.0,
    adapt_lower_bound: bool = False,
) -> GradientTransformationExtraArgs:
    r"""MoMo-Adam: Adam with a step size derived from a lower bound of the loss.

    .. math::
        u = -\tau \frac{m'}{D}, \qquad
        D = \sqrt{v' / (1 - \beta_2^t)} + \epsilon, \qquad
        \tau = \min\left(\frac{\gamma}{c}, \frac{\max(\bar f' + \langle m', p \rangle - g' - c f_*,
            0)}{\langle m', m' / D \rangle}\right)

    with :math:`c = 1 - \beta_1^t`, and :math:`t` from 1. The rest is as in :func:`momo`, with
    Adam's preconditioner for its momentum.

    Each step needs the loss: ``update(grads, state, params, value=loss)`` or
    ``opt.step(grads, value=loss)``.

    Args:
        learning_rate: The largest step size :math:`\gamma`, a number or a schedule, not negative.
            The method lowers it by itself, so choose it generously.
        b1: How much of the running means (of gradients, losses and inner products) each step keeps;
            they span about ``1 / (1 - b1)`` steps. In [0, 1).
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        eps: The number :math:`\epsilon` added outside the root, not negative.
        lower_bound: The lower bound :math:`f_*` of the loss.
        weight_decay: The number :math:`\lambda`; parameters shrink by
            :math:`1 / (1 + \gamma \lambda)` in each step. Not negative.
        adapt_lower_bound: Whether to raise the bound where steps tell that it is too low.

    Returns:
        A transformation with state :class:`MomoAdamState`, whose ``update`` needs ``params`` and
        ``value``, and which turns the sign of gradients. It runs on NumPy.

    Raises:
        TypeError: An argument has the wrong type; or, from a step, ``value`` is.
        ValueError: A number is out of bounds or NaN; or, from a step, ``value`` is missing.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.momo_adam(1.0), np.array([1.0, -2.0]))
        >>> for _ in range(100):
        ...     _ = opt.step(2 * opt.params, value=np.sum(opt.params**2))
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Schaipp et al., `MoMo: Momentum Models for Adaptive Learning Rates
        <https://arxiv.org/abs/2305.07583>`_, 2023.
    """
    hyper = {
        "learning_rate": real_or_schedule("learning_rate", learning_rate, at_least=0),
        "b1": decay("b1", b1),
        "b2": decay("b2", b2),
        "eps": real("eps", eps, at_least=0),
        "lower_bound": real("lower_bound", lower_bound),
        "weight_decay": real("weight_decay", weight_decay, at_least=0),
        "adapt_lower_bound": adapt_lower_bound,
    }
    slots = ("exp_avg", "exp_avg_sq")
    return by_tree(_init, _momo_adam, hyper, slots, reads_params=True)
