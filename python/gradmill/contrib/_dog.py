from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._ops.common import over
from gradmill._run.fused import by_tree
from gradmill.contrib._numbers import copy_of, dtype_of_numbers, larger, number
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._identity import identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree, ScalarOrSchedule
    from gradmill._plan.spec import Mask
    from gradmill._run.transformation import GradientTransformationExtraArgs

_KINDS = ("distance", "learning_rate", "heuristic")


class DoGState(NamedTuple):
    """The state of the part of :func:`dog` that finds the learning rate.

    Attributes:
        is_init_step: Whether no step has been taken, a 0-d array.
        init_params: The parameters at first.
        max_dist: The largest distance from these so far, a 0-d array.
        sum_sq_norm_grads: The sum of squares of all gradients, a 0-d array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.dog().init(np.ones(2))[1].init_params
        array([1., 1.])
    """

    is_init_step: Any
    init_params: Any
    max_dist: Any
    sum_sq_norm_grads: Any


def _init(xp: Any, params: PyTree, *, kind: str, value: float, **_: Any) -> DoGState:
    dtype = dtype_of_numbers(params)
    start = {
        "distance": value,
        "learning_rate": 0.0,
        "heuristic": value * (1 + number(xp, tree.norm(params))),
    }
    return DoGState(
        is_init_step=xp.asarray(True),
        init_params=copy_of(params),
        max_dist=xp.asarray(start[kind], dtype),
        sum_sq_norm_grads=xp.zeros((), dtype),
    )


def _dog(
    xp: Any,
    updates: PyTree,
    state: DoGState,
    params: PyTree,
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    kind: str,
    value: float,
    eps: float,
) -> tuple[PyTree, DoGState]:
    distance = number(xp, tree.norm(tree.sub(state.init_params, params)))
    farthest = larger(xp, number(xp, state.max_dist), distance)
    squares = number(xp, state.sum_sq_norm_grads) + number(xp, tree.norm(updates, squared=True))
    rate = number(xp, over(xp, farthest, xp.sqrt(squares + eps)))
    if kind == "learning_rate":
        rate = number(xp, xp.where(state.is_init_step, value, rate))
    return tree.scale(rate, updates), state._replace(
        is_init_step=xp.asarray(False), max_dist=farthest, sum_sq_norm_grads=squares
    )


@recorded
def dog(
    learning_rate: ScalarOrSchedule = 1.0,
    init_step: tuple[str, float] = ("heuristic", 1e-6),
    eps: float = 1e-8,
    weight_decay: float | None = None,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    r"""Gradient descent with the distance from the start over the norm of all gradients as rate.

    .. math::
        u_t = -\gamma \, g_t
        \frac{\max_{s \le t} \|p_s - p_0\|}{\sqrt{\sum_{s \le t} \|g_s\|^2 + \epsilon}}

    It needs no tuned learning rate; its authors recommend to average parameters over steps.

    Args:
        learning_rate: A number or a schedule :math:`\gamma`, which multiplies the rate found.
        init_step: How to begin, a name and a number that is not negative: ``"distance"`` for the
            first distance; ``"learning_rate"`` for the rate of the first step; ``"heuristic"`` for
            the first distance in multiples of :math:`1 + \|p_0\|`.
        eps: The number :math:`\epsilon` added inside the root, not negative.
        weight_decay: The multiple of the parameters that is added to gradients; None for none.
        mask: Which leaves decay, as for :func:`add_decayed_weights`.

    Returns:
        A chain whose second state is a :class:`DoGState`, and whose ``update`` needs ``params``. It
        runs on NumPy.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: ``init_step`` has another name, or a number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.dog(), np.array([1.0, -2.0]))
        >>> for _ in range(100):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Ivgi, Hinder and Carmon, `DoG is SGD's Best Friend: A Parameter-Free Dynamic Step Size
        Schedule <https://arxiv.org/abs/2302.12022>`_, 2023.
    """
    kind, value = init_step
    if kind not in _KINDS:
        raise ValueError(f"init_step must begin with one of {', '.join(_KINDS)}, got {kind!r:.80}")
    hyper = {
        "kind": kind,
        "value": real("init_step[1]", value, at_least=0),
        "eps": real("eps", eps, at_least=0),
    }
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        by_tree(_init, _dog, hyper, ("init_params",), reads_params=True),
        scale_by_learning_rate(learning_rate),
    )
