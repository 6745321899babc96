from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradmill._data.recorded import recorded
from gradmill._data.trees import Structure, flatten
from gradmill._data.types import EmptyState, is_transformation
from gradmill._plan.match import match
from gradmill._run.fresh import apart
from gradmill._run.transformation import GradientTransformation, GradientTransformationExtraArgs

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree, TransformationLike


def init_empty_state(params: PyTree) -> EmptyState:  # noqa: ARG001  (every init takes them)
    """Make the state of a transformation that remembers nothing.

    Args:
        params: The parameters, which are not used.

    Returns:
        ``EmptyState()``.

    Example:
        >>> import gradmill as gm
        >>> gm.init_empty_state({"w": 1.0})
        EmptyState()
    """
    return EmptyState()


@recorded
def stateless(f: Callable[[PyTree, PyTree | None], PyTree]) -> GradientTransformation:
    """Make a transformation from a function of updates and parameters.

    Args:
        f: Takes the tree of updates and the tree of parameters, or None where ``update`` was given
            none, and returns new updates. It must not write to either.

    Returns:
        A transformation with state ``EmptyState()``, written in Python.

    Raises:
        TypeError: ``f`` is not callable.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.stateless(lambda updates, params: {"w": updates["w"] + params["w"]})
        >>> tx.update({"w": np.ones(2)}, gm.EmptyState(), {"w": np.ones(2)})
        ({'w': array([2., 2.])}, EmptyState())
    """
    return _of_function("stateless", f, _apply)


@recorded
def stateless_with_tree_map(f: Callable[[Any, Any], Any]) -> GradientTransformation:
    """Make a transformation from a function of one leaf of the updates and its parameter.

    Args:
        f: Takes a leaf of the updates and that of the parameters, or None where ``update`` was
            given none, and returns the new leaf. It must not write to either. Leaves that are None
            stay so.

    Returns:
        A transformation with state ``EmptyState()``, written in Python. Its ``update`` raises a
        ``TreeError`` where parameters do not have the structure of the updates.

    Raises:
        TypeError: ``f`` is not callable.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.stateless_with_tree_map(lambda update, param: np.sign(update))
        >>> tx.update({"w": np.array([-3.0, 0.5]), "b": None}, gm.EmptyState())[0]
        {'w': array([-1.,  1.]), 'b': None}
    """
    return _of_function("stateless_with_tree_map", f, _apply_to_leaves)


@recorded
def with_extra_args_support(tx: TransformationLike) -> GradientTransformationExtraArgs:
    """Let a transformation be called with extra arguments, which it ignores.

    Args:
        tx: The transformation. It is called with updates, state and parameters.

    Returns:
        ``tx`` itself if it is a :class:`GradientTransformationExtraArgs`; else one that does the
        same, and that a chain fuses with its neighbours where it fuses ``tx``.

    Raises:
        TypeError: ``tx`` is not a transformation.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.with_extra_args_support(gm.scale(-1.0))
        >>> tx.update(np.ones(2), tx.init(np.zeros(2)), loss=0.5)[0]
        array([-1., -1.])
    """
    if isinstance(tx, GradientTransformationExtraArgs):
        return tx
    if not is_transformation(tx):
        raise TypeError(f"with_extra_args_support takes a transformation, got {tx!r}")
    update = partial(_without_extra, tx)
    return GradientTransformationExtraArgs(tx.init, update, getattr(tx, "description", None))


def _of_function(name: str, f: object, update: Callable[..., Any]) -> GradientTransformation:
    if not callable(f):
        raise TypeError(f"{name} takes a function, got {f!r}")
    return GradientTransformation(init_empty_state, partial(update, f))


# Parts of the transformations above: at the top of a module, so that they can be pickled.


def _apply(
    f: Callable[[PyTree, PyTree | None], PyTree],
    /,
    updates: PyTree,
    state: PyTree,  # noqa: ARG001  (every update takes one)
    params: PyTree | None = None,
) -> tuple[PyTree, EmptyState]:
    return apart(f(updates, params), (updates, params)), EmptyState()


def _apply_to_leaves(
    f: Callable[[Any, Any], Any],
    /,
    updates: PyTree,
    state: PyTree,  # noqa: ARG001  (it is empty)
    params: PyTree | None = None,
) -> tuple[PyTree, EmptyState]:
    leaves, treespec = flatten(updates)
    given: list[Any] = [None] * len(leaves)
    if params is not None:
        structure = Structure(treespec)
        given = match(params, structure, "params", "updates", blames_other=True).leaves
    pairs = zip(leaves, given, strict=True)
    new = [None if leaf is None else f(leaf, own) for leaf, own in pairs]
    return apart(treespec.unflatten(new), (updates, params)), EmptyState()


def _without_extra(
    tx: TransformationLike,
    /,
    updates: PyTree,
    state: PyTree,
    params: PyTree | None = None,
    **extra_args: Any,  # noqa: ARG001  (these are what is left out)
) -> tuple[PyTree, PyTree]:
    return tx.update(updates, state, params)
