from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill import tree
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten, tree_map
from gradmill._ops.common import average, correction, root
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._matrices import each_matrix, labels_of
from gradmill.contrib._numbers import branch, decay, zero_count
from gradmill.optimizers import adamw
from gradmill.transforms import add_decayed_weights, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._masking import partition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule
    from gradmill._run.transformation import GradientTransformationExtraArgs
    from gradmill.contrib._matrices import Axes, Matrices

_SLOTS = ("mu", "nu", "left", "right", "left_basis", "right_basis")


class ScaleBySoapState(NamedTuple):
    """The state of :func:`scale_by_soap`.

    Factors and bases hold one square matrix per matrix, for its rows or its columns; its side is 0
    where that dimension is too long.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        mu: First moments, a tree like the parameters.
        nu: Second moments in the bases, a tree like the parameters.
        left: Averages of products of rows, a tree like the parameters.
        right: Averages of products of columns, a tree like the parameters.
        left_basis: Their eigenvectors, a tree like the parameters.
        right_basis: The same for columns.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.contrib.scale_by_soap().init(np.zeros((2, 3))).right_basis.shape
        (1, 3, 3)
    """

    count: Any
    mu: Any
    nu: Any
    left: Any
    right: Any
    left_basis: Any
    right_basis: Any


def _init(
    xp: Any, params: PyTree, *, axes: Axes, max_precondition_dim: float, **_: Any
) -> ScaleBySoapState:
    def squares(side: int, start: Callable[..., Any]) -> PyTree:
        def square(leaf: Any, matrices: Matrices) -> Any:
            number, size = matrices.sizes[0], matrices.sizes[side]
            size = size if size <= max_precondition_dim else 0
            return xp.zeros((number, size, size), leaf.dtype) + start(size, dtype=leaf.dtype)

        return each_matrix("scale_by_soap", axes, params, square)

    return ScaleBySoapState(
        count=zero_count(xp),
        mu=tree.zeros_like(params),
        nu=tree.zeros_like(params),
        left=squares(1, _nothing),
        right=squares(2, _nothing),
        left_basis=squares(1, xp.eye),
        right_basis=squares(2, xp.eye),
    )


def _nothing(size: int, dtype: Any) -> float:  # noqa: ARG001  (in the place of `xp.eye`)
    return 0.0


class _Sides(NamedTuple):
    """What belongs to rows and what to columns."""

    left: Any
    right: Any


def _scale_by_soap(
    xp: Any,
    updates: PyTree,
    state: ScaleBySoapState,
    params: PyTree | None,  # noqa: ARG001  (formulas of trees have one signature)
    extra: Mapping[str, Any],  # noqa: ARG001  (formulas of trees have one signature)
    *,
    axes: Axes,
    precondition_frequency: int,
    max_precondition_dim: int,  # noqa: ARG001  (the state's shapes say it)
    **hyper: Any,
) -> tuple[PyTree, ScaleBySoapState]:
    count = integer(state.count)
    # The first step only looks for bases: the next one is Adam's first.
    step: Callable[..., Any] = partial(
        _step,
        xp,
        is_first=count == 0,
        steps=count + (count == 0) * 1.0,
        is_due=count % precondition_frequency == 0,
        **hyper,
    )
    trees = [getattr(state, name) for name in _SLOTS]
    rows = zip(*(filter(_is_there, flatten(slot)[0]) for slot in trees), strict=True)
    made: list[tuple[Any, ...]] = []

    def one(leaf: Any, matrices: Matrices) -> Any:
        mu, nu, *rest = next(rows)
        g, mu, nu = (matrices.of(xp, array) for array in (leaf, mu, nu))
        u, mu, nu, factors, bases = step(g, mu, nu, _Sides(*rest[:2]), _Sides(*rest[2:]))
        u, mu, nu = (matrices.back(xp, array, leaf.shape) for array in (u, mu, nu))
        made.append((mu, nu, *factors, *bases))
        return u

    new = each_matrix("scale_by_soap", axes, updates, one)
    slots = {name: _tree(updates, [row[at] for row in made]) for at, name in enumerate(_SLOTS)}
    return new, state._replace(count=next_count(state.count), **slots)


def _is_there(leaf: Any) -> bool:
    return leaf is not None


def _tree(like: PyTree, leaves: list[Any]) -> PyTree:
    rest = iter(leaves)
    return tree_map(lambda _: next(rest), like)


def _step(
    xp: Any,
    g: Any,
    mu: Any,
    nu: Any,
    factors: _Sides,
    bases: _Sides,
    *,
    is_first: Any,
    steps: Any,
    is_due: Any,
    b1: float,
    b2: float,
    shampoo_beta: float,
    eps: float,
) -> tuple[Any, Any, Any, _Sides, _Sides]:
    """The update of matrices, their moments, and what they are seen in."""
    if g.size == 0:
        return g, mu, nu, factors, bases

    def grown(factor: Any, rows: Any) -> Any:
        product = rows @ _turned(xp, rows)
        return _if_finite(xp, average(shampoo_beta, factor, product), factor)

    factors = _each_side(grown, factors, _Sides(g, _turned(xp, g)))

    def first(mu: Any, nu: Any, bases: _Sides) -> tuple[Any, ...]:
        return 0.0 * g, mu, nu, _each_side(partial(_eigenvectors, xp), factors, bases)

    def later(mu: Any, nu: Any, bases: _Sides) -> tuple[Any, ...]:
        mu, seen = average(b1, mu, g), _into(xp, g, bases)
        nu = average(b2, nu, seen * seen)
        size = root(xp, nu / correction(b2, steps), 0.0, eps)
        u = _out_of(xp, _into(xp, mu, bases) / correction(b1, steps) / size, bases)
        refresh = partial(_each_side, partial(_refreshed, xp), factors)
        return u, mu, nu, branch(is_due, refresh, lambda bases: bases, bases)

    u, mu, nu, bases = branch(is_first, first, later, mu, nu, bases)
    return u, mu, nu, factors, bases


def _turned(xp: Any, matrices: Any) -> Any:
    return xp.swapaxes(matrices, 1, 2)


def _into(xp: Any, x: Any, bases: _Sides) -> Any:
    """Matrices as they are in the bases."""
    x = _turned(xp, bases.left) @ x if bases.left.size else x
    return x @ bases.right if bases.right.size else x


def _out_of(xp: Any, x: Any, bases: _Sides) -> Any:
    """The matrices that are these in the bases."""
    x = bases.left @ x if bases.left.size else x
    return x @ _turned(xp, bases.right) if bases.right.size else x


def _each_side(function: Callable[..., Any], factors: _Sides, others: _Sides) -> _Sides:
    """What a function makes of both sides; of one that has no factor, nothing, as that is."""
    pairs = zip(factors, others, strict=True)
    left, right = (function(*pair) if pair[0].size else pair[0] for pair in pairs)
    return _Sides(left, right)


def _eigenvectors(xp: Any, factor: Any, basis: Any) -> Any:
    """Those of the largest eigenvalues first, which iterations leave in this order."""
    return _if_finite(xp, xp.linalg.eigh(_if_finite(xp, factor, 0.0))[1][..., ::-1], basis)


def _refreshed(xp: Any, factor: Any, basis: Any) -> Any:
    """One step of an orthogonal iteration."""
    return _if_finite(xp, xp.linalg.qr(_if_finite(xp, factor @ basis, 0.0))[0], basis)


def _if_finite(xp: Any, new: Any, old: Any) -> Any:
    """Each matrix, or the old one where an element is infinite or NaN."""
    return xp.where(xp.all(xp.isfinite(new), axis=(1, 2), keepdims=True), new, old)


@recorded
def scale_by_soap(
    b1: float = 0.95,
    b2: float = 0.95,
    shampoo_beta: float | None = None,
    eps: float = 1e-8,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10_000,
    *,
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformationExtraArgs:
    r"""Rescale matrices as Adam does, in the basis in which Shampoo would precondition them.

    .. math::
        m' &= \beta_1 m + (1 - \beta_1) g, \qquad
        v' = \beta_2 v + (1 - \beta_2) (Q_L^\top g \, Q_R)^2, \qquad
        u = Q_L \frac{Q_L^\top m' Q_R / (1 - \beta_1^t)}{\sqrt{v' / (1 - \beta_2^t)} + \epsilon}
            \, Q_R^\top \\
        L' &= \beta L + (1 - \beta) g g^\top, \qquad
        R' = \beta R + (1 - \beta) g^\top g, \qquad
        Q' = \operatorname{QR}(L' Q) \text{ for both sides, every } f \text{ steps}

    The first step finds the eigenvectors of :math:`L` and :math:`R`, and its update is zero;
    :math:`t` counts from the second. Use it for matrices of moderate size whose gradients are
    correlated along rows or columns: it then needs fewer steps than Adam. A step costs a few matrix
    products, and state for :math:`m` rows and :math:`n` columns is :math:`2 m n + 2 m^2 + 2 n^2`
    numbers.

    Args:
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. In [0,
            1).
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        shampoo_beta: How much of the factors each step keeps, :math:`\beta`, in [0, 1); None for
            ``b2``.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        precondition_frequency: How many steps :math:`f` to keep the eigenbases before they are
            refreshed, at least 1. Rarer is cheaper and slower to learn.
        max_precondition_dim: A side with more rows or columns than this is not rotated, which
            bounds time and memory for embeddings. With 0 this is Adam, one step later.
        weight_dimension_numbers: A :class:`MuonDimensionNumbers` for each leaf with more than two
            axes, as for :func:`scale_by_muon`.

    Returns:
        A transformation with state :class:`ScaleBySoapState`. It runs on NumPy: products and bases
        are those of its BLAS and LAPACK, and depend on them in their last bits. It does not change
        the sign.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.
        LeafValueError: A leaf is not a matrix, and nothing says which of its axes are rows and
            columns.
        TreeError: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_soap()
        >>> grads = np.array([[3.0, 2.0], [2.0, 3.0]])  # 5 along (1, 1), 1 along (1, -1)
        >>> state = tx.init(grads)
        >>> for _ in range(2):
        ...     updates, state = tx.update(grads, state)
        >>> abs(updates).round(6)
        array([[1., 0.],
               [0., 1.]])

    References:
        Vyas et al., `SOAP: Improving and Stabilizing Shampoo using Adam
        <https://arxiv.org/abs/2409.11321>`_, 2024.
    """
    counts = {
        "precondition_frequency": (precondition_frequency, 1),
        "max_precondition_dim": (max_precondition_dim, 0),
    }
    for name, (value, least) in counts.items():
        if not is_integer(value):
            raise TypeError(f"{name} must be an integer, got {value!r:.80}")
        real(name, value, at_least=least)
    hyper = {
        "b1": decay("b1", b1),
        "b2": decay("b2", b2),
        "shampoo_beta": decay("shampoo_beta", b2 if shampoo_beta is None else shampoo_beta),
        "eps": real("eps", eps, at_least=0),
        "precondition_frequency": number_of(precondition_frequency),
        "max_precondition_dim": number_of(max_precondition_dim),
        "axes": weight_dimension_numbers,
    }
    return by_tree(_init, _scale_by_soap, hyper, _SLOTS)


@recorded
def soap(
    learning_rate: ScalarOrSchedule,
    b1: float = 0.95,
    b2: float = 0.95,
    shampoo_beta: float | None = None,
    eps: float = 1e-8,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10_000,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformationExtraArgs:
    r"""SOAP for matrices, AdamW for all other parameters.

    Matrices get :func:`scale_by_soap`, :func:`gradmill.add_decayed_weights` and
    :func:`gradmill.scale_by_learning_rate`. Other parameters get Adam with the same
    hyperparameters.

    Args:
        learning_rate: A number or a schedule; the paper uses 3e-3, higher than usual for AdamW.
        b1: How much of the running mean of gradients each step keeps. The mean spans about
            ``1 / (1 - b1)`` steps: 0.9 is 10 steps. Higher is smoother and slower to turn. In [0,
            1).
        b2: How much of the running mean of squared gradients each step keeps, over about
            ``1 / (1 - b2)`` steps. Lower it (0.95 to 0.99) if loss spikes follow changes in
            gradient size. In [0, 1).
        shampoo_beta: How much of the running means of :math:`G G^\top` and :math:`G^\top G` each
            step keeps, in [0, 1); None for ``b2``.
        eps: Added to the root in the denominator, so that parameters with tiny gradients do not
            take huge steps. Not negative.
        precondition_frequency: How many steps to keep the eigenbases before they are refreshed, at
            least 1. The paper uses 10: rarer is cheaper and slower to learn.
        max_precondition_dim: A side with more rows or columns than this is not rotated, which
            bounds time and memory for embeddings.
        weight_decay: How strongly parameters are pulled towards zero, a number or a schedule. A
            step subtracts this multiple of the parameters, times the learning rate: with 0.1 and a
            rate of 1e-3, one part in 10,000.
        mask: Which leaves decay; see :func:`gradmill.add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.
        weight_dimension_numbers: A tree with a :class:`MuonDimensionNumbers` for each matrix, of
            two axes or more, and None for each other parameter; or a function of the parameters
            that returns one. None for all parameters with two axes.

    Returns:
        A partition into the labels "soap" and "adam", with state :class:`gradmill.PartitionState`.
        Its ``update`` needs ``params``. The first part runs on NumPy, the second natively. The
        first step leaves matrices as they are, but for their decay.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.
        LeafValueError: A leaf cannot be split into matrices.
        TreeError: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = {"w": np.zeros((2, 2)), "b": np.zeros(2)}
        >>> opt = gm.Optimizer(gm.contrib.soap(0.1), params)
        >>> for _ in range(2):
        ...     _ = opt.step({"w": np.array([[3.0, 2.0], [2.0, 3.0]]), "b": np.ones(2)})
        >>> (params["w"] + 0.1 * np.eye(2)).round(6) + 0.0, params["b"].round(6)
        (array([[0., 0.],
               [0., 0.]]), array([-0.2, -0.2]))

    References:
        Vyas et al., `SOAP: Improving and Stabilizing Shampoo using Adam
        <https://arxiv.org/abs/2409.11321>`_, 2024.
    """
    axes = weight_dimension_numbers
    matrices = chain(
        scale_by_soap(
            b1,
            b2,
            shampoo_beta,
            eps,
            precondition_frequency,
            max_precondition_dim,
            weight_dimension_numbers=axes,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
    others = adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=mask)
    return partition({"soap": matrices, "adam": others}, partial(labels_of, "soap", axes))
