"""Paths through the nodes of a tree, under the names that JAX and optax have for their steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import optree

from gradmill._data.trees import flatten_one_level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.types import PyTree


@dataclass(frozen=True)
class DictKey:
    """The step to a value of a mapping.

    Attributes:
        key: The key.

    Example:
        >>> import gradmill as gm
        >>> str(gm.tree_utils.DictKey("w"))
        "['w']"
    """

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclass(frozen=True)
class SequenceKey:
    """The step to an item of a sequence.

    Attributes:
        idx: Its position.

    Example:
        >>> import gradmill as gm
        >>> str(gm.tree_utils.SequenceKey(1))
        '[1]'
    """

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


@dataclass(frozen=True)
class GetAttrKey:
    """The step to an attribute of a node.

    Attributes:
        name: The attribute.

    Example:
        >>> import gradmill as gm
        >>> str(gm.tree_utils.GetAttrKey("mu"))
        '.mu'
    """

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclass(frozen=True)
class NamedTupleKey:
    """The step to a field of a NamedTuple.

    Attributes:
        tuple_name: The name of its class.
        name: The field.

    Example:
        >>> import gradmill as gm
        >>> str(gm.tree_utils.NamedTupleKey("ScaleByAdamState", "mu"))
        'ScaleByAdamState.mu'
    """

    tuple_name: str
    name: str

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


Step: TypeAlias = "DictKey | SequenceKey | GetAttrKey | NamedTupleKey"
Path: TypeAlias = "tuple[Step, ...]"


class Node(NamedTuple):
    """A node of a tree, taken apart.

    Attributes:
        steps: The steps to its children.
        children: The children.
        build: Makes a node like it of other children.
    """

    steps: list[Step]
    children: list[Any]
    build: Callable[[Sequence[Any]], PyTree]


def node_of(tree: PyTree) -> Node | None:
    """The first node of a tree; None where that is a leaf, or None."""
    one = flatten_one_level(tree)
    if one is None:
        return None
    steps = [_step(tree, entry) for entry in one.entries]
    return Node(steps, one.children, lambda new: one.unflatten_func(one.metadata, new))


def _step(node: Any, entry: Any) -> Step:
    if optree.is_namedtuple_instance(node):
        return NamedTupleKey(type(node).__name__, node._fields[entry])
    if isinstance(node, Mapping):
        return DictKey(entry)
    if isinstance(entry, int):
        return SequenceKey(entry)
    return GetAttrKey(entry) if isinstance(entry, str) else DictKey(entry)


def shown(path: Path) -> str:
    """A path in words of errors."""
    return "".join(
        f".{step.name}" if isinstance(step, NamedTupleKey) else str(step) for step in path
    )
