from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.numbers import integer
from gradmill._data.recorded import recorded
from gradmill._data.trees import leaf_path
from gradmill._data.types import is_transformation
from gradmill._plan.scalars import next_count
from gradmill._run.fused import by_tree
from gradmill.contrib._matrices import Matrices, are_axes, axes_of, seen_as
from gradmill.contrib._numbers import zero_count
from gradmill.errors import LeafValueError
from gradmill.transforms import add_decayed_weights, scale_by_adam, scale_by_learning_rate
from gradmill.transforms._chain import chain
from gradmill.transforms._stateless import with_extra_args_support

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradmill._data.trees import Treespec
    from gradmill._data.types import Mask, PyTree, ScalarOrSchedule, TransformationLike
    from gradmill._run.transformation import GradientTransformationExtraArgs
    from gradmill.contrib._matrices import Axes

_NAME = "scale_by_galore"


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of a parameter are rows and which are columns; each axis is one or the other.

    Attributes:
        reduction_axis: The axis or axes that a layer sums over: the rows.
        output_axis: The axis or axes of its outputs: the columns.

    Example:
        >>> import gradmill as gm
        >>> gm.contrib.GaLoreDimensionNumbers(0, (1, 2))
        GaLoreDimensionNumbers(reduction_axis=0, output_axis=(1, 2))
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class GaLoreState(NamedTuple):
    """The state of :func:`scale_by_galore`.

    Attributes:
        count: Steps taken, a 0-d int32 array.
        base_optimizer_state: The state of the inner transformation, for matrices of low rank.
        projector: For each matrix the basis of the space that its gradients are projected on, in
            columns; of shape (0, 0) for other leaves.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.contrib.scale_by_galore(rank=2).init(np.zeros((5, 3)))
        >>> state.projector.shape, state.base_optimizer_state.mu.shape
        ((5, 2), (2, 3))
    """

    count: Any
    base_optimizer_state: Any
    projector: Any


class _Plane(NamedTuple):
    """How a leaf is seen as a matrix, and projected from its longer side.

    Attributes:
        matrix: Which axes are rows and columns.
        rank: The rank that is left.
    """

    matrix: Matrices
    rank: int

    @property
    def is_high(self) -> bool:
        """Whether it has at least as many rows as columns."""
        _, rows, columns = self.matrix.sizes
        return rows >= columns

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """That of the basis, and that of the projection."""
        _, rows, columns = self.matrix.sizes
        if self.is_high:
            return (rows, self.rank), (self.rank, columns)
        return (columns, self.rank), (rows, self.rank)

    def basis(self, xp: Any, leaf: Any, old: Any) -> Any:
        """The first singular vectors of the longer side, which point to where the old ones do."""
        matrix = self._of(xp, leaf)
        if xp is np and not (matrix.size and np.isfinite(matrix).all()):
            return xp.full(self.shapes[0], np.nan, leaf.dtype)
        left, _, right = xp.linalg.svd(matrix, full_matrices=False)
        new = left[:, : self.rank] if self.is_high else right[: self.rank].T
        return xp.where(xp.sum(old * new, axis=0) < 0, -new, new)

    def down(self, xp: Any, basis: Any, leaf: Any) -> Any:
        """The projection of a leaf."""
        matrix = self._of(xp, leaf)
        return basis.T @ matrix if self.is_high else matrix @ basis

    def up(self, xp: Any, basis: Any, low: Any, shape: tuple[int, ...]) -> Any:
        """The leaf of a shape that belongs to a projection."""
        matrix = basis @ low if self.is_high else low @ basis.T
        return self.matrix.back(xp, matrix, shape)

    def _of(self, xp: Any, leaf: Any) -> Any:
        return self.matrix.of(xp, leaf)[0]


class _Planes(NamedTuple):
    """The leaves of a tree, and for each how it is projected; None for one that is not."""

    leaves: list[Any]
    planes: list[_Plane | None]
    spec: Treespec

    def each(self, function: Callable[..., Any], *trees: PyTree) -> PyTree:
        """The tree of ``function(plane, leaf, ...)``, with None for a leaf that is None."""
        rows = [self.spec.flatten_up_to(tree) for tree in trees]
        columns = zip(self.planes, self.leaves, *rows, strict=True)
        return self.spec.unflatten(
            [
                None if leaf is None else function(plane, leaf, *rest)
                for plane, leaf, *rest in columns
            ]
        )


def _planes_of(axes: Axes, tree: PyTree, rank: int, name: str) -> _Planes:
    """How the leaves of a tree are projected.

    Raises:
        TreeError: ``axes`` has another structure.
        LeafValueError: A leaf does not have the axes that are listed.
    """
    leaves, given, spec = axes_of(axes, tree)
    planes: list[_Plane | None] = []
    for at, (leaf, own) in enumerate(zip(leaves, given, strict=True)):
        has_axes = leaf is not None and own is not None
        # What is said of all is said of those that can be matrices.
        if has_axes and axes is None:
            has_axes = leaf.ndim == 2
        elif has_axes and are_axes(axes):
            has_axes = leaf.ndim >= 2
        if not has_axes:
            planes.append(None)
            continue
        try:
            planes.append(_plane(leaf.shape, own, rank))
        except ValueError as error:
            raise LeafValueError(f"{leaf_path(spec, at, name)}: {error} ({_NAME})") from None
    return _Planes(leaves, planes, spec)


def _plane(shape: tuple[int, ...], axes: Any, rank: int) -> _Plane:
    if len(shape) < 2:
        raise ValueError(f"has {len(shape)} axes, but a matrix has two; pass None for it")
    matrix = seen_as(shape, axes)
    said = len(shape) - sum(1 if isinstance(own, int) else len(own) for own in axes)
    if said:
        raise ValueError(f"has axes that are neither rows nor columns in {axes}")
    return _Plane(matrix, min(rank, *matrix.sizes[1:]))


def _init(
    xp: Any, params: PyTree, *, base: TransformationLike, rank: int, axes: Axes, **_: Any
) -> GaLoreState:
    planes = _planes_of(axes, params, rank, "params")

    def projector(plane: _Plane | None, leaf: Any) -> Any:
        return xp.zeros((0, 0) if plane is None else plane.shapes[0], leaf.dtype)

    def low(plane: _Plane | None, leaf: Any) -> Any:
        return xp.zeros(leaf.shape if plane is None else plane.shapes[1], leaf.dtype)

    return GaLoreState(zero_count(xp), base.init(planes.each(low)), planes.each(projector))


def _scale_by_galore(
    xp: Any,
    updates: PyTree,
    state: GaLoreState,
    params: PyTree | None,  # noqa: ARG001  (formulas of trees have one signature)
    extra: Mapping[str, Any],
    *,
    base: TransformationLike,
    rank: int,
    gap: int,
    scale: float,
    axes: Axes,
) -> tuple[PyTree, GaLoreState]:
    planes = _planes_of(axes, updates, rank, "updates")
    is_due = integer(state.count) % gap == 0

    def basis(plane: _Plane | None, leaf: Any, old: Any) -> Any:
        if plane is None:
            return old
        return _either(xp, is_due, lambda: plane.basis(xp, leaf, old), lambda: old)

    def low(plane: _Plane | None, leaf: Any, basis: Any) -> Any:
        return leaf if plane is None else plane.down(xp, basis, leaf)

    def high(plane: _Plane | None, leaf: Any, basis: Any, low: Any) -> Any:
        return low if plane is None else scale * plane.up(xp, basis, low, leaf.shape)

    projector = planes.each(basis, state.projector)
    moves, base_state = base.update(
        planes.each(low, projector), state.base_optimizer_state, None, **extra
    )
    after = GaLoreState(next_count(state.count), base_state, projector)
    return planes.each(high, projector, moves), after


def _either(xp: Any, condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """What one of two functions returns, of which a program runs no more than one either."""
    if xp is np:
        return then() if condition else otherwise()
    from jax import lax  # noqa: PLC0415  (JAX need not be installed)

    return lax.cond(condition, then, otherwise)


@recorded
def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: TransformationLike | None = None,
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformationExtraArgs:
    r"""Run an optimizer on low-rank projections of gradients, where its state takes less memory.

    .. math::
        u = \alpha \, P \, \mathrm{base}(P^\top G) \quad (m \ge n), \qquad
        u = \alpha \, \mathrm{base}(G P) \, P^\top \quad (m < n)

    :math:`P` holds the leading singular vectors of a gradient with :math:`m` rows and :math:`n`
    columns. It is recomputed now and then, with the signs that turn it least. For large layers:
    with Adam inside, state has :math:`r (m + 2 n)` numbers instead of :math:`2 m n`.

    Args:
        rank: The rank :math:`r` of the projection, at least 1, at most the shorter side: how many
            directions of each matrix's gradient the optimizer sees. State shrinks in proportion.
        update_proj_gap: How many steps to keep a projection before it is computed again, at least
            1; the paper uses 200.
        scale: The factor :math:`\alpha` for matrices.
        base_optimizer: The optimizer in the small space; it sees no parameters. None for
            :func:`scale_by_adam`.
        weight_dimension_numbers: Which leaves are matrices, and how: None for those with two axes;
            a :class:`GaLoreDimensionNumbers` for all with two or more; or a tree of these with the
            structure of the parameters or of its upper part, with None for leaves that are not
            matrices, or a function of parameters and updates that returns such a tree.

    Returns:
        A transformation with state :class:`GaLoreState`. It runs on NumPy, the one inside as it
        does by itself. Singular vectors come from NumPy's LAPACK, on which their first signs and
        last bits depend. Other leaves pass through the inner transformation as they are.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.
        LeafValueError: A leaf does not have the axes that are listed.
        TreeError: ``weight_dimension_numbers`` has another structure.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.contrib.scale_by_galore(rank=1, base_optimizer=gm.scale(1.0))
        >>> grads = np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> updates, _ = tx.update(grads, tx.init(grads))
        >>> updates[0, 0].round(6), bool(np.abs(updates[1:]).max() < 1e-9)
        (np.float64(3.0), True)

    References:
        Zhao et al., `GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection
        <https://arxiv.org/abs/2403.03507>`_, 2024.
    """
    base = scale_by_adam() if base_optimizer is None else base_optimizer
    if not is_transformation(base):
        raise TypeError(f"{_NAME} takes a transformation, got {base!r:.80}")
    for name, value in (("rank", rank), ("update_proj_gap", update_proj_gap)):
        if not is_integer(value):
            raise TypeError(f"{name} must be an integer, got {value!r:.80}")
        real(name, value, at_least=1)
    hyper = {
        "base": with_extra_args_support(base),
        "rank": number_of(rank),
        "gap": number_of(update_proj_gap),
        "scale": real("scale", scale),
        "axes": weight_dimension_numbers,
    }
    return by_tree(_init, _scale_by_galore, hyper, ("projector",))


@recorded
def galore(
    learning_rate: ScalarOrSchedule,
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: float = 1.0,
    base_optimizer: TransformationLike | None = None,
    weight_decay: float = 0.0,
    mask: Mask | None = None,
    weight_dimension_numbers: PyTree | Callable[[PyTree], PyTree] | None = None,
) -> GradientTransformationExtraArgs:
    """GaLore: Adam, or another transformation, on low-rank projections of matrices.

    :func:`scale_by_galore`, then :func:`add_decayed_weights` and :func:`scale_by_learning_rate`.

    Args:
        learning_rate: A number, or a schedule that maps the step count (from 0) to one.
        rank: The rank of the projection, at least 1: how many directions of each matrix's gradient
            the optimizer sees. State shrinks in proportion.
        update_proj_gap: How many steps to keep a projection before it is computed again, at least
            1; the paper uses 200.
        scale: A factor for the updates of matrices; the paper uses 0.25.
        base_optimizer: The optimizer in the small space; it sees no parameters. None for
            :func:`scale_by_adam`.
        weight_decay: How strongly parameters are pulled towards zero: this multiple of them is
            added to the update before the learning rate.
        mask: Which leaves decay; see :func:`add_decayed_weights`. Biases and the scales of
            normalization layers are usually left out: ``lambda path, leaf: leaf.ndim > 1``.
        weight_dimension_numbers: Which leaves are matrices, as for :func:`scale_by_galore`.

    Returns:
        A chain whose first state is a :class:`GaLoreState`, and whose ``update`` needs ``params``.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of bounds or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params = {"w": np.ones((8, 6)), "b": np.ones(6)}
        >>> opt = gm.Optimizer(gm.contrib.galore(0.1, rank=2), params)
        >>> for _ in range(30):
        ...     _ = opt.step({name: 2 * leaf for name, leaf in params.items()})
        >>> bool(np.abs(params["w"]).max() < 0.5)
        True

    References:
        Zhao et al., `GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection
        <https://arxiv.org/abs/2403.03507>`_, 2024.
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
