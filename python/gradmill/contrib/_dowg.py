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


class DoWGState(NamedTuple):
    """The state of the part of :func:`dowg` that finds the learning rate.

    Attributes:
        init_params: The parameters at first.
        weighted_sq_norm_grads: The weighted sum of squares of all gradients, a 0-d array.
        estim_sq_dist: The largest square of a distance from the first parameters, a 0-d array.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.dowg().init(np.ones(2))[1].estim_sq_dist
        array(0.0001)
    """

    init_params: Any
    weighted_sq_norm_grads: Any
    estim_sq_dist: Any


def _init(xp: Any, params: PyTree, *, estimate: float, **_: Any) -> DoWGState:
    dtype = dtype_of_numbers(params)
    return DoWGState(
        init_params=copy_of(params),
        weighted_sq_norm_grads=xp.zeros((), dtype),
        estim_sq_dist=xp.asarray(estimate, dtype),
    )


def _dowg(
    xp: Any,
    updates: PyTree,
    state: DoWGState,
    params: PyTree,
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    eps: float,
    **_: Any,
) -> tuple[PyTree, DoWGState]:
    moved = number(xp, tree.norm(tree.sub(state.init_params, params), squared=True))
    estimate = larger(xp, number(xp, state.estim_sq_dist), moved)
    squares = number(xp, tree.norm(updates, squared=True))
    weighted = number(xp, state.weighted_sq_norm_grads) + estimate * squares
    rate = number(xp, over(xp, estimate, xp.sqrt(weighted) + eps))
    return tree.scale(rate, updates), state._replace(
        weighted_sq_norm_grads=weighted, estim_sq_dist=estimate
    )


@recorded
def dowg(
    learning_rate: ScalarOrSchedule = 1.0,
    init_estim_sq_dist: float | None = None,
    eps: float = 1e-4,
    weight_decay: float | None = None,
    mask: Mask | None = None,
) -> GradientTransformationExtraArgs:
    r"""Gradient descent with the distance from the start over a norm weighted by it as rate.

    .. math::
        u_t = -\gamma \, g_t \frac{r_t^2}{\sqrt{\sum_{s \le t} r_s^2 \|g_s\|^2} + \epsilon}, \qquad
        r_t = \max_{s \le t} \|p_s - p_0\|

    As :func:`dog`, with distances inside the sum as well, for which larger steps are safe. It needs
    no tuned learning rate, whether the loss is smooth or not.

    Args:
        learning_rate: A number or a schedule :math:`\gamma`, which multiplies the rate found.
        init_estim_sq_dist: The first :math:`r^2`, not negative; None for ``eps``.
        eps: The number :math:`\epsilon` added outside the root, not negative.
        weight_decay: The multiple of the parameters that is added to gradients; None for none.
        mask: Which leaves decay, as for :func:`gradmill.add_decayed_weights`.

    Returns:
        A chain whose second state is a :class:`DoWGState`, and whose ``update`` needs ``params``.
        It runs on NumPy.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.contrib.dowg(), np.array([1.0, -2.0]))
        >>> for _ in range(100):
        ...     _ = opt.step(2 * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Khaled, Mishchenko and Jin, `DoWG Unleashed: An Efficient Universal Parameter-Free Gradient
        Descent Method <https://arxiv.org/abs/2305.16284>`_, 2023.
    """
    first = eps if init_estim_sq_dist is None else init_estim_sq_dist
    hyper = {
        "estimate": real("init_estim_sq_dist", first, at_least=0),
        "eps": real("eps", eps, at_least=0),
    }
    return chain(
        identity() if weight_decay is None else add_decayed_weights(weight_decay, mask),
        by_tree(_init, _dowg, hyper, ("init_params",), reads_params=True),
        scale_by_learning_rate(learning_rate),
    )
