"""A short number that stands for a tree."""

from __future__ import annotations

import dataclasses
import functools
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from gradmill._arrays import is_half
from gradmill._base import is_transformation
from gradmill._tree import NAMESPACE
from gradmill.optimizer import Optimizer

if TYPE_CHECKING:
    from gradmill._base import PyTree, TransformationLike

STRETCH = 1 << 16
"""Elements that are looked at at once."""


def state_digest(tree: PyTree) -> str:
    """Return 128 bits that tell a tree from any other.

    Equal are the digests of trees with the same structure, dtypes, shapes and bits, wherever and
    whenever they are taken: on another machine, in another process, in another memory layout. A NaN
    is a NaN, whatever its payload; zeros of different sign differ. So processes that ought to hold
    the same parameters compare 16 bytes, and a test compares a run with one of last year.

    A transformation among the leaves counts with its ops and all its hyperparameters, which a state
    does not hold; digest ``(tx, opt.params, opt.state)`` to find a learning rate that differs.
    Schedules count with what they were made from, other functions with module and name.

    Args:
        tree: A tree of arrays, numbers, strings, ``None``, dtypes and transformations.

    Returns:
        32 hexadecimal digits, BLAKE2b of the tree; ``bytes.fromhex`` makes 16 bytes of them.

    Raises:
        TypeError: A leaf is of another kind, or an array of objects; the message has its path.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx, params = gm.adam(0.1), {"w": np.ones(3)}
        >>> digest = gm.state_digest((tx, params, tx.init(params)))
        >>> digest
        '...'
        >>> digest == gm.state_digest((gm.adam(0.2), params, tx.init(params)))
        False

    References:
        Saarinen and Aumasson, `RFC 7693: The BLAKE2 Cryptographic Hash
        <https://www.rfc-editor.org/rfc/rfc7693>`_, 2015.
    """
    digest = _Digest()
    digest.add(tree, "tree")
    return digest.hash.hexdigest()


class _Digest:
    """Takes a tree in, each part with its kind and its length, so that no two trees read alike."""

    def __init__(self) -> None:
        self.hash = blake2b(digest_size=16, person=b"gradmill")

    def word(self, kind: str, content: str = "") -> None:
        """Take in a short part."""
        data = content.encode()
        self.hash.update(f"{kind} {len(data)} ".encode() + data)

    def add(self, value: Any, path: str) -> None:
        """Take in a tree or a leaf; ``path`` leads there."""
        if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
            self.array(np.asarray(value), path)
        elif value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.dtype)):
            self.word(type(value).__name__, str(value) if isinstance(value, str) else repr(value))
        elif is_transformation(value):
            self.transformation(value, path)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            self.attributes(value, names, path)
        elif isinstance(value, functools.partial):
            self.word("partial")
            self.add((value.func, value.args, value.keywords), path)
        elif hasattr(value, "__qualname__"):
            self.word("name", f"{value.__module__}.{value.__qualname__}")
        else:
            self.node(value, path)

    def transformation(self, tx: TransformationLike, path: str) -> None:
        """Take in what a transformation does, or who does it."""
        self.word("transformation")
        description = getattr(tx, "description", None)
        self.add((tx.init, tx.update) if description is None else description, path)

    def attributes(self, value: object, names: list[str], path: str) -> None:
        """Take in an object by its attributes."""
        self.word(type(value).__qualname__, str(len(names)))
        for name in names:
            self.word("attribute", name)
            self.add(getattr(value, name), f"{path}.{name}")

    def node(self, value: Any, path: str) -> None:
        """Take in a container, or an object that is described by what it has."""
        try:
            children, _, entries, _ = optree.tree_flatten_one_level(
                value, none_is_leaf=True, namespace=NAMESPACE
            )
        except ValueError:
            if not hasattr(value, "__dict__") or isinstance(value, Optimizer):
                kind = type(value).__name__
                raise TypeError(f"{path}: is a {kind}, which has no digest") from None
            public = [name for name in vars(value) if not name.startswith("_")]
            self.attributes(value, public, path)
            return
        self.word(type(value).__qualname__, str(len(children)))
        for entry, child in zip(entries, children, strict=True):
            self.add(entry, path)
            self.add(child, f"{path}[{entry!r}]")

    def array(self, array: np.ndarray[Any, Any], path: str) -> None:
        """Take in an array: its elements row by row, little-endian."""
        dtype = array.dtype
        if dtype.hasobject or dtype.names is not None:
            raise TypeError(f"{path}: is an array of {dtype}, which has no digest")
        self.word("array", f"{dtype.name} {array.shape}")
        flat = np.ascontiguousarray(array).reshape(-1)
        for start in range(0, flat.size, STRETCH):
            stretch = flat[start : start + STRETCH].astype(dtype.newbyteorder("<"), copy=False)
            if dtype.kind in "fc" or is_half(dtype):
                stretch = _with_one_nan(stretch)
            self.hash.update(stretch.tobytes())


def _with_one_nan(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    different = np.isnan(array)
    if not different.any():
        return array
    array = array.copy()
    array[different] = np.nan
    return array
