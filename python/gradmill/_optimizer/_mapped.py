"""Parameters and state in memory-mapped files."""

from __future__ import annotations

import json
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill._data.trees import flatten, leaf_path
from gradmill.errors import LeafValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree
    from gradmill._plan.links import Link
    from gradmill._run.in_place import InPlaceRuns

    Array = np.ndarray[Any, Any]

_ALIGNED = 64
"""Arrays begin at multiples of it, as those of NumPy do."""


class StateFile:
    """Arrays in one file of a directory, with an index that :meth:`flush` writes.

    That says where each is, and what else there is of the state. A file without one has never been
    flushed, and a new one takes its place.

    Args:
        directory: It is made if it is not there.
        arrays: The arrays as they are at first, by their paths. What a file has of an earlier run
            takes their place.
        zeros: The paths of those that are zero, which take no room on the disk before steps write.

    Attributes:
        arrays: Those in the file, by their paths.
        steps: The steps taken when the file was last brought to the disk; 0 for a new file.
        rest: What else there was then, by its paths.

    Raises:
        LeafValueError: The directory has a state of other arrays, or one that was written to after
            its last flush.
        OSError: The file cannot be made or mapped.
    """

    def __init__(
        self, directory: str | os.PathLike[str], arrays: dict[str, Array], zeros: set[str]
    ) -> None:
        self._folder = Path(directory)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._data, self._index = self._folder / "arrays.bin", self._folder / "index.json"
        self._places: dict[str, list[Any]] = {}
        size = 0
        for path, first in arrays.items():
            self._places[path] = [size, first.dtype.name, list(first.shape)]
            size += -(-first.nbytes // _ALIGNED) * _ALIGNED
        found = self._found()
        self._map = _mapped(self._data, max(size, 1), is_new=found is None)
        Range(self._map, 0, len(self._map)).advise("SEQUENTIAL")
        self.arrays = {path: self._array(path, first) for path, first in arrays.items()}
        if found is None:
            for path in arrays.keys() - zeros:
                np.copyto(self.arrays[path], arrays[path])
        self.steps: int = 0 if found is None else found["steps"]
        self.rest = {} if found is None else dict(map(_decoded, found["rest"].items()))

    def _array(self, path: str, like: Array) -> Array:
        """The array at a path, in C order."""
        offset, _, shape = self._places[path]
        return np.frombuffer(self._map, like.dtype, like.size, offset).reshape(shape)

    def _found(self) -> dict[str, Any] | None:
        """What the index says of an earlier run, if there was one.

        Raises:
            LeafValueError: It is not to be gone on from.
        """
        if not self._index.exists():
            return None
        index: dict[str, Any] = json.loads(self._index.read_text())
        before = index["arrays"]
        for path in self._places | before:
            if before.get(path) != self._places.get(path):
                raise LeafValueError(
                    f"{path}: {_words(before.get(path))} in {self._index}, expected"
                    f" {_words(self._places.get(path))}; another state needs another directory"
                )
        if index["written"] != self._data.stat().st_mtime_ns:
            raise LeafValueError(
                f"{self._data}: was written to after its last flush, and a step may have broken off"
                " there; begin with an empty directory, or take a copy made after a flush, with its"
                " times (cp -p)"
            )
        return index

    def flush(self, steps: int, rest: dict[str, Array]) -> None:
        """Bring the arrays to the disk, and into the index what goes with them."""
        self._map.flush()
        index = {
            "arrays": self._places,
            "steps": steps,
            "rest": dict(map(_encoded, rest.items())),
            "written": self._data.stat().st_mtime_ns,
        }
        # There is a whole one at any time.
        draft = self._index.with_suffix(".tmp")
        with draft.open("w") as file:
            json.dump(index, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._index)


def _mapped(path: Path, size: int, *, is_new: bool) -> mmap.mmap:
    """A file of some size in memory; it is made if it is new."""
    flags = os.O_RDWR
    if is_new:
        # Whoever has mapped an old one keeps that.
        path.unlink(missing_ok=True)
        flags |= os.O_CREAT | os.O_EXCL
    handle = os.open(path, flags, 0o666)
    try:
        if is_new:
            os.ftruncate(handle, size)
        return mmap.mmap(handle, size)
    finally:
        os.close(handle)


def _words(place: list[Any] | None) -> str:
    return "nothing" if place is None else f"{place[1]} of shape {tuple(place[2])}"


def _encoded(item: tuple[str, Array]) -> tuple[str, list[Any]]:
    path, array = item
    return path, [array.dtype.name, list(array.shape), array.tobytes().hex()]


def _decoded(item: tuple[str, list[Any]]) -> tuple[str, Array]:
    path, (dtype, shape, digits) = item
    return path, np.frombuffer(bytes.fromhex(digits), dtype).reshape(shape).copy()


def held_in(
    directory: str | os.PathLike[str],
    runs: InPlaceRuns,
    state: PyTree,
    masters: list[Any],
    spec: Treespec,
) -> tuple[StateFile, PyTree, list[Any]]:
    """What steps overwrite, in a file.

    Args:
        directory: Where that is.
        runs: What steps consist of.
        state: The first state.
        masters: The master copies, or None.
        spec: The structure of the parameters.

    Returns:
        The file, and state and master copies with arrays in it for those that steps overwrite, as
        they were left by an earlier run if there was one.

    Raises:
        LeafValueError: The directory has a state that cannot be gone on from.
        OSError: The file cannot be made or mapped.
    """
    slots, zeros = _slots_of(runs.links[runs.at :], runs.layout.parts(state)[runs.at :])
    copies = {
        leaf_path(spec, at, "master"): copy for at, copy in enumerate(masters) if copy is not None
    }
    file = StateFile(directory, slots | copies, zeros)
    places = {id(array): path for path, array in (slots | copies).items()}
    own = [copy if copy is None else file.arrays[places[id(copy)]] for copy in masters]
    leaves, treespec = flatten(state)
    for at, leaf in enumerate(leaves):
        if id(leaf) in places:
            leaves[at] = file.arrays[places[id(leaf)]]
        else:
            leaves[at] = file.rest.get(leaf_path(treespec, at, "state"), leaf)
    return file, treespec.unflatten(leaves), own


def rest_of(state: PyTree, file: StateFile) -> dict[str, Array]:
    """The arrays of a state that are not in its file, by their paths."""
    held = set(map(id, file.arrays.values()))
    leaves, spec = flatten(state)
    return {
        leaf_path(spec, at, "state"): leaf
        for at, leaf in enumerate(leaves)
        if isinstance(leaf, np.ndarray) and id(leaf) not in held
    }


def _slots_of(links: Sequence[Link], states: Sequence[PyTree]) -> tuple[dict[str, Array], set[str]]:
    """The arrays that links own, by their paths in the state, and the paths of zeros."""
    slots: dict[str, Array] = {}
    zeros: set[str] = set()
    for link, state in zip(links, states, strict=True):
        for slot in () if link.spec is None else link.spec.slots:
            leaves, spec = flatten(getattr(state, slot.name))
            for at, leaf in enumerate(leaves):
                if isinstance(leaf, np.ndarray):
                    path = leaf_path(spec, at, f"{link.path}.{slot.name}")
                    slots[path] = leaf
                    if slot.start == 0.0:
                        zeros.add(path)
    return slots, zeros


class Range(NamedTuple):
    """A part of a file that is mapped into memory.

    Attributes:
        map: The map.
        start: Its first byte, at the beginning of a page.
        size: How many there are.
    """

    map: mmap.mmap
    start: int
    size: int

    def advise(self, advice: str) -> None:
        """Tell the system how it will be used, where there is a way to."""
        number: int | None = getattr(mmap, f"MADV_{advice}", None)
        # It is no more than a hint.
        with suppress(OSError):
            if number is not None:
                self.map.madvise(number, self.start, self.size)


def map_of(leaf: Any) -> mmap.mmap | None:
    """The map of a file that an array lies in, if it does."""
    base = leaf
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def range_of(leaf: Any) -> Range | None:
    """The part of a map that an array lies in, if it does."""
    own = map_of(leaf)
    if own is None:
        return None
    first = np.frombuffer(own, np.uint8).ctypes.data
    low, high = (bound - first for bound in np.lib.array_utils.byte_bounds(leaf))
    start = low // mmap.PAGESIZE * mmap.PAGESIZE
    return Range(own, start, high - start)


def maps_of(leaves: Iterable[Any]) -> list[Range]:
    """The maps of files that arrays lie in, each once and as a whole."""
    maps = {id(own): own for own in map(map_of, leaves) if own is not None}
    return [Range(own, 0, len(own)) for own in maps.values()]
