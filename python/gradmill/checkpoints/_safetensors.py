"""The format safetensors: a header in JSON, then the bytes of all arrays without a gap.

Written here and not by the format's own library, which takes the memory of an array for its
elements in C order, has no bfloat16 for NumPy, and in its older versions copies all there is.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from gradmill.checkpoints._arrays import (
    as_read,
    digested,
    fill,
    length_of,
    name_of,
    new_digest,
    room_for,
    stretches,
)
from gradmill.checkpoints._header import foreign
from gradmill.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

KEY = "gradmill"
"""Where the header stands among the metadata."""

LONGEST = 100_000_000
"""Bytes of JSON, beyond which other readers refuse a file."""

CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
PAIRS = {"complex64": "F32", "complex128": "F64"}
"""Complex numbers are pairs of real ones: many readers do not know them."""


def write(
    file: IO[bytes],
    arrays: Mapping[str, np.ndarray[Any, Any]],
    header: Callable[[Mapping[str, str]], str],
) -> None:
    """Write arrays and the header, which is made of their digests."""
    # Each is aligned where none of smaller elements comes before it.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    entries: dict[str, Any] = {}
    end = 0
    for name in order:
        code, shape = _stored_as(arrays[name].shape, arrays[name].dtype)
        start, end = end, end + arrays[name].nbytes
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    unknown = "0" * (2 * new_digest().digest_size)
    first = _start(header(dict.fromkeys(order, unknown)), entries)
    file.write(first)
    digests = {name: _add(file, arrays[name]) for name in order}
    file.seek(0)
    # It is as long as the first.
    file.write(_start(header(digests), entries))


def _stored_as(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[str, list[int]]:
    """The format's code for an array, and its shape there."""
    name = name_of(dtype)
    if name in PAIRS:
        return PAIRS[name], [*shape, 2]
    return CODES[name], list(shape)


def _start(header: str, entries: dict[str, Any]) -> bytes:
    """All that stands before the arrays."""
    content = {"__metadata__": {KEY: header}, **entries}
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST:
        raise ValueError(f"the header has {len(text)} bytes, safetensors allow {LONGEST}; use .npz")
    return len(text).to_bytes(8, "little") + text


def _add(file: IO[bytes], array: np.ndarray[Any, Any]) -> str:
    """Append an array and return its digest."""
    return digested(stretches(array), file.write)


class Reader:
    """A file that is open.

    Args:
        file: The file.
        name: What it is called in errors.

    Attributes:
        header: The text of its header.

    Raises:
        CheckpointError: It was not written by gradmill.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST):
            raise CheckpointError(f"{name}: is cut off, or is not a safetensors file")
        self._start, self._size = 8 + length, size
        try:
            self._entries = json.loads(file.read(length))
            self.header: str = self._entries["__metadata__"][KEY]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise foreign(name) from error

    def read(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """A new array of what the file has under a name.

        Raises:
            ValueError: It has something else there, or is broken; the message says what.
        """
        code, stored = _stored_as(shape, dtype)
        length = length_of(shape, dtype)
        try:
            entry = self._entries[name]
            start, end = entry["data_offsets"]
            if (entry["dtype"], entry["shape"], end - start) != (code, stored, length):
                raise ValueError
            at = self._start + start
        except (KeyError, TypeError, ValueError):
            raise ValueError("is not the array that the header describes") from None
        if start < 0 or at + length > self._size:
            raise ValueError("the file ends before the array does")
        array, room = room_for(shape, dtype)
        self._file.seek(at)
        fill(room, self._file)
        return as_read(array, dtype)
