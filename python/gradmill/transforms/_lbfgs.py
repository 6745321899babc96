from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._data.trees import tree_map
from gradmill._ops.common import over
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.transforms._numbers import copy_of, dtype_of_numbers, larger, number, zero_count
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformationExtraArgs

_NAME = "scale_by_lbfgs"


class ScaleByLBFGSState(NamedTuple):
    """The state of :func:`scale_by_lbfgs`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        params: The parameters of the last step, zeros at first.
        updates: The updates that came in with them, zeros at first.
        diff_params_memory: How parameters changed from step to step: a tree like them, with a new
            first axis in each leaf, a ring buffer of the last steps.
        diff_updates_memory: How updates changed, in the same form.
        weights_memory: The inverse of the inner product of both changes for each of these steps, 0
            where there was none.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_lbfgs(memory_size=3).init(np.ones(2)).diff_params_memory.shape
        (3, 2)
    """

    count: Any
    params: Any
    updates: Any
    diff_params_memory: Any
    diff_updates_memory: Any
    weights_memory: Any


def _init(xp: Any, params: PyTree, *, memory_size: int, **_: Any) -> ScaleByLBFGSState:
    zeros = tree.zeros_like(params)
    return ScaleByLBFGSState(
        count=zero_count(xp),
        params=zeros,
        updates=tree.zeros_like(params),
        diff_params_memory=tree.batch_shape(zeros, (memory_size,)),
        diff_updates_memory=tree.batch_shape(zeros, (memory_size,)),
        weights_memory=xp.zeros(memory_size, dtype_of_numbers(params)),
    )


def _scale_by_lbfgs(
    xp: Any,
    updates: PyTree,
    state: ScaleByLBFGSState,
    params: PyTree,
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    memory_size: int,
    scale_init_precond: bool,
) -> tuple[PyTree, ScaleByLBFGSState]:
    count = integer(state.count)
    newest = (count - 1) % memory_size
    moved = _change(state.count, {"params": params, "state.params": state.params})
    turned = _change(state.count, {"updates": updates, "state.updates": state.updates})
    weight, scale = _curvature(xp, moved, turned, state.weights_memory.dtype)
    ring = xp.arange(memory_size) == newest
    after = state._replace(
        count=next_count(state.count),
        params=copy_of(params),
        updates=copy_of(updates),
        diff_params_memory=_with(ring, state.diff_params_memory, moved),
        diff_updates_memory=_with(ring, state.diff_updates_memory, turned),
        weights_memory=xp.where(ring, weight, state.weights_memory),
    )
    if not scale_init_precond:
        scale = 1.0
    else:
        first = number(xp, over(xp, 1.0, larger(xp, 1.0, tree.norm(updates))))
        scale = number(xp, xp.where(state.count == 0, first, scale))
    pairs = [_pair(xp, after, (newest - back) % memory_size) for back in range(memory_size)]
    return _preconditioned(xp, updates, pairs, scale), after


class _Pair(NamedTuple):
    """How parameters and updates changed in a step, and the weight of the two."""

    moved: PyTree
    turned: PyTree
    weight: Any


def _change(count: Any, trees: Mapping[str, PyTree]) -> PyTree:
    """From the second tree to the first, zero in the first step."""

    def change(xp: Any, new: Any, old: Any) -> Any:
        return xp.where(count > 0, new - old, xp.zeros_like(new))

    return mapped(_NAME, change, trees, beside=(count,))


def _curvature(xp: Any, moved: PyTree, turned: PyTree, dtype: Any) -> tuple[Any, Any]:
    """The weight of a pair of changes, and the inverse of how fast updates turned on their way.

    Both have limits where the square of the second change overflows or vanishes.
    """
    least = float(xp.finfo(dtype).tiny)
    size = number(xp, tree.norm(turned))
    size = number(xp, xp.where(size < least, 0.0, size))
    along = number(xp, tree.vdot(tree.scale(number(xp, over(xp, 1.0, size)), turned), moved))
    product = along * size
    is_out = (abs(product) < least) | (abs(product) > 1 / least)
    weight = over(xp, 1.0, xp.where(is_out, 0.0, product))
    return number(xp, weight), number(xp, xp.where(size == 0, 1.0, over(xp, along, size)))


def _with(ring: Any, memory: PyTree, change: PyTree) -> PyTree:
    """The memory with a change in one place of the ring."""

    def put(xp: Any, old: Any, new: Any) -> Any:
        return xp.where(xp.reshape(ring, (-1, *(1,) * xp.ndim(new))), new, old)

    return mapped(_NAME, put, {"memory": memory, "change": change}, beside=(ring,))


def _pair(xp: Any, state: ScaleByLBFGSState, at: Any) -> _Pair:
    """The changes in one place of the ring."""
    moved, turned = (
        tree_map(lambda leaf: leaf[at], memory)
        for memory in (state.diff_params_memory, state.diff_updates_memory)
    )
    return _Pair(moved, turned, number(xp, state.weights_memory[at]))


def _preconditioned(xp: Any, updates: PyTree, pairs: Sequence[_Pair], scale: Any) -> PyTree:
    """Updates times the inverse of the Hessian that pairs tell of, the newest of them first."""

    def share_of(weight: Any, change: PyTree, updates: PyTree) -> Any:
        along = number(xp, tree.vdot(change, updates))
        # What is too large for a product has no weight; a NaN is one of the updates.
        return number(xp, xp.where((weight == 0) & xp.isinf(along), 0.0, weight * along))

    shares = []
    for pair in pairs:
        share = share_of(pair.weight, pair.moved, updates)
        updates = tree.add_scale(updates, -share, pair.turned)
        shares.append(share)
    updates = tree.scale(scale, updates)
    for pair, share in zip(reversed(pairs), reversed(shares), strict=True):
        back = share_of(pair.weight, pair.turned, updates)
        updates = tree.add_scale(updates, share - back, pair.moved)
    return updates


@recorded
def scale_by_lbfgs(
    memory_size: int = 10, scale_init_precond: bool = True
) -> GradientTransformationExtraArgs:
    r"""Multiply gradients by an inverse Hessian estimated from the last few steps.

    .. math::
        u = H_t \, g_t, \qquad
        H_{j+1} = (I - \rho_j s_j y_j^\top) H_j (I - \rho_j y_j s_j^\top) + \rho_j s_j s_j^\top,
        \qquad H_{t-m} = \gamma I

    .. math::
        s_j = p_{j+1} - p_j, \quad y_j = g_{j+1} - g_j, \quad
        \rho_j = 1 / \langle y_j, s_j \rangle, \quad
        \gamma = \langle y_{t-1}, s_{t-1} \rangle / \|y_{t-1}\|^2

    For smooth functions with exact gradients, and few enough parameters that :math:`2 m` copies of
    them fit in memory. In the first step :math:`\gamma` is :math:`\min(1, 1 / \|g\|)`. A line
    search after it, as in :func:`lbfgs`, keeps :math:`\rho` positive.

    Args:
        memory_size: How many past steps :math:`m` approximate the curvature, at least 1; 5 to 20 is
            usual.
        scale_init_precond: Whether to start from :math:`\gamma` (usual) or from 1.

    Returns:
        A transformation with state :class:`ScaleByLBFGSState`, whose ``update`` needs ``params``.
        It runs on NumPy. A step along which gradients did not change weighs nothing.

    Raises:
        TypeError: ``memory_size`` is not an integer.
        ValueError: It is below 1.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> opt = gm.Optimizer(gm.chain(gm.scale_by_lbfgs(), gm.scale(-1.0)), np.array([3.0, 4.0]))
        >>> for _ in range(6):
        ...     _ = opt.step(np.array([1.0, 4.0]) * opt.params)
        >>> bool(np.abs(opt.params).max() < 0.1)
        True

    References:
        Liu and Nocedal, `On the limited memory BFGS method for large scale optimization
        <https://doi.org/10.1007/BF01589116>`_, 1989.
    """
    if not is_integer(memory_size):
        raise TypeError(f"memory_size must be an integer, got {memory_size!r:.80}")
    real("memory_size", memory_size, at_least=1)
    hyper = {"memory_size": number_of(memory_size), "scale_init_precond": scale_init_precond}
    slots = ("params", "updates", "diff_params_memory", "diff_updates_memory")
    return by_tree(_init, _scale_by_lbfgs, hyper, slots, reads_params=True)
