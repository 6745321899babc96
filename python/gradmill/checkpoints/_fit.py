"""Trees of a checkpoint in the structure of others, and how the two differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.arrays import as_array
from gradmill.checkpoints._arrays import dtype_of, name_of
from gradmill.checkpoints._keys import by_decoded
from gradmill.checkpoints._source import NUMBERS, Source, Stored
from gradmill.checkpoints._structure import Held, Node, Other, leaves_of, take_apart, words
from gradmill.errors import LeafTypeError, LeafValueError, TreeError

if TYPE_CHECKING:
    from gradmill._data.types import PyTree
    from gradmill.checkpoints._header import Entry

MOST = 8
"""Differences that an error lists."""

UNLIKE = object()
"""Stands for a leaf that does not take the place of another."""


class Expected(NamedTuple):
    """What an array has to be.

    Attributes:
        shape: Its shape.
        dtype: Its dtype, in any byte order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def is_met_by(self, entry: Entry) -> bool:
        """Whether an array of a file is that."""
        return (entry.shape, entry.dtype) == (self.shape, name_of(self.dtype))


class Fit:
    """Brings trees into the structure of others, and gathers where they differ.

    Args:
        source: The file that the trees are in.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._file = source, source.file
        self._structure: list[str] = []
        self._arrays: list[str] = []

    def tree(self, name: str, like: PyTree) -> PyTree:
        """A tree of the file in the structure of ``like``, with :class:`Stored` for its arrays.

        Raises:
            TreeError: There is none of that name, or ``like`` has keys that are the same in a file.
            LeafTypeError: A leaf of ``like`` offers an array and then gives none.
        """
        trees = self._source.header.trees
        if name not in trees:
            raise TreeError(
                f"{name}: {self._file} has no such tree; it has {', '.join(trees) or 'none'}"
            )
        return self._node(trees[name], like, name)

    def refuse(self, name: str) -> None:
        """Take it for a difference if the file has a tree of that name."""
        trees = self._source.header.trees
        if name in trees:
            self._only_here(trees[name], name)

    def check(self) -> None:
        """See that nothing differed.

        Raises:
            TreeError: A leaf is missing, too much, or of another kind.
            LeafValueError: An array has another shape or dtype.
        """
        if self._structure:
            raise TreeError(_in_lines(self._structure))
        if self._arrays:
            raise LeafValueError(_in_lines(self._arrays))

    def _node(self, node: Any, like: PyTree, path: str) -> PyTree:
        taken = take_apart(like)
        if taken is None and not isinstance(node, Node):
            return self._leaf(node, like, path)
        if taken is None or not isinstance(node, Node) or not _are_alike(node, taken.node):
            self._unlike(path, node, like if taken is None else taken.node)
            return like
        own = taken.node
        keys = by_decoded(own.children, path)
        for key, child in node.children.items():
            if key not in keys:
                self._only_here(child, path + node.step(key))
        children = []
        for plain, key in keys.items():
            child, there = own.children[key], path + own.step(key)
            if plain in node.children:
                child = self._node(node.children[plain], child, there)
            else:
                lost = [f"{leaf}: missing in {self._file}" for leaf, _ in leaves_of(child, there)]
                self._structure += lost
            children.append(child)
        return taken.build(children)

    def _leaf(self, node: Any, like: Any, path: str) -> Any:
        """A leaf of the file, in the place of ``like``."""
        try:
            expected = _array_of(like)
        except TypeError as error:
            raise LeafTypeError(f"{path}: {error}") from None
        if isinstance(node, Other):
            found = like if type(like).__name__ == node.kind else UNLIKE
        elif isinstance(node, Held):
            found = self._array(node, like, expected, path)
        else:
            found = _constant(node, like, expected)
        if found is UNLIKE:
            self._unlike(path, node, like)
            return like
        return found

    def _array(self, held: Held, like: Any, expected: Expected | None, path: str) -> Any:
        """An array of the file, in the place of ``like``."""
        entry = self._source.header.arrays[held.name]
        if expected is None and not _is_number(entry, like):
            return UNLIKE
        if expected is not None and not expected.is_met_by(entry):
            self._arrays.append(
                f"{path}: {entry.dtype} of shape {entry.shape} in {self._file},"
                f" expected {expected.dtype.name} of shape {expected.shape}"
            )
        return Stored(self._source, held.name, path, like)

    def _unlike(self, path: str, node: Any, own: Any) -> None:
        self._structure.append(f"{path}: {words(node)} in {self._file}, expected {words(own)}")

    def _only_here(self, node: Any, path: str) -> None:
        self._structure += [
            f"{leaf}: is in {self._file} and not expected" for leaf, _ in leaves_of(node, path)
        ]


def _are_alike(node: Node, own: Node) -> bool:
    """Whether two containers are of one kind; those with names for fields, of one name."""
    return node.kind == own.kind and (node.kind != "fields" or node.name == own.name)


def _array_of(like: Any) -> Expected | None:
    """The shape and dtype of a leaf that is an array or stands for one, None for others.

    Raises:
        TypeError: It offers an array and then gives none.
    """
    dtype, shape = getattr(like, "dtype", None), getattr(like, "shape", None)
    if isinstance(dtype, np.dtype) and shape is not None:
        return Expected(tuple(shape), dtype)
    if not hasattr(like, "__array__"):
        return None
    array = as_array(like)
    return Expected(array.shape, array.dtype)


def _is_number(entry: Entry, like: Any) -> bool:
    """Whether an array is a number of the class of ``like``, or one that this takes."""
    of_class = type(like) in NUMBERS and entry.shape == ()
    return of_class and np.can_cast(dtype_of(entry.dtype), type(like), "same_kind")


def _constant(node: Any, like: Any, expected: Expected | None) -> Any:
    """A leaf that stands in the header, in the place of ``like``."""
    if expected is None:
        return node if type(node) is type(like) else UNLIKE
    if type(node) not in NUMBERS or expected.shape != ():
        return UNLIKE
    # A number that was assigned to a hyperparameter becomes an array in the next step.
    array, dtype = np.asarray(node), expected.dtype
    return array.astype(dtype) if np.can_cast(array.dtype, dtype, "same_kind") else UNLIKE


def _in_lines(problems: list[str]) -> str:
    rest = len(problems) - MOST
    more = [f"and {rest} more"] if rest > 0 else []
    return "\n".join(problems[:MOST] + more)
