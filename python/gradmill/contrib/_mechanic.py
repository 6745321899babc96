from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import tree
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._data.types import is_transformation
from gradmill._ops.common import over
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._numbers import copy_of, dtype_of_numbers, number, zero_count
from gradmill.transforms._stateless import with_extra_args_support
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs


class MechanicState(NamedTuple):
    """The state of :func:`mechanize`.

    Attributes:
        base_optimizer_state: The state of the inner transformation.
        count: Steps taken, a 0-d int32 array.
        r: Rewards, an array with one element per decay.
        m: The largest reward of a step, one per decay.
        v: Sums of squared rewards, one per decay.
        s: The scales, one per decay; updates are multiplied by their sum.
        x0: The parameters at the first step.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.mechanize(gm.sgd(1.0), num_betas=2).init(np.zeros(3)).s
        array([1.e-06, 1.e-06])
    """

    base_optimizer_state: Any
    count: Any
    r: Any
    m: Any
    v: Any
    s: Any
    x0: Any


def _init(
    xp: Any, params: PyTree, *, base: TransformationLike, s_init: float, num_betas: int, **_: Any
) -> MechanicState:
    dtype = dtype_of_numbers(params)
    return MechanicState(
        base_optimizer_state=base.init(params),
        count=zero_count(xp),
        r=xp.zeros(num_betas, dtype),
        m=xp.zeros(num_betas, dtype),
        v=xp.zeros(num_betas, dtype),
        s=xp.ones(num_betas, dtype) * s_init,
        x0=copy_of(params),
    )


def _mechanize(
    xp: Any,
    updates: PyTree,
    state: MechanicState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    base: TransformationLike,
    weight_decay: float,
    eps: float,
    s_init: float,
    num_betas: int,
) -> tuple[PyTree, MechanicState]:
    # Of NumPy in float64; a program of JAX may have none.
    r, m, v, s = (
        xp.asarray(row, np.float64 if xp is np else row.dtype)
        for row in (state.r, state.m, state.v, state.s)
    )
    moves, base_state = base.update(updates, state.base_optimizer_state, params, **extra)
    is_first = state.count == 0
    x0 = tree.where(is_first, params, state.x0)
    total = number(xp, xp.sum(s))

    size = number(xp, tree.norm(params)) + eps
    decay = over(xp, weight_decay * total * number(xp, tree.norm(updates)), size)
    grads = tree.add_scale(updates, number(xp, decay), params)
    back = tree.scale(number(xp, over(xp, 1.0, total + eps)), tree.sub(x0, params))
    reward = number(xp, tree.vdot(grads, back))

    betas = xp.asarray([1.0 - 0.1**power for power in range(1, num_betas + 1)], s.dtype)
    r = betas * r + xp.minimum(xp.maximum(reward, -m), m) * s
    m = xp.maximum(betas * m, abs(reward) + eps)
    v = betas * betas * v + reward * reward
    s = over(xp, s_init / num_betas * m + xp.maximum(r, 0.0), xp.sqrt(v) + eps)

    def update(_: Any, start: Any, p: Any, back: Any, move: Any, total: Any) -> Any:
        return start - total * (back - move) - p

    trees = {"x0": x0, "params": params, "back": back, "updates": moves}
    return mapped("mechanize", update, trees, (number(xp, xp.sum(s)),)), state._replace(
        base_optimizer_state=base_state,
        count=next_count(state.count),
        r=r,
        m=m,
        v=v,
        s=s,
        x0=x0,
    )


@recorded
def mechanize(
    base_optimizer: TransformationLike,
    weight_decay: float = 1e-2,
    eps: float = 1e-8,
    s_init: float = 1e-6,
    num_betas: int = 6,
) -> GradientTransformationExtraArgs:
    r"""Learn the learning rate of any optimizer while it runs.

    .. math::
        h = \langle g + \lambda \, s \|g\| \, p / \|p\|, \Delta \rangle, \quad
        m'_i = \max(\beta_i m_i, |h| + \epsilon), \quad
        v'_i = \beta_i^2 v_i + h^2, \quad
        r'_i = \beta_i r_i + s_i \, \mathrm{clip}(h, -m_i, m_i)

    .. math::
        s'_i = \frac{\frac{s_0}{n} m'_i + \max(0, r'_i)}{\sqrt{v'_i} + \epsilon}, \qquad
        p' = p_0 + s' (u - \Delta), \qquad \Delta = \frac{p_0 - p}{s + \epsilon}

    :math:`s` is the sum of all :math:`s_i`, and :math:`\beta_i = 1 - 10^{-i}`. Give the inner
    optimizer a learning rate of 1, or a schedule that decays from 1.

    Args:
        base_optimizer: The optimizer to tune; not one that normalizes its updates.
        weight_decay: The share :math:`\lambda` of the parameters in gradients, for the rewards
            :math:`h` alone.
        eps: The number :math:`\epsilon` that keeps scales finite, not negative.
        s_init: The first scale :math:`s_0`, above 0.
        num_betas: The number :math:`n` of memories of different lengths, at least 1.

    Returns:
        A transformation with state :class:`MechanicState`, whose ``update`` needs ``params``. It
        runs on NumPy, the one inside as it does by itself.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.mechanize(gm.sgd(1.0)), np.array([1.0, -2.0]))
        >>> for _ in range(300):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Cutkosky, Defazio and Mehta, `Mechanic: A Learning Rate Tuner
        <https://arxiv.org/abs/2306.00144>`_, 2023.
    """
    if not is_transformation(base_optimizer):
        raise TypeError(f"mechanize takes a transformation, got {base_optimizer!r}")
    if not is_integer(num_betas):
        raise TypeError(f"num_betas must be an integer, got {num_betas!r:.80}")
    real("num_betas", num_betas, at_least=1)
    hyper = {
        "base": with_extra_args_support(base_optimizer),
        "weight_decay": real("weight_decay", weight_decay),
        "eps": real("eps", eps, at_least=0),
        "s_init": real("s_init", s_init, above=0),
        "num_betas": number_of(num_betas),
    }
    return by_tree(_init, _mechanize, hyper, ("x0",), reads_params=True)
