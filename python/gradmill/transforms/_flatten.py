from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.arrays import as_native
from gradmill._data.recorded import recorded
from gradmill._data.trees import flatten as flatten_tree
from gradmill._data.trees import leaf_path
from gradmill._data.types import is_transformation
from gradmill._plan.align import hint_for
from gradmill._plan.spec import Flattened
from gradmill._run.frame import Framer
from gradmill._run.transformation import GradientTransformationExtraArgs
from gradmill.errors import LeafTypeError, LeafValueError
from gradmill.transforms._stateless import with_extra_args_support

if TYPE_CHECKING:
    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree, TransformationLike


@recorded
def flatten(inner: TransformationLike) -> GradientTransformationExtraArgs:
    """Apply a transformation to all leaves joined into one vector.

    What the transformation would measure leaf by leaf, such as a norm, it measures over the whole
    tree. A vector has one dtype, so updates come back in the widest dtype among the leaves.

    Args:
        inner: The transformation.

    Returns:
        A transformation whose state is that of ``inner`` for a vector. It copies the leaves in each
        step, in Python, so use it only for what cannot be computed leaf by leaf.

    Raises:
        TypeError: ``inner`` is not a transformation.
        ValueError: From ``init`` and ``update``: the tree has no leaves.
        LeafTypeError: From ``init`` and ``update``: a leaf is not an array of floats.
        LeafValueError: From ``update``: a leaf does not have the shape of its parameter.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.flatten(gm.clip_by_block_rms(1.0))
        >>> grads = [np.array([3.0]), np.array([3.0])]
        >>> tx.update(grads, tx.init(grads))[0]
        [array([1.]), array([1.])]
    """
    if not is_transformation(inner):
        raise TypeError(f"flatten takes a transformation, got {inner!r}")
    tx = with_extra_args_support(inner)
    return GradientTransformationExtraArgs(partial(_init, tx), partial(_update, tx), Flattened(tx))


# At the top of the module, so that they can be pickled.


def _init(tx: TransformationLike, /, params: PyTree) -> PyTree:
    return tx.init(_joined(*flatten_tree(params), "params")[0])


def _update(
    tx: TransformationLike,
    /,
    updates: PyTree,
    state: PyTree,
    params: PyTree | None = None,
    **extra_args: Any,
) -> tuple[PyTree, PyTree]:
    frame = Framer()(updates, params, needs_params=True)
    treespec = frame.structure.spec
    vector, shapes = _joined(frame.updates.leaves, treespec, "updates")
    given = None
    if frame.params is not None:
        given, of_params = _joined(frame.params, treespec, "params")
        _check_shapes(shapes, of_params, treespec)
    new, state = tx.update(vector, state, given, **extra_args)
    return frame.updates.rebuild(_split(new, shapes)), state


def _joined(
    leaves: list[Any], treespec: Treespec, name: str
) -> tuple[Any, list[tuple[int, ...] | None]]:
    arrays = []
    for index, leaf in enumerate(leaves):
        try:
            arrays.append(None if leaf is None else as_native(leaf))
        except TypeError as error:
            path = leaf_path(treespec, index, name)
            raise LeafTypeError(f"{path}: {error} (flatten){hint_for(leaf)}") from None
    parts = [array.ravel() for array in arrays if array is not None]
    if not parts:
        raise ValueError(f"flatten: {name} has no leaf")
    return np.concatenate(parts), [None if a is None else a.shape for a in arrays]


def _check_shapes(
    of_updates: list[tuple[int, ...] | None],
    of_params: list[tuple[int, ...] | None],
    treespec: Treespec,
) -> None:
    for index, (ours, theirs) in enumerate(zip(of_updates, of_params, strict=True)):
        if ours != theirs:
            path = leaf_path(treespec, index, "updates")
            raise LeafValueError(f"{path}: shape {ours}, params has {theirs} (flatten)")


def _split(vector: Any, shapes: list[tuple[int, ...] | None]) -> list[Any]:
    leaves: list[Any] = []
    start = 0
    for shape in shapes:
        if shape is None:
            leaves.append(None)
            continue
        end = start + int(np.prod(shape))
        leaves.append(vector[start:end].reshape(shape))
        start = end
    return leaves
