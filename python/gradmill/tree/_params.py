"""The parts of a state that correspond to parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.trees import flatten
from gradmill._plan.align import Difference, align, words
from gradmill._plan.layout import layout_of, links_of
from gradmill._plan.states import init_link
from gradmill.errors import TreeError
from gradmill.tree._paths import node_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill.tree._paths import Path


class _Params(NamedTuple):
    """Stands for all parameters; maps over trees find no leaf in it."""


_PARAMS = _Params()


def map_params(
    initable: TransformationLike | Callable[[PyTree], PyTree],
    f: Callable[..., Any],
    state: PyTree,
    /,
    *rest: PyTree,
    transform_non_params: Callable[[Any], Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """Apply a function to all leaves of a state that correspond to parameters.

    Args:
        initable: The transformation whose state it is, or its ``init``.
        f: Called with a leaf of the state and the leaves of ``rest`` for the same parameter.
        state: The state.
        rest: Trees with the structure of the parameters.
        transform_non_params: Called with every other leaf of the state, such as a count; None to
            leave these as they are.
        is_leaf: Says whether to treat a node, such as a ``MaskedNode``, as a leaf.

    Returns:
        The new state.

    Raises:
        TreeError: ``state`` does not belong to this transformation, or a tree in ``rest`` does not
            have the structure of the parameters.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.adam(0.1)
        >>> state = tx.init({"w": np.zeros(2)})
        >>> names = gm.tree.map_params(tx, lambda _, name: name, state, {"w": "of w"})
        >>> names[0]
        ScaleByAdamState(count=array(0, dtype=int32), mu={'w': 'of w'}, nu={'w': 'of w'})
    """
    return _Mapping(f, rest, transform_non_params, is_leaf).over(_pattern(initable), state, ())


def _pattern(initable: Any) -> PyTree:
    """A state with a placeholder for each tree that is made like the parameters."""
    owner: Any = initable if hasattr(initable, "init") else getattr(initable, "__self__", None)
    if getattr(owner, "description", None) is None:
        return getattr(initable, "init", initable)(_PARAMS)
    # Masks and labels have to fit parameters; link by link they do not matter.
    return layout_of(owner).join(init_link(link, _PARAMS) for link in links_of(owner))


class _Mapping(NamedTuple):
    function: Callable[..., Any]
    rest: tuple[PyTree, ...]
    other: Callable[[Any], Any] | None
    is_leaf: Callable[[Any], bool] | None

    def over(self, pattern: PyTree, state: PyTree, path: Path) -> PyTree:
        """What the state becomes, or a part of it."""
        if type(pattern) is _Params:
            return self.over_params(state, path)
        like, node = node_of(pattern), node_of(state)
        if like is None and node is None:
            return state if self.other is None or state is None else self.other(state)
        if like is None or node is None or like.steps != node.steps:
            raise TreeError(
                f"state{shown(path)}: does not belong to this transformation (map_params)"
            )
        rows = zip(node.steps, like.children, node.children, strict=True)
        return node.build([self.over(one, child, (*path, step)) for step, one, child in rows])

    def over_params(self, tree: PyTree, path: Path) -> PyTree:
        """What a tree that is made like the parameters becomes."""
        leaves, spec = flatten(tree, self.is_leaf)
        columns = [self.aligned(at, spec, leaves, path) for at in range(len(self.rest))]
        new = [
            None if leaf is None else self.function(leaf, *(column[at] for column in columns))
            for at, leaf in enumerate(leaves)
        ]
        return spec.unflatten(new)

    def aligned(self, at: int, spec: Any, leaves: list[Any], path: Path) -> list[Any]:
        """The leaves of a tree of ``rest`` in the order of a part of the state."""
        given, own = flatten(self.rest[at])
        found = align(spec, own, holes=True, prefix=False)
        if isinstance(found, Difference):
            name = f"state{shown(path)}"
            raise TreeError(words(found.turned(), f"rest[{at}]", name, given, leaves))
        column: list[Any] = [None] * len(leaves)
        for leaf, place in zip(given, found.leaves, strict=True):
            if place >= 0:
                column[place] = leaf
        return column
