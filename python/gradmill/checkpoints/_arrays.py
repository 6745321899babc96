"""Arrays as the bytes stored in files: row by row, little-endian."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.arrays import as_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Array = np.ndarray[Any, np.dtype[Any]]

NAMES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64"  # noqa: SIM905  (a list of strings is harder to read)
    " float16 float32 float64 complex64 complex128 bfloat16".split()
)
"""The dtypes that files hold."""

STRETCH = 1 << 22
"""Bytes that are looked at at once."""


def kept(value: object) -> Array:
    """A leaf as an array that a file can hold, a view where possible.

    Raises:
        TypeError: There is none. The message continues a leaf's path.
    """
    array = as_array(value)
    if array.dtype.kind == "O":
        raise TypeError(f"is a {type(value).__name__}, which a checkpoint cannot hold")
    if name_of(array.dtype) not in NAMES:
        raise TypeError(f"dtype {array.dtype}, which a checkpoint cannot hold")
    return array


@cache
def name_of(dtype: np.dtype[Any]) -> str:
    """The name of a dtype, which NumPy makes up each time."""
    return dtype.name


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of that name.

    Raises:
        ValueError: There is none, or ml_dtypes is missing; the message says so.
    """
    if name not in NAMES:
        raise ValueError(f"has dtype {name!r}, which a checkpoint cannot hold")
    if name == "bfloat16":
        with suppress(ImportError):
            import_module("ml_dtypes")  # NumPy knows the name from then on
    try:
        return np.dtype(name)
    except TypeError:
        raise ValueError("has dtype bfloat16; pip install 'gradmill[bfloat16]'") from None


@cache
def as_stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What arrays of ``dtype`` are to NumPy in a file: bfloat16 has the bytes of a uint16."""
    return np.dtype("<u2") if name_of(dtype) == "bfloat16" else dtype.newbyteorder("<")


def stretches(array: Array) -> Iterator[memoryview]:
    """The bytes of an array row by row, little-endian, in parts; without a copy of the whole."""
    stored = as_stored(array.dtype)
    if name_of(array.dtype) == "bfloat16":
        array = array.view(np.uint16)
    dense: Any = [["readonly", "contig"]]  # which NumPy's types do not know
    parts: Any = np.nditer(
        array,
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=dense,
        op_dtypes=[stored],
        casting="equiv",
        order="C",
        buffersize=STRETCH // stored.itemsize,
    )
    for part in parts:
        whole = part.view(np.uint8).data
        for start in range(0, len(whole), STRETCH):
            yield whole[start : start + STRETCH]


def length_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The bytes of an array."""
    return math.prod(shape) * dtype.itemsize


def room_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, memoryview]:
    """A new array as a file has it, and its bytes, to be read into."""
    array = np.empty(shape, as_stored(dtype))
    return array, array.reshape(-1).view(np.uint8).data


def fill(room: memoryview, file: Any) -> None:
    """Read as many bytes as there is room for.

    Raises:
        ValueError: There are fewer.
    """
    at = 0
    while at < len(room):
        count = file.readinto(room[at : at + STRETCH])
        if not count:
            raise ValueError("the file ends before the array does")
        at += count


def as_read(array: Array, dtype: np.dtype[Any]) -> Array:
    """An array that has been read, in the processor's byte order, and in ``dtype``."""
    return array.astype(array.dtype.newbyteorder("="), copy=False).view(dtype)


def new_digest() -> Any:
    """A digest that has taken nothing in yet."""
    return blake2b(digest_size=16, person=b"gradmill")


def digested(parts: Iterable[Any], write: Callable[[Any], object] | None = None) -> str:
    """128 bits that stand for the bytes in ``parts``; ``write`` gets each of these as well."""
    digest = new_digest()
    for part in parts:
        digest.update(part)
        if write is not None:
            write(part)
    return str(digest.hexdigest())


def digest_of(array: Array) -> str:
    """The same for the bytes of an array."""
    return digested(stretches(array))
