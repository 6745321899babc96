from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.checks import real
from gradmill._data.recorded import recorded
from gradmill._data.trees import Structure, flatten, leaf_path, tree_map
from gradmill._ops.common import average
from gradmill._plan.match import match
from gradmill._run.fused import by_tree
from gradmill._run.trees import settled
from gradmill.errors import LeafValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.types import PyTree
    from gradmill._run.transformation import GradientTransformationExtraArgs

Array = Any


class ScaleBySM3State(NamedTuple):
    """The state of :func:`scale_by_sm3`.

    Attributes:
        mu: For each parameter a list of vectors, one for each of its axes.
        nu: First moments, a tree like the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.scale_by_sm3().init(np.ones((1, 2))).mu
        [array([0.]), array([0., 0.])]
    """

    mu: Any
    nu: Any


def _vectors(xp: Any, shape: tuple[int, ...], dtype: Any) -> list[Array]:
    """Zeros along each axis; a number has itself for an axis."""
    shapes: list[tuple[int, ...]] = [(length,) for length in shape]
    return [xp.zeros(own, dtype) for own in shapes or [()]]


def _init(xp: Any, params: PyTree, **_: Any) -> ScaleBySM3State:
    mu = tree_map(lambda leaf: _vectors(xp, leaf.shape, leaf.dtype), params)
    return ScaleBySM3State(mu, tree_map(xp.zeros_like, params))


def _scale_by_sm3(
    xp: Any,
    updates: PyTree,
    state: ScaleBySM3State,
    params: PyTree | None,  # noqa: ARG001  (formulas of trees have one signature)
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    **hyper: Any,
) -> tuple[PyTree, ScaleBySM3State]:
    """Divide by the root of the least of what each element's rows have seen, then average."""
    nus, spec = flatten(state.nu)
    given = match(updates, Structure(spec), "updates", "state.nu", leaves=nus)
    parts = [None if nu is None else _vectors(np, nu.shape, None) for nu in nus]
    kept = match(state.mu, Structure(flatten(spec.unflatten(parts))[1]), "state.mu", "state.nu")
    vectors = iter(kept.leaves)
    new, mus = list(given.leaves), []
    for at, (u, nu, part) in enumerate(zip(given.leaves, nus, parts, strict=True)):
        mu = [next(vectors) for _ in part or (None,)]
        if u is not None and nu is not None and u.size:
            if u.shape != nu.shape:
                path = leaf_path(spec, at, "updates")
                problem = f"shape {u.shape}, nu has {nu.shape}"
                raise LeafValueError(f"{path}: {problem} (scale_by_sm3)")
            new[at], after = _leaf(xp, u, mu, nu, **hyper)
            nus[at] = settled(xp, new[at], nu)
            mu = [settled(xp, *pair) for pair in zip(after, mu, strict=True)]
        mus += mu
    return given.rebuild(new), ScaleBySM3State(kept.rebuild(mus), spec.unflatten(nus))


def _leaf(
    xp: Any, u: Array, mu: list[Array], nu: Array, b1: float, b2: float, eps: float
) -> tuple[Array, list[Array]]:
    """The moment of a leaf, and its vectors."""
    axes = range(u.ndim)
    along = [
        xp.reshape(vector, [-1 if axis == at else 1 for axis in axes])
        for at, vector in enumerate(mu)
    ]
    seen = (1 - b2 if b2 != 1 else 1.0) * u * u + b2 * reduce(xp.minimum, along)
    inverse = 1.0 / xp.sqrt(xp.where(seen > 0, seen, 1.0) + eps)
    moment = average(b1, nu, u * xp.where(seen > 0, inverse, 0.0))
    others = [tuple(axis for axis in axes if axis != at) for at, _ in enumerate(mu)]
    return moment, [xp.max(seen, axis=rest) if rest else seen for rest in others]


@recorded
def scale_by_sm3(
    b1: float = 0.9, b2: float = 1.0, eps: float = 1e-8
) -> GradientTransformationExtraArgs:
    r"""Rescale updates as Adagrad does, with one vector per axis instead of a value per element.

    .. math::
        s_{ij} &= (1 - \beta_2) u_{ij}^2 + \beta_2 \min(r_i, c_j), \qquad
        r_i' = \max_j s_{ij}, \qquad c_j' = \max_i s_{ij} \\
        u' &= m' = \beta_1 m + (1 - \beta_1) \frac{u}{\sqrt{s + \epsilon}}

    and likewise for any number of axes. With :math:`\beta_2 = 1` squares have a weight of 1. Where
    :math:`s` is zero, the update is zero too.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. Between
            -1 and 1.
        b2: How much of the squares each step keeps, in [0, 1]. With 1 all squares are kept, as in
            AdaGrad.
        eps: Added inside the root, so that parameters with tiny gradients do not take huge steps.
            Not negative.

    Returns:
        A transformation with state :class:`ScaleBySM3State`. It does not change the sign.

    Raises:
        TypeError: A hyperparameter is not a real number.
        ValueError: A hyperparameter is out of bounds.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.scale_by_sm3(b1=0.0)
        >>> state = tx.init(np.zeros((2, 2)))
        >>> updates, state = tx.update(np.array([[1.0, 2.0], [3.0, -4.0]]), state)
        >>> updates.round(6)
        array([[ 1.,  1.],
               [ 1., -1.]])
        >>> state.mu
        [array([ 4., 16.]), array([ 9., 16.])]

    References:
        Anil et al., `Memory-Efficient Adaptive Optimization <https://arxiv.org/abs/1901.11150>`_,
        2019.
    """
    hyper = {
        "b1": real("b1", b1, above=-1, below=1),
        "b2": real("b2", b2, at_least=0, at_most=1),
        "eps": real("eps", eps, at_least=0),
    }
    return by_tree(_init, _scale_by_sm3, hyper)
