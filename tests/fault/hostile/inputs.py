"""Chains, and arrays in odd guises.

A panic is a ``BaseException`` and so passes all that is expected here. What may end the interpreter
runs in one of its own.
"""

from __future__ import annotations

import array
import ctypes
import re
import tempfile
import textwrap
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.processes import python
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F32 = np.float32
bad: Any = gm  # without its types, for arguments that break them

CHAINS: dict[str, Any] = {
    "sgd": gm.sgd(0.1),
    "adamw": gm.adamw(0.1),
    "clipped": gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1)),
    "carried": gm.chain(gm.scale_by_adam(), gm.clip_by_global_norm(1.0), gm.scale(-0.1)),
    "centralized": gm.chain(gm.centralize(), gm.sgd(0.1, 0.9)),
    "block clip": gm.chain(gm.clip_by_block_rms(0.5), gm.sgd(0.1)),
    "adaptive clip": gm.chain(gm.adaptive_grad_clip(0.01), gm.sgd(0.1)),
    "trust ratio": gm.chain(gm.scale_by_adam(), gm.scale_by_trust_ratio(), gm.scale(-0.1)),
    "multi steps": gm.MultiSteps(gm.adam(0.1), 2),
    "masked": gm.masked(gm.adamw(0.1), lambda path, leaf: path == "w"),
    "partition": gm.partition(
        {"a": gm.adamw(0.1), "s": gm.sgd(0.1)}, lambda path, leaf: "a" if path == "w" else "s"
    ),
}
READS_PARAMS = ("adamw", "clipped", "adaptive clip", "trust ratio", "masked", "partition")
FEW = ("sgd", "clipped", "carried", "multi steps")


each_chain = pytest.mark.parametrize("chain", CHAINS)
each_of_few = pytest.mark.parametrize("chain", FEW)


def plain_leaf(scale: float = 1.0) -> Any:
    """Rows that are all alike, so that a row of stride zero has the same values."""
    return np.tile(np.array([0.5, -2.0, 3.0, 0.25], F32) * F32(scale), (3, 1))


def tree(scale: float = 1.0) -> dict[str, Any]:
    return {"b": np.arange(4, dtype=F32) * F32(scale), "w": plain_leaf(scale)}


def with_w(value: Any) -> dict[str, Any]:
    return {**tree(), "w": value}


@contextmanager
def refused(*places: str, cause: str = "", unchanged: Any = ()) -> Iterator[None]:
    """An error that begins with one of these places, says why, and has changed not a bit."""
    __tracebackhide__ = True
    before = bits(unchanged)
    pattern = "|".join(map(re.escape, places))
    with pytest.raises((ValueError, TypeError), match=rf"^({pattern}).*({cause})") as caught:
        yield
    assert isinstance(caught.value, (LeafValueError, LeafTypeError, TreeError))
    assert bits(unchanged) == before


@contextmanager
def old_ways() -> Iterator[None]:
    """NumPy warns of some of what is done to arrays here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class Plain(np.ndarray[Any, Any]):
    """A subclass that adds nothing."""


class Prickly(np.ndarray[Any, Any]):
    """A subclass that takes part in nothing."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("__array__")

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("__array_ufunc__")

    def __array_function__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("__array_function__")


class Offers:
    """Not an array, but it offers one, another each time; the last for ever."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


class Raises:
    """Offers an array and then does not."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.error


def into(buffer: Any, values: Any) -> Any:
    buffer[...] = values
    return buffer


def misaligned(values: Any) -> Any:
    raw = np.zeros(values.nbytes + 1, np.uint8)[1:]
    return into(raw.view(values.dtype).reshape(values.shape), values)


def mapped(values: Any) -> Any:
    with tempfile.TemporaryFile() as file:
        return into(np.memmap(file, values.dtype, "w+", shape=values.shape), values)


def read_only(values: Any) -> Any:
    copy = values.copy()
    copy.setflags(write=False)
    return copy


def as_jax(values: Any) -> Any:
    return pytest.importorskip("jax.numpy").asarray(values)


WRITABLE: dict[str, Callable[[Any], Any]] = {
    "Fortran": lambda v: np.array(v, order="F"),
    "reversed": lambda v: np.array(v[::-1, ::-1])[::-1, ::-1],
    "every third": lambda v: into(np.zeros((3, 12), v.dtype)[:, 1::3], v),
    "transposed window": lambda v: into(np.zeros((9, 9), v.dtype)[2:6, 1:8:3].T, v),
    "field": lambda v: into(np.zeros(v.shape, [("x", v.dtype), ("y", v.dtype)])["y"], v),
    "imaginary part": lambda v: into(np.zeros(v.shape, np.complex64).imag, v),
    "matrix": lambda v: v.copy().view(np.matrix),
    "recarray": lambda v: v.copy().view(np.recarray),
    "subclass": lambda v: v.copy().view(Plain),
    "prickly subclass": lambda v: v.copy().view(Prickly),
    "memory map": mapped,
    "bytearray": lambda v: np.frombuffer(bytearray(v.tobytes()), v.dtype).reshape(v.shape),
    "array.array": lambda v: np.frombuffer(array.array("f", v.ravel()), F32).reshape(v.shape),
    "ctypes": lambda v: into(np.ctypeslib.as_array((ctypes.c_float * 4 * 3)()), v),
    "metadata": lambda v: v.astype(np.dtype(v.dtype, metadata={"unit": "m"})),
}
GUISES: dict[str, Callable[[Any], Any]] = {
    **WRITABLE,
    "read-only": read_only,
    "broadcast": lambda v: np.broadcast_to(v[0], v.shape),
    "byte-swapped": lambda v: v.astype(v.dtype.newbyteorder()),
    "misaligned": misaligned,
    "packed field": lambda v: into(np.zeros(v.shape, [("x", "i2"), ("y", v.dtype)])["y"], v),
    "bytes": lambda v: np.frombuffer(v.tobytes(), v.dtype).reshape(v.shape),
    "memoryview": lambda v: memoryview(v.copy()),
    "offered": lambda v: Offers(v.copy()),
    "offered first": lambda v: Offers(v.copy(), np.ones(7)),
    "half": lambda v: v.astype(np.float16),
    "jax": as_jax,
}
each_guise = pytest.mark.parametrize("guise", GUISES)


def same_values(guise: Any) -> Any:
    """A plain array with the values of ``guise``."""
    values = guise.values[0] if isinstance(guise, Offers) else guise
    if isinstance(values, Prickly):
        values = values.view(np.ndarray)
    values = np.asarray(values)
    return np.array(values, values.dtype.newbyteorder("="), order="C")


def updated(tx: Any, grads: Any, state: Any, params: Any) -> list[Any]:
    updates, state = tx.update(grads, state, params)
    return bits((updates, state))


def alone(code: str) -> str:
    """What the code prints in an interpreter of its own, which it may bring to an end."""
    return python(f"import numpy as np, gradmill as gm\n{textwrap.dedent(code)}")


def state_leaves(state: Any) -> list[int]:
    return [at for at, leaf in enumerate(flatten(state)[0]) if np.shape(leaf) == (3, 4)]


def field(state: Any, path: str) -> Any:
    leaves, treespec = flatten(state)
    paths = [accessor.codify("state") for accessor in treespec.accessors()]
    return leaves[paths.index(path)]


def with_field(state: Any, path: str, value: Any) -> Any:
    leaves, treespec = flatten(state)
    paths = [accessor.codify("state") for accessor in treespec.accessors()]
    leaves[paths.index(path)] = value
    return treespec.unflatten(leaves)
