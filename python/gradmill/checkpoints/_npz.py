"""NumPy's format: a zip archive of arrays, one of which is the header."""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from gradmill.checkpoints._arrays import (
    as_read,
    as_stored,
    digested,
    fill,
    length_of,
    room_for,
    stretches,
)
from gradmill.checkpoints._header import foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEADER = "__gradmill__"
"""The array that has the header, as bytes without axes."""


def write(
    file: IO[bytes],
    arrays: Mapping[str, np.ndarray[Any, Any]],
    header: Callable[[Mapping[str, str]], str],
) -> None:
    """Write arrays and the header, which is made of their digests."""
    with zipfile.ZipFile(file, "w") as archive:
        digests = {name: _add(archive, name, array) for name, array in arrays.items()}
        _add(archive, HEADER, np.array(header(digests).encode()))


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray[Any, Any]) -> str:
    """Add an array and return its digest."""
    is_text = array.dtype.kind == "S"
    descr = array.dtype.str if is_text else as_stored(array.dtype).str
    # With the date that it has by default, equal trees make equal files.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        start = {"descr": descr, "fortran_order": False, "shape": array.shape}
        npy.write_array_header_1_0(member, start)
        parts = [array.data.cast("B")] if is_text else stretches(array)
        return digested(parts, member.write)


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
        try:
            self._archive = zipfile.ZipFile(file)
            info = self._archive.getinfo(f"{HEADER}.npy")
            with self._archive.open(info) as member:
                shape, dtype = _start(member)
                if shape != () or dtype.kind != "S":
                    raise foreign(name)
                self.header = member.read()
        except Exception as error:
            raise foreign(name) from error

    def read(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """A new array of what the file has under a name.

        Raises:
            ValueError: It has something else there, or is broken; the message says what.
        """
        try:
            info = self._archive.getinfo(f"{name}.npy")
            with self._archive.open(info) as member:
                if _start(member) != (shape, as_stored(dtype)):
                    raise ValueError("is not the array that the header describes")
                return as_read(_filled(member, info.file_size, shape, dtype), dtype)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  (zipfile, zlib and NumPy have their own)
            raise ValueError(f"cannot be read: {error!s:.200}") from None


def _start(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the dtype of an array, which stand at its start."""
    if npy.read_magic(member) != (1, 0):
        raise ValueError("another version of the format")
    shape, is_fortran, dtype = npy.read_array_header_1_0(member)
    if is_fortran and len(shape) > 1:
        raise ValueError("its elements are not in C order")
    return shape, dtype


def _filled(
    member: IO[bytes], size: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    """An array of what is left of a member, whose size is known before memory is asked for."""
    length = length_of(shape, dtype)
    if size - member.tell() != length:
        raise ValueError("the file ends before the array does")
    array, room = room_for(shape, dtype)
    fill(room, member)
    return array
