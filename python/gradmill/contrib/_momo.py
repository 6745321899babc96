from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._ops.common import average, if_first
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


class MomoState(NamedTuple):
    """The state of :func:`momo`.

    Attributes:
        exp_avg: Averages of gradients, a tree like the parameters.
        barf: The average of losses, a 0-d array.
        gamma: The average of products of gradients and parameters, a 0-d array.
        lb: The lower bound of the loss, a 0-d array.
        count: Steps taken, a 0-d int32 array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.momo(lower_bound=0.5).init(np.ones(2)).lb
        array(0.5)
    """

    exp_avg: Any
    barf: Any
    gamma: Any
    lb: Any
    count: Any


def _init(xp: Any, params: PyTree, *, lower_bound: float, **_: Any) -> MomoState:
    dtype = dtype_of_numbers(params)
    return MomoState(
        exp_avg=tree.zeros_like(params),
        barf=xp.zeros((), dtype),
        gamma=xp.zeros((), dtype),
        lb=xp.asarray(lower_bound, dtype),
        count=zero_count(xp),
    )


def _momo(
    xp: Any,
    updates: PyTree,
    state: MomoState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    learning_rate: ScalarOrSchedule,
    beta: float,
    lower_bound: float,
    weight_decay: float,
    adapt_lower_bound: bool,
) -> tuple[PyTree, MomoState]:
    loss, rate = loss_of(extra, "momo"), rate_at(learning_rate, state.count)
    kept = number(xp, if_first(state.count, 0.0, beta))

    def averaged(_: Any, old: Any, new: Any, kept: Any) -> Any:
        return average(kept, old, new)

    exp_avg = mapped("momo", averaged, {"state": state.exp_avg, "updates": updates}, (kept,))
    barf = average(kept, number(xp, state.barf), loss)
    gamma = average(kept, number(xp, state.gamma), number(xp, tree.vdot(updates, params)))
    model = Model(
        loss=barf - gamma + number(xp, tree.vdot(exp_avg, params)),
        loss_at_zero=barf - gamma,
        size=number(xp, tree.norm(exp_avg, squared=True)),
        filled=1.0,
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

    def update(_: Any, m: Any, p: Any, rate_found: Any, shrinks: Any) -> Any:
        return -shrinks * p - rate_found * m

    numbers = (rate_found, rate * weight_decay / (1 + rate * weight_decay))
    trees = {"exp_avg": exp_avg, "params": params}
    return mapped("momo", update, trees, numbers), state._replace(
        exp_avg=exp_avg, barf=barf, gamma=gamma, lb=lb, count=next_count(state.count)
    )


@recorded
def momo(
    learning_rate: ScalarOrSchedule = 1.0,
    beta: float = 0.9,
    lower_bound: float = 0.0,
    weight_decay: float = 0.0,
    adapt_lower_bound: bool = False,
) -> GradientTransformationExtraArgs:
    r"""MoMo: momentum with a step size derived from a lower bound of the loss.

    .. math::
        u = -\tau m', \qquad
        \tau = \min\left(\gamma, \frac{\max(\bar f' + \langle m', p \rangle - g' - f_*, 0)}
            {\|m'\|^2}\right)

    Here :math:`m`, :math:`\bar f` and :math:`g` are running means of gradients, of losses, and of
    inner products of gradients and parameters. Together they form a linear model of the loss, and
    the numerator is how far that model lies above the lower bound :math:`f_*`. Learning rates that
    are far too large do no harm. Pick it if you know a bound, such as zero for most losses.

    Each step needs the loss: ``update(grads, state, params, value=loss)`` or
    ``opt.step(grads, value=loss)``.

    Args:
        learning_rate: The largest step size :math:`\gamma`, a number or a schedule, not negative.
            The method lowers it by itself, so choose it generously.
        beta: How much of the three running means each step keeps. In [0, 1).
        lower_bound: The lower bound :math:`f_*` of the loss.
        weight_decay: The number :math:`\lambda`; parameters shrink by
            :math:`1 / (1 + \gamma \lambda)` in each step. Not negative.
        adapt_lower_bound: Whether to raise the bound where steps tell that it is too low.

    Returns:
        A transformation with state :class:`MomoState`, whose ``update`` needs ``params`` and
        ``value``, and which turns the sign of gradients. It runs on NumPy.

    Raises:
        TypeError: An argument has the wrong type; or, from a step, ``value`` is.
        ValueError: A number is out of bounds or NaN; or, from a step, ``value`` is missing.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.momo(), np.array([1.0, -2.0]))
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
        "beta": decay("beta", beta),
        "lower_bound": real("lower_bound", lower_bound),
        "weight_decay": real("weight_decay", weight_decay, at_least=0),
        "adapt_lower_bound": adapt_lower_bound,
    }
    return by_tree(_init, _momo, hyper, ("exp_avg",), reads_params=True)
