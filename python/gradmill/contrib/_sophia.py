from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.checks import float_dtype, is_integer, number_of, real
from gradmill._data.recorded import recorded
from gradmill._data.slots import Slot
from gradmill._data.types import is_transformation
from gradmill._ops import sophia as ops
from gradmill._ops.common import average
from gradmill._plan.spec import Spec
from gradmill._run.fused import by_tree, native
from gradmill.contrib._branches import either, kept
from gradmill.contrib._hutchinson import hutchinson_estimator_diag_hessian
from gradmill.contrib._numbers import decay
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._stateless import with_extra_args_support
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike

    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule, TransformationLike
    from gradmill._run.transformation import (
        GradientTransformation,
        GradientTransformationExtraArgs,
    )


class SophiaState(NamedTuple):
    """The state of the first part of :func:`sophia`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Averages of the diagonal of the Hessian, a tree like the parameters.
        hessian_fn_state: The state of the estimator.

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


class ScaleBySophiaState(NamedTuple):
    """What :func:`scale_by_sophia` needs of the state of :func:`sophia`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Averages of the diagonal of the Hessian, a tree like the parameters.
    """

    count: Any
    mu: Any
    nu: Any


@recorded
def scale_by_sophia(
    b1: float,
    eps: float,
    gamma: float,
    threshold: float,
    mu_dtype: DTypeLike | None = None,
) -> GradientTransformation:
    """The steps of :func:`sophia` by what is known of the Hessian; somebody else averages that."""
    hyper = {
        "b1": decay("b1", b1),
        "eps": real("eps", eps, at_least=0),
        "gamma": real("gamma", gamma),
        "threshold": real("clip_threshold", threshold, at_least=0),
    }
    slots = (Slot("mu", float_dtype("mu_dtype", mu_dtype), coding="signed"), Slot("nu"))
    return native(Spec(ops.scale_by_sophia, ScaleBySophiaState, hyper, slots))


def _init(
    xp: Any,  # noqa: ARG001  (formulas of trees have one signature)
    params: PyTree,
    *,
    steps: TransformationLike,
    hessian: TransformationLike,
    **_: Any,
) -> SophiaState:
    first: Any = steps.init(params)
    return SophiaState(first.count, first.mu, first.nu, hessian.init(params))


def _sophia(
    xp: Any,
    updates: PyTree,
    state: SophiaState,
    params: PyTree,
    extra: Mapping[str, Any],
    *,
    steps: TransformationLike,
    hessian: TransformationLike,
    b2: float,
    update_interval: int,
    **_: Any,
) -> tuple[PyTree, SophiaState]:
    def second(_: Any, v: Any, h: Any) -> Any:
        return average(b2, v, h)

    def looked() -> tuple[PyTree, PyTree]:
        diagonal, after = hessian.update(updates, state.hessian_fn_state, params, **extra)
        trees = {"state": state.nu, "hessian": diagonal}
        return mapped("sophia", second, trees), after

    def stayed() -> tuple[PyTree, PyTree]:
        return after.nu, kept(xp, state.hessian_fn_state)

    # What is known of the Hessian is that before this step.
    new, after = steps.update(updates, ScaleBySophiaState(state.count, state.mu, state.nu))
    nu, hessian_state = either(xp, state.count % update_interval == 0, looked, stayed)
    return new, SophiaState(after.count, after.mu, nu, hessian_state)


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
    r"""Sophia: momentum divided by the diagonal of the Hessian, with each element clipped.

    .. math::
        m' = \beta_1 m + (1 - \beta_1) g, \qquad
        u = -\gamma_t \left( \operatorname{clip}\left(
            \frac{m' / (1 - \beta_1^t)}{\max(\gamma h, \epsilon)}, \pm c \right)
            + \lambda p \right), \qquad
        h' = \beta_2 h + (1 - \beta_2) \hat h

    The Hessian is estimated only once every ``update_interval`` steps. Steps are large where the
    loss is flat. Where the estimate is wrong, or the loss curves down, the bound keeps them small.
    It was made for language models. Choose ``gamma`` such that between a tenth and half of the
    elements stay below the bound.

    The estimate :math:`\hat h` needs a function: ``update(grads, state, params, hvp_fn=hvp_fn)``;
    see :func:`hutchinson_estimator_diag_hessian`.

    Args:
        learning_rate: A number or a schedule :math:`\gamma_t`.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. In [0,
            1).
        b2: How much of the running mean of Hessian estimates each estimate keeps. In [0, 1).
        eps: The smallest denominator :math:`\epsilon`, not negative.
        weight_decay: How strongly parameters are pulled towards zero, :math:`\lambda`, a number or
            a schedule.
        weight_decay_mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and
            the scales of normalization layers are usually left out:
            ``lambda path, leaf: leaf.ndim > 1``.
        gamma: The factor :math:`\gamma` of the Hessian.
        clip_threshold: The bound :math:`c` of each element of the step, not negative; None for no
            bound.
        update_interval: How many steps there are from one estimate to the next, at least 1.
        hessian_diagonal_fn: A transformation that turns updates into the estimate. It gets
            parameters and all extra arguments.
        mu_dtype: The dtype in which the first moments are stored. bfloat16 saves two bytes a
            parameter, at little cost. None for the parameters' own dtype (float32 where that is 16
            bits wide).
        verbose: Must be False; nothing is printed.
        print_win_rate_every_n_steps: Accepted for compatibility with optax, and ignored.

    Returns:
        A chain whose first state is a :class:`SophiaState`, and whose ``update`` needs ``params``.
        What estimates and averages the Hessian runs on NumPy.

    Raises:
        TypeError: An argument has the wrong type.
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
        "steps": scale_by_sophia(b1, eps, gamma, bound, mu_dtype),
        "hessian": with_extra_args_support(hessian_diagonal_fn),
        "b2": decay("b2", b2),
        "update_interval": int(real("update_interval", number_of(update_interval), at_least=1)),
    }
    return chain(
        by_tree(_init, _sophia, hyper, ("mu", "nu"), reads_params=True),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
