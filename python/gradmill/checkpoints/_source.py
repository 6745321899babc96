"""An open checkpoint, whose arrays are read on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.trees import tree_map
from gradmill.checkpoints._arrays import digest_of, dtype_of
from gradmill.checkpoints._header import decode
from gradmill.checkpoints._structure import plain
from gradmill.errors import CheckpointError

if TYPE_CHECKING:
    from gradmill._data.types import PyTree

NUMBERS = (bool, int, float, complex)
"""Python's."""


class Source:
    """A checkpoint that is open.

    Args:
        reader: A reader of its format.
        file: What it is called in errors.

    Attributes:
        file: What it is called in errors.
        header: Its header.

    Raises:
        CheckpointError: The header is damaged.
    """

    def __init__(self, reader: Any, file: str) -> None:
        self.file = file
        self.header = decode(reader.header, file)
        self._reader = reader

    def read(self, name: str, path: str) -> np.ndarray[Any, Any]:
        """A new array of what the file has under a name, for the leaf at ``path``.

        Raises:
            CheckpointError: It is cut off or damaged; the message has the path.
        """
        entry = self.header.arrays[name]
        try:
            array: np.ndarray[Any, Any] = self._reader.read(
                name, entry.shape, dtype_of(entry.dtype)
            )
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{path}: {error} ({self.file})") from None
        if digest_of(array) != entry.digest:
            raise CheckpointError(f"{path}: is damaged: its digest does not match ({self.file})")
        return array

    def plain(self) -> dict[str, PyTree]:
        """All trees, of plain containers."""
        return {name: plain(node, name, self.read) for name, node in self.header.trees.items()}


class Stored:
    """An array of an open file, for the place of a leaf.

    Args:
        source: The file.
        name: The array's name there.
        path: The way to the leaf.
        like: The leaf.
    """

    def __init__(self, source: Source, name: str, path: str, like: Any) -> None:
        entry = source.header.arrays[name]
        self.shape, self.dtype = entry.shape, dtype_of(entry.dtype)
        self._source, self._name, self._path, self._like = source, name, path, like

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Read it, each time anew."""
        array = self._source.read(self._name, self._path)
        return array if dtype is None else array.astype(dtype, copy=False)

    def value(self) -> Any:
        """A new array, or a number where one stood in the place."""
        array = np.asarray(self)
        if type(self._like) in NUMBERS:
            return type(self._like)(array.item())
        return array[()] if isinstance(self._like, np.generic) else array


def read_all(tree: PyTree) -> PyTree:
    """A tree with arrays for what is :class:`Stored`."""
    return tree_map(lambda leaf: leaf.value() if isinstance(leaf, Stored) else leaf, tree)
