"""Load trees and optimizers from files."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gradmill.checkpoints._files import format_of
from gradmill.checkpoints._fit import Fit
from gradmill.checkpoints._header import content_of
from gradmill.checkpoints._optimizer import PARTS, restore
from gradmill.checkpoints._source import Source, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradmill._data.types import PyTree
    from gradmill._optimizer import Optimizer


def load(
    path: str | os.PathLike[str], /, *, optimizer: Optimizer | None = None, **like: PyTree
) -> dict[str, PyTree]:
    """Load what :func:`save` wrote, bit for bit.

    With an optimizer, it continues where the saved one stood: parameters, state, master copies,
    steps taken, rounding and seed are copied into its arrays. It keeps its own transformation,
    whose hyperparameters may differ from those that :func:`header` shows, and leaves of its
    parameters that are not arrays stay. The file may also come from a functional run, saved as
    ``params`` and ``state``; the steps taken are then the largest count in the state.

    With trees, it returns trees like them, filled from the file; the originals are only looked at.
    Nodes keep their classes, which may belong to another library, such as optax's states; arrays
    are NumPy's. In place of an array, anything with a shape and a dtype will do. What you do not
    ask for is not read.

    With neither, it returns all trees, made of dicts, lists and tuples; other classes become dicts.

    Leaves are matched by key. Anything missing, anything extra, and every shape or dtype that
    differs is an error, and nothing has been written when it is raised.

    Args:
        path: The file.
        optimizer: An optimizer, of the same structure as the one that was saved.
        **like: Trees, by the names under which they were saved.

    Returns:
        The trees by name, without those of the optimizer.

    Raises:
        TreeError: A tree or a leaf is missing, unexpected, or of another kind.
        LeafValueError: A shape or dtype differs, or an array of the optimizer's is read-only.
        CheckpointError: The file was not written by gradmill, is cut off, or is damaged.
        ValueError: ``path`` has an unknown suffix, or ``like`` names a tree that the optimizer
            loads.
        OSError: The file does not exist.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> import gradmill as gm
        >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
        >>> params, tx = {"w": np.ones(2)}, gm.sgd(0.1, momentum=0.9)
        >>> gm.save(path, params=params, state=tx.init(params))
        >>> gm.load(path, state=tx.init(params))
        {'state': (TraceState(trace={'w': array([0., 0.])}), EmptyState())}
        >>> gm.load(path)["params"]
        {'w': array([1., 1.])}
        >>> gm.load(path, params={"w": np.ones(3), "b": np.ones(())})
        Traceback (most recent call last):
            ...
        gradmill.errors.TreeError: params['b']: missing in ...
    """
    with _opened(path) as (reader, name):
        source = Source(reader, name)
        if optimizer is None and not like:
            return source.plain()
        if optimizer is not None:
            for tree in PARTS & like.keys():
                raise ValueError(f"{tree} was asked for twice: the optimizer loads it too")
        fit = Fit(source)
        trees = {name: fit.tree(name, tree) for name, tree in like.items()}
        fit.check()
        trees = {name: read_all(tree) for name, tree in trees.items()}
        if optimizer is not None:
            restore(optimizer, source)
        return trees


def header(path: str | os.PathLike[str], /) -> dict[str, Any]:
    """Return the description inside a checkpoint, without reading its arrays.

    Args:
        path: The file.

    Returns:
        ``gradmill``, the version of the format; ``written_by``; ``trees``, the structure of each;
        ``arrays``, by their names in the file, with ``dtype``, ``shape`` and ``digest``;
        ``optimizer``, if one was saved, with the ``repr`` of its ``transformation``, ``steps``,
        ``rounding`` and ``seed``; ``digest``, 128 bits that stand for all of it.

    Raises:
        CheckpointError: The file was not written by gradmill, or is damaged.
        ValueError: ``path`` has an unknown suffix.
        OSError: The file does not exist.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> import gradmill as gm
        >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
        >>> gm.save(path, optimizer=gm.Optimizer(gm.adam(0.1), np.ones(2)))
        >>> gm.checkpoints.header(path)["optimizer"]["transformation"]
        'gm.adam(0.1)'
    """
    with _opened(path) as (reader, name):
        return content_of(reader.header, name)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, str]]:
    """A reader of the file, and what the file is called in errors."""
    form = format_of(path)
    name = os.fspath(path)
    with open(path, "rb", buffering=0) as file:
        yield form.Reader(file, name), name
