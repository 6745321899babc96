"""Errors that name the leaf.

Each class is also a ``ValueError``, a ``TypeError`` or an ``AttributeError``, so code that catches
those keeps working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._core import CoreError


class GradmillError(Exception):
    """Base class of all errors defined by this package.

    Example:
        >>> import gradmill as gm
        >>> issubclass(gm.errors.LeafTypeError, gm.errors.GradmillError)
        True
    """


class TreeError(GradmillError, ValueError):
    """Two trees that should match have different structures.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.apply_updates({"w": np.ones(2)}, {"v": np.ones(2)})
        Traceback (most recent call last):
            ...
        gradmill.errors.TreeError: updates: missing key 'w'; key 'v' is not in params
    """


class LeafValueError(GradmillError, ValueError):
    """An array has the wrong shape, layout or memory; the message begins with its path.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.apply_updates({"w": np.ones(2)}, {"w": np.ones(3)})
        Traceback (most recent call last):
            ...
        gradmill.errors.LeafValueError: updates['w']: shape (3,), params has (2,) (apply_updates)
    """


class LeafTypeError(GradmillError, TypeError):
    """A leaf is not an array, or has an unsupported dtype; the message begins with its path.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.global_norm([np.ones(2), np.ones(2, dtype=np.int64)])
        Traceback (most recent call last):
            ...
        gradmill.errors.LeafTypeError: updates[1]: dtype int64, expected
        float16, bfloat16, float32 or float64
    """


class CheckpointError(GradmillError, ValueError):
    """A file is not a checkpoint, is cut off, or is damaged; the message names it.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> import gradmill as gm
        >>> path = os.path.join(tempfile.mkdtemp(), "foreign.npz")
        >>> np.savez(path, w=np.ones(2))
        >>> gm.load(path)
        Traceback (most recent call last):
            ...
        gradmill.errors.CheckpointError: ...foreign.npz: is not a checkpoint written by
        gradmill.save
    """


class OutOfScopeError(GradmillError, AttributeError):
    """A name in optax that gradmill leaves out; the message says what to use instead.

    Example:
        >>> import gradmill as gm
        >>> hasattr(gm, "l2_loss")
        False
    """


Place = tuple[str, int | None, int]
"""A tree's name, the index of a slot where the tree is a state, and the index of a leaf."""


def from_fault(fault: CoreError, path: Callable[[Place], str], hint: str = "") -> GradmillError:
    """Turn what the core reports into an error with the leaf's path, which ends with ``hint``."""
    place, message, is_type_error, other = fault.args
    if other is not None:
        return LeafValueError(f"{path(place)}: {message} {path(other)}")
    kind = LeafTypeError if is_type_error else LeafValueError
    return kind(f"{path(place)}: {message}{hint}")
