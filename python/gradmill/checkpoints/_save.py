"""Save trees and optimizers to files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gradmill.checkpoints._arrays import kept, name_of
from gradmill.checkpoints._files import format_of, replaced
from gradmill.checkpoints._header import Entry, Header, encode
from gradmill.checkpoints._optimizer import PARTS, parts_of
from gradmill.checkpoints._structure import Held, Other, describe
from gradmill.errors import LeafTypeError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy as np

    from gradmill._data.types import PyTree
    from gradmill._optimizer import Optimizer

_UNSAFE = re.compile(r"[%/\\\x00-\x1f\x7f\ud800-\udfff]|^\.+$|\.(?=npy$)")
"""What names in files do without."""


def save(
    path: str | os.PathLike[str], /, *, optimizer: Optimizer | None = None, **trees: PyTree
) -> None:
    """Save trees of arrays, or an optimizer, to a file that :func:`load` reads.

    Other programs can read the file: an array named ``params/dense/w`` is the leaf
    ``["dense"]["w"]`` of ``params``, for ``numpy.load(path, allow_pickle=False)`` and for any
    library that reads safetensors. In an npz file a bfloat16 is stored as the uint16 of its bits;
    in a safetensors file complex numbers are pairs along a last axis of two. Arrays are written in
    C order, little-endian, whatever their layout, without a copy of the whole.

    The file is written beside the old one and replaces it once all of it has reached the disk. A
    process killed meanwhile leaves the old file as it was.

    Args:
        path: The file; ``.npz`` for NumPy's format, ``.safetensors`` for that one.
        optimizer: An optimizer. Its parameters, state and master copies become the trees
            ``params``, ``state`` and ``master``; the steps taken, the rounding and its seed, and
            the ``repr`` of the transformation go to the header. No step of it may run meanwhile.
        **trees: Trees by the names under which they are to be loaded: of arrays of bools,
            integers, floats or complex numbers, of NumPy, JAX or what else offers arrays, and of
            Python's numbers, strings and None.

    Raises:
        LeafTypeError: A leaf cannot be stored, such as an array of objects; nothing is written.
        ValueError: ``path`` has an unknown suffix, or two trees have the same name.
        OSError: The file cannot be written; the old one is unchanged.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> import gradmill as gm
        >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
        >>> opt = gm.Optimizer(gm.adam(0.1), {"w": np.ones(2)})
        >>> _ = opt.step({"w": np.ones(2)})
        >>> gm.save(path, optimizer=opt, epoch=3)
        >>> again = gm.Optimizer(gm.adam(0.1), {"w": np.zeros(2)})
        >>> gm.load(path, optimizer=again, epoch=0)
        {'epoch': 3}
        >>> again.step({"w": np.ones(2)}).step
        2
    """
    form = format_of(path)
    about = None
    if optimizer is not None:
        for name in PARTS & trees.keys():
            raise ValueError(f"{name} was given twice: the optimizer saves it too")
        own, about = parts_of(optimizer)
        trees = {**own, **trees}
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    structures = {name: _described(name, tree, arrays) for name, tree in trees.items()}

    def header(digests: Mapping[str, str]) -> str:
        entries = {
            name: Entry(name_of(array.dtype), array.shape, digests[name])
            for name, array in arrays.items()
        }
        return encode(Header(structures, entries, about))

    with replaced(path) as file:
        form.write(file, arrays, header)


def _described(name: str, tree: PyTree, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """The structure of a tree, whose arrays are added to ``arrays`` by their names in the file."""
    if not name or name.startswith("__"):
        raise ValueError(f"a tree cannot be named {name!r}")

    def keep(leaf: Any, path: str, keys: tuple[Any, ...]) -> Any:
        if isinstance(leaf, Other):
            return leaf
        try:
            array = kept(leaf)
        except TypeError as error:
            raise LeafTypeError(f"{path}: {error}") from None
        called = "/".join(_UNSAFE.sub(_escaped, str(key)) for key in keys)
        while called in arrays:
            called += "~"
        arrays[called] = array
        return Held(called)

    return describe(tree, name, (name,), keep)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{ord(character):02X}" for character in found[0])
