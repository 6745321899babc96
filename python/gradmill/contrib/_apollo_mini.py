from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import _core, tree
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.keys import words_given, words_of
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten, tree_map
from gradmill._ops.common import average, correction, over, root, total
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._matrices import each_matrix, labels_of
from gradmill.contrib._numbers import decay, zero_count
from gradmill.optimizers import adamw
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._masking import partition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs
    from gradmill.contrib._matrices import Axes, Matrices

_NAME = "scale_by_apollo_mini"
_SCALE = 128.0**0.5


class ScaleByApolloMiniState(NamedTuple):
    """The state of :func:`scale_by_apollo_mini`.

    For a float32 matrix of 1,000 rows and 1,000 columns it takes 8 kB, where Adam keeps 8 MB.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        rng_key: The key that projections are drawn with, an array of two uint32.
        mu: First moments of projections, a tree like the parameters of arrays of shape (matrices,
            length of the longer side).
        nu: Second moments of projections, the same.
        norm: The norm of each matrix's last update, before it was scaled; zero where there was
            none. A tree like the parameters of arrays of shape (matrices,).

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.contrib.scale_by_apollo_mini().init(np.zeros((2, 3)))
        >>> state.mu.shape, state.norm.shape
        ((1, 3), (1,))
    """

    count: Any
    rng_key: Any
    mu: Any
    nu: Any
    norm: Any


def _init(
    xp: Any, params: PyTree, *, axes: Axes, words: tuple[int, int], **_: Any
) -> ScaleByApolloMiniState:
    def moments(leaf: Any, matrices: Matrices) -> Any:
        number, *sides = matrices.sizes
        return xp.zeros((number, max(sides)), leaf.dtype)

    def norms(leaf: Any, matrices: Matrices) -> Any:
        return xp.zeros(matrices.sizes[:1], leaf.dtype)

    mu, nu, norm = (each_matrix(_NAME, axes, params, zeros) for zeros in (moments, moments, norms))
    return ScaleByApolloMiniState(zero_count(xp), xp.asarray(words, xp.uint32), mu, nu, norm)


def _scale_by_apollo_mini(
    xp: Any,
    updates: PyTree,
    state: ScaleByApolloMiniState,
    params: PyTree | None,  # noqa: ARG001  (formulas of trees have one signature)
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    axes: Axes,
    gap: int,
    words: tuple[int, int],  # noqa: ARG001  (the state has the key)
    **hyper: Any,
) -> tuple[PyTree, ScaleByApolloMiniState]:
    count = integer(state.count)
    rows = zip(*map(_arrays, (state.mu, state.nu, state.norm)), strict=True)
    keys = _keys(xp, state.rng_key, count // gap, updates)
    made: list[tuple[Any, ...]] = []

    def one(leaf: Any, matrices: Matrices) -> Any:
        row, key = next(rows), next(keys)
        if leaf.size == 0:
            made.append(row)
            return leaf
        u, *after = _step(xp, matrices.of(xp, leaf), key, *row, count=count, **hyper)
        made.append(tuple(after))
        return matrices.back(xp, u, leaf.shape)

    new = each_matrix(_NAME, axes, updates, one)
    mu, nu, norm = (_like(updates, [row[at] for row in made]) for at in range(3))
    return new, state._replace(count=next_count(state.count), mu=mu, nu=nu, norm=norm)


def _arrays(slot: PyTree) -> list[Any]:
    return [leaf for leaf in flatten(slot)[0] if leaf is not None]


def _like(updates: PyTree, leaves: list[Any]) -> PyTree:
    rest = iter(leaves)
    return tree_map(lambda _: next(rest), updates)


def _keys(xp: Any, key: Any, draw: Any, updates: PyTree) -> Iterator[Any]:
    """For each leaf with an update the key of its projection, which its place decides."""
    leaves = flatten(updates)[0]
    if xp is np:
        own = np.array(_core.split_key(words_of(key, _NAME), draw), np.uint32)
    else:
        from jax import random  # noqa: PLC0415  (JAX need not be installed)

        own = random.fold_in(key, draw)
    keys = tree.split_key_like(own, [0.0] * len(leaves))
    return (each for each, leaf in zip(keys, leaves, strict=True) if leaf is not None)


def _step(
    xp: Any,
    x: Any,
    key: Any,
    mu: Any,
    nu: Any,
    last: Any,
    *,
    count: Any,
    b1: float,
    b2: float,
    eps: float,
    scale: float,
    max_growth: float | None,
) -> tuple[Any, Any, Any, Any]:
    """The update of matrices, the moments of their projections, and the norms of updates."""
    low = _projection(xp, x, key)
    mu, nu = average(b1, mu, low), average(b2, nu, low * low)
    size = root(xp, nu / correction(b2, count + 1.0), 0.0, eps)
    adam = mu / correction(b1, count + 1.0) / size
    length = _norm_of_matrices(xp, x)
    norm = over(xp, _norm(xp, adam, 1) * length, _norm(xp, low, 1))
    if max_growth is not None:
        norm = xp.minimum(norm, xp.where(last > 0, max_growth * last, xp.inf))
    factor = xp.asarray(scale * over(xp, norm, length), x.dtype)
    # A gradient of zero tells nothing of the next one.
    return factor[:, None, None] * x, mu, nu, xp.where(norm > 0, norm, last)


def _projection(xp: Any, x: Any, key: Any) -> Any:
    """Matrices times a random vector each, which adds up over the shorter side."""
    number, rows, columns = x.shape
    drawn = tree.random_like(key, xp.zeros((number, min(rows, columns)), x.dtype))
    if rows <= columns:
        return xp.einsum("ni,nij->nj", drawn, x)
    return xp.einsum("nij,nj->ni", x, drawn)


def _norm_of_matrices(xp: Any, x: Any) -> Any:
    """The norm of each matrix; of NumPy by the core, without an array of the matrix's size."""
    if xp is not np:
        return _norm(xp, x, (1, 2))
    return np.array([tree.norm(matrix) for matrix in x])


def _norm(xp: Any, x: Any, axes: int | tuple[int, int]) -> Any:
    """Norms, also where squares leave the dtype's range."""
    largest = xp.max(xp.abs(x), axis=axes, keepdims=True)
    is_in_range = (largest >= xp.finfo(x.dtype).tiny) & (largest < xp.inf)
    unit = xp.where(is_in_range, largest, 1.0)
    return xp.sqrt(total(xp, (x / unit) ** 2, axes)) * xp.squeeze(unit, axes)


@recorded
def scale_by_apollo_mini(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    scale: float = _SCALE,
    max_growth: float | None = 1.01,
    update_proj_gap: int = 200,
    seed: Any = 0,
    *,
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformationExtraArgs:
    r"""Rescale each matrix by one number, found by Adam on a random projection of rank one.

    .. math::
        r &= p^\top G \quad (r = G p \text{ where } G \text{ has more rows than columns}), \qquad
        p \sim \mathcal N(0, I) \\
        m' &= \beta_1 m + (1 - \beta_1) r, \qquad v' = \beta_2 v + (1 - \beta_2) r^2, \qquad
        \tilde r = \frac{m' / (1 - \beta_1^t)}{\sqrt{v' / (1 - \beta_2^t)} + \epsilon} \\
        n' &= \min\Big(\frac{\lVert \tilde r \rVert}{\lVert r \rVert} \lVert G \rVert,
            \gamma n\Big), \qquad u = \alpha \, n' \frac{G}{\lVert G \rVert}

    State is two numbers for each element of the longer side, next to nothing compared with Adam's
    two for each element of the matrix. The vector :math:`p` is drawn again from key and count in
    each step, so it is not stored; it changes every ``update_proj_gap`` steps, while moments stay.
    Bounding the growth of the update's norm by :math:`\gamma` keeps training steady where the
    projection says little: for matrices of low rank, norms can come out too large or too small by
    chance. Nothing bounds the first norm, so start with small learning rates.

    Args:
        b1: How much of the running mean of projected gradients each step keeps, :math:`\beta_1`. In
            [0, 1).
        b2: How much of the running mean of their squares each step keeps, :math:`\beta_2`. In [0,
            1).
        eps: Added to the root, not negative.
        scale: The factor :math:`\alpha`. The default is the root of 128; the authors' ``scale`` is
            its square. About the root of the shorter side makes updates as large as Adam's.
        max_growth: How much the norm of an update may grow in one step, :math:`\gamma`, at least 1;
            None for no bound. There is none before the first nonzero update.
        update_proj_gap: How many steps to keep a projection before a new one is drawn, at least 1.
        seed: An integer seed, a key of two uint32 or a JAX key, or a NumPy ``Generator`` or
            ``SeedSequence`` to draw a key from. The position of a leaf in the tree counts too.
        weight_dimension_numbers: A :class:`MuonDimensionNumbers` for each leaf with more than two
            axes, as for :func:`scale_by_muon`.

    Returns:
        A transformation with state :class:`ScaleByApolloMiniState`. It runs on NumPy.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.
        LeafValueError: A leaf is no matrix, and nothing says how it is made up.
        TreeError: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_apollo_mini()
        >>> grads = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 12.0]])
        >>> updates, state = tx.update(grads, tx.init(grads))
        >>> (13 * updates / np.linalg.norm(updates)).round(6)
        array([[ 3.,  4.,  0.],
               [ 0.,  0., 12.]])
        >>> state.nu.shape
        (1, 3)

    References:
        Zhu et al., `APOLLO: SGD-like Memory, AdamW-level Performance
        <https://arxiv.org/abs/2412.05270>`_, 2024; Chen et al., `Fira: Can We Achieve Full-rank
        Training of LLMs Under Low-rank Constraint? <https://arxiv.org/abs/2410.01623>`_, 2024, for
        the bound.
    """
    if not is_integer(update_proj_gap):
        raise TypeError(f"update_proj_gap must be an integer, got {update_proj_gap!r:.80}")
    real("update_proj_gap", update_proj_gap, at_least=1)
    hyper = {
        "b1": decay("b1", b1),
        "b2": decay("b2", b2),
        "eps": real("eps", eps, at_least=0),
        "scale": real("scale", scale),
        "max_growth": None if max_growth is None else real("max_growth", max_growth, at_least=1),
        "gap": number_of(update_proj_gap),
        "words": words_given(None, seed, _NAME),
        "axes": weight_dimension_numbers,
    }
    return by_tree(_init, _scale_by_apollo_mini, hyper, ("mu", "nu", "norm"))


@recorded
def apollo_mini(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    scale: float = _SCALE,
    max_growth: float | None = 1.01,
    update_proj_gap: int = 200,
    seed: Any = 0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    adam_learning_rate: ScalarOrSchedule | None = None,
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformationExtraArgs:
    """APOLLO-Mini for matrices, AdamW for all other parameters.

    Matrices get :func:`scale_by_apollo_mini`, :func:`gradmill.add_decayed_weights` and
    :func:`gradmill.scale_by_learning_rate`. A matrix of 1,000 rows and 4,000 columns has 32 kB of
    state in float32, where Adam keeps 32 MB and :func:`adam_mini` 16 MB. The authors leave
    embeddings and the last layer to AdamW; name the matrices in ``weight_dimension_numbers``.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        b1: How much of the running mean of gradients each step keeps. The mean spans about 1 / (1 -
            b1) steps: 0.9 is 10 steps. Higher is smoother and slower to turn. In [0, 1).
        b2: How much of the running mean of squared gradients each step keeps, over about 1 / (1 -
            b2) steps. Lower it (0.95 to 0.99) if loss spikes follow changes in gradient size. In
            [0, 1).
        eps: Added to roots, not negative.
        scale: A factor for the updates of matrices, as for :func:`scale_by_apollo_mini`.
        max_growth: How much the norm of an update may grow in one step, as a factor; None for no
            bound.
        update_proj_gap: How many steps to keep a projection before a new one is drawn, at least 1.
        seed: The seed of the projections, as for :func:`scale_by_apollo_mini`.
        weight_decay: How strongly all parameters are pulled towards zero, a number or a schedule,
            as in :func:`gradmill.adamw`.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.
        adam_learning_rate: The learning rate of the parameters that Adam updates; None for the same
            one.
        weight_dimension_numbers: A tree with a :class:`MuonDimensionNumbers` for each matrix, of
            two axes or more, and None for each other parameter; or a function of the parameters
            that returns one. None for all parameters with two axes.

    Returns:
        A partition into the labels "apollo_mini" and "adam", with state
        :class:`gradmill.PartitionState`. Its ``update`` needs ``params``. The first part runs on
        NumPy, the second natively.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.
        LeafValueError: A leaf cannot be seen as matrices.
        TreeError: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = {"w": np.ones((8, 6)), "b": np.ones(6)}
        >>> opt = gm.Optimizer(gm.contrib.apollo_mini(0.02), params)
        >>> for _ in range(100):
        ...     _ = opt.step({name: 2 * leaf for name, leaf in params.items()})
        >>> bool(np.abs(params["w"]).max() < 0.1)
        True

    References:
        Zhu et al., `APOLLO: SGD-like Memory, AdamW-level Performance
        <https://arxiv.org/abs/2412.05270>`_, 2024.
    """
    axes = weight_dimension_numbers
    matrices = chain(
        scale_by_apollo_mini(
            b1,
            b2,
            eps,
            scale,
            max_growth,
            update_proj_gap,
            seed,
            weight_dimension_numbers=axes,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    others = adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=mask)
    return partition(
        {"apollo_mini": matrices, "adam": others}, partial(labels_of, "apollo_mini", axes)
    )
