"""Values in states, found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import optree

from gradmill.tree._paths import DictKey, GetAttrKey, NamedTupleKey, node_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradmill._data.types import PyTree
    from gradmill.tree._paths import Path

    Filter = Callable[[Path, Any], bool]

Pair: TypeAlias = "tuple[Path, Any]"
"""A path and the value there."""


def get_all_with_path(
    tree: PyTree, key: Any, filtering: Filter | None = None
) -> list[tuple[Path, Any]]:
    """All values in a tree that have a given name, with their paths.

    Args:
        tree: A tree, such as a state.
        key: A key of a mapping, the name of a field or an attribute, or the class of a NamedTuple.
        filtering: Called with a path and a value; returns whether to consider it.

    Returns:
        Pairs of path and value: first those that no node of the name stands above, then what is
        beneath the nodes that have these. A path is a tuple of
        ``tree_utils.DictKey``, ``SequenceKey``, ``GetAttrKey`` and ``NamedTupleKey``.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.adam(0.1).init({"w": np.zeros(2)})
        >>> for path, count in gm.tree.get_all_with_path(state, "count"):
        ...     print(path, count)
        (SequenceKey(idx=0), NamedTupleKey(tuple_name='ScaleByAdamState', name='count')) 0
    """
    found = _found(tree, key, ())
    return [pair for pair in found if filtering is None or filtering(*pair)]


def get(tree: PyTree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """The one value in a tree that has a given name, such as ``"mu"`` in a state.

    Args:
        tree: A tree, such as a state.
        key: A key of a mapping, the name of a field or an attribute, or the class of a NamedTuple.
        default: What to return if there is no such value.
        filtering: Called with a path and a value; returns whether to consider it.

    Returns:
        The value.

    Raises:
        KeyError: There is more than one.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.adam(0.1).init({"w": np.zeros(2)})
        >>> gm.tree.get(state, "mu")
        {'w': array([0., 0.])}
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        ways = ", ".join(f"tree{shown(path)}" for path, _ in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise KeyError(
            f"found several values of {key!r}: {ways}{more}; pass filtering to choose one"
        )
    return found[0][1] if found else default


def set(  # noqa: A001
    tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any
) -> PyTree:
    """Replace all values in a tree that have certain names.

    Args:
        tree: A tree, such as a state; it is not changed.
        filtering: Called with a path and a value; returns whether to replace it.
        kwargs: The new values by name, as for :func:`get_all_with_path`.

    Returns:
        The new tree; it shares everything else with the old one.

    Raises:
        KeyError: The tree has no value of one of the names.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> state = gm.sgd(0.1, momentum=0.9).init(np.zeros(2))
        >>> gm.tree.set(state, trace=np.ones(2))[0]
        TraceState(trace=array([1., 1.]))
    """
    for key in kwargs:
        if not get_all_with_path(tree, key, filtering):
            raise KeyError(f"found no value of {key!r} in the tree")
    return _with(tree, kwargs, filtering, ())


_NONE: Any = object()
"""The name of what has none."""


def _name(path: Path) -> Any:
    """The name of a value in its parent."""
    match path[-1]:
        case DictKey(name) | GetAttrKey(name) | NamedTupleKey(_, name):
            return name
    return _NONE


def _class_name(value: Any) -> Any:
    """The name of the class of a NamedTuple."""
    return type(value).__name__ if optree.is_namedtuple_instance(value) else _NONE


def _found(tree: PyTree, key: Any, path: Path, *, is_found: bool = False) -> Iterator[Pair]:
    """All values of a name, in optax's order; ``is_found`` if the tree is one of them already."""
    nodes = list(_holders(tree, key, path, is_found=is_found))
    for node in nodes:
        yield node.found
    for node in nodes:
        for at, child in node.children:
            yield from _found(child, key, at, is_found=at is node.found[0])


class _Holder(NamedTuple):
    """A node with a value of a name: a child, or itself by the name of its class."""

    found: Pair
    children: list[Pair]


def _holders(tree: PyTree, key: Any, path: Path, *, is_found: bool) -> Iterator[_Holder]:
    """The first of such nodes on each way into a tree."""
    node = node_of(tree)
    if node is None:
        return
    children = [
        ((*path, step), child) for step, child in zip(node.steps, node.children, strict=True)
    ]
    if not is_found and key == _class_name(tree):
        yield _Holder((path, tree), children)
        return
    named = [pair for pair in children if key == _name(pair[0])]
    if named:
        yield _Holder(named[0], children)
        return
    for at, child in children:
        yield from _holders(child, key, at, is_found=False)


def _with(tree: PyTree, values: dict[str, Any], filtering: Filter | None, path: Path) -> PyTree:
    for name in (_name(path) if path else _NONE, _class_name(tree)):
        if name in values and (filtering is None or filtering(path, tree)):
            return values[name]
    node = node_of(tree)
    if node is None:
        return tree
    pairs = zip(node.steps, node.children, strict=True)
    return node.build([_with(child, values, filtering, (*path, step)) for step, child in pairs])
