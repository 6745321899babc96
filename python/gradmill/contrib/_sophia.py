from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import float_dtype, is_integer, number_of, real
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._data.types import is_transformation
from gradmill._ops.common import average, correction, positive
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._branches import either, kept
from gradmill.contrib._hutchinson import hutchinson_estimator_diag_hessian
from gradmill.contrib._numbers import decay, zero_count
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._stateless import with_extra_args_support
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike

    from gradmill._data.types import PyTree, ScalarOrSchedule, TransformationLike
    from gradmill._plan.spec import Mask
    from gradmill._run.transformation import GradientTransformationExtraArgs


class SophiaState(NamedTuple):
    """The state of the first part of :func:`sophia`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Averages of the diagonal of the Hessian, a tree like the parameters.
        hessian_fn_state: The state of what estimates that.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.sophia(0.1).init(np.ones(2))[0].nu
        array([0., 0.])
    """

    count: Any
    mu: Any
    nu: Any
    hessian_fn_state: Any


def _init(
    xp: Any, params: PyTree, *, hessian: TransformationLike, mu_dtype: Any, **_: Any
) -> SophiaState:
    return SophiaState(
        count=zero_count(xp),
        mu=tree.zeros_like(params, mu_dtype),
        nu=tree.zeros_like(params),
        hessian_fn_state=hessian.init(params),
    )


def _sophia(
    xp: Any,
    updates: PyTree,
    state: SophiaState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    hessian: TransformationLike,
    b1: float,
    b2: float,
    eps: float,
    gamma: float,
    threshold: float,
    update_interval: int,
    **_: Any,
) -> tuple[PyTree, SophiaState]:
    def first(_: Any, m: Any, g: Any) -> Any:
        return average(b1, m, g)

    def bounded(xp: Any, m: Any, v: Any, filled: Any) -> Any:
        ratio = m / filled / xp.maximum(gamma * v, positive(xp, eps, v.dtype))
        return xp.minimum(xp.maximum(ratio, -threshold), threshold)

    def second(_: Any, v: Any, h: Any) -> Any:
        return average(b2, v, h)

    def looked() -> tuple[PyTree, PyTree]:
        diagonal, after = hessian.update(updates, state.hessian_fn_state, params, **extra)
        trees = {"state": state.nu, "hessian": diagonal}
        return mapped("sophia", second, trees), after

    def stayed() -> tuple[PyTree, PyTree]:
        return state.nu, kept(xp, state.hessian_fn_state)

    mu = mapped("sophia", first, {"state": state.mu, "updates": updates})
    filled = correction(b1, integer(state.count) + 1.0)
    # What is known of the Hessian is that before this step.
    new = mapped("sophia", bounded, {"mu": mu, "nu": state.nu}, (filled,))
    nu, hessian_state = either(xp, state.count % update_interval == 0, looked, stayed)
    return new, SophiaState(next_count(state.count), mu, nu, hessian_state)


_HUTCHINSON = hutchinson_estimator_diag_hessian()


@recorded
def sophia(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.965,
    b2: float = 0.99,
    eps: float = 1e-8,
    weight_decay: ScalarOrSchedule = 1e-4,
    weight_decay_mask: Mask | None = None,
    gamma: float = 0.01,
    clip_threshold: float | None = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: TransformationLike = _HUTCHINSON,
    mu_dtype: DTypeLike | None = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,  # noqa: ARG001  (of optax's signature)
) -> GradientTransformationExtraArgs:
    r"""Sophia: the first moment over the diagonal of the Hessian, with a bound on each element.

    .. math::
        m' = \beta_1 m + (1 - \beta_1) g, \qquad
        u = -\gamma_t \left( \operatorname{clip}\left(
            \frac{m' / (1 - \beta_1^t)}{\max(\gamma h, \epsilon)}, \pm c \right)
            + \lambda p \right), \qquad
        h' = \beta_2 h + (1 - \beta_2) \hat h

    The last of these only in the first of each ``update_interval`` steps. Steps are large where the
    loss is flat; where the estimate is wrong, or the loss curves down, the bound keeps them small.
    It is for language models. Choose ``gamma`` such that between a tenth and half of the elements
    are not at the bound.

    The estimate :math:`\hat h` needs a function: ``update(grads, state, params, hvp_fn=hvp_fn)``;
    see :func:`hutchinson_estimator_diag_hessian`.

    Args:
        learning_rate: A number or a schedule :math:`\gamma_t`.
        b1: Decay of the first moment, from 0 to below 1.
        b2: Decay of the average of the Hessian, from 0 to below 1.
        eps: The least denominator :math:`\epsilon`, not negative.
        weight_decay: The multiple :math:`\lambda` of the parameters, or a schedule of it.
        weight_decay_mask: Which leaves decay, as for :func:`gradmill.add_decayed_weights`.
        gamma: The factor :math:`\gamma` of the Hessian.
        clip_threshold: The bound :math:`c`, not negative; None for none.
        update_interval: How many steps there are from one estimate to the next, at least 1.
        hessian_diagonal_fn: A transformation that turns updates into the estimate. It gets
            parameters and all extra arguments.
        mu_dtype: The dtype of the first moments; None for the parameters' own, or float32 where
            that is of half precision.
        verbose: False. Nothing is printed.
        print_win_rate_every_n_steps: Without effect.

    Returns:
        A chain whose first state is a :class:`SophiaState`, and whose ``update`` needs ``params``.
        It runs on NumPy.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of bounds or NaN, or ``verbose`` is true.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.sophia(0.1, gamma=1.0), np.array([1.0, -2.0]))
        >>> for _ in range(200):
        ...     _ = opt.step(2 * opt.params, hvp_fn=lambda params, vector: 2 * vector)
        >>> bool(np.abs(opt.params).max() < 0.2)
        True

    References:
        Liu et al., `Sophia: A Scalable Stochastic Second-order Optimizer for Language Model
        Pre-training <https://arxiv.org/abs/2305.14342>`_, 2023.
    """
    if not is_transformation(hessian_diagonal_fn):
        raise TypeError(f"hessian_diagonal_fn must be a transformation: {hessian_diagonal_fn!r}")
    if not is_integer(update_interval):
        raise TypeError(f"update_interval must be an integer, got {update_interval!r:.80}")
    if verbose:
        raise ValueError("sophia prints nothing: verbose must be False")
    bound = math.inf if clip_threshold is None else clip_threshold
    hyper = {
        "hessian": with_extra_args_support(hessian_diagonal_fn),
        "b1": decay("b1", b1),
        "b2": decay("b2", b2),
        "eps": real("eps", eps, at_least=0),
        "gamma": real("gamma", gamma),
        "threshold": real("clip_threshold", bound, at_least=0),
        "update_interval": int(real("update_interval", number_of(update_interval), at_least=1)),
        "mu_dtype": float_dtype("mu_dtype", mu_dtype),
    }
    return chain(
        by_tree(_init, _sophia, hyper, ("mu", "nu"), reads_params=True),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
