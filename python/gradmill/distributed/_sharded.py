"""An optimizer whose state is spread over processes."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import _core
from gradmill._data.arrays import as_native
from gradmill._data.trees import Flattener, leaf_path
from gradmill._plan.align import kind_of
from gradmill._plan.masks import Selection
from gradmill._plan.match import match
from gradmill._run.digest import state_digest
from gradmill._run.in_place import InPlaceRuns
from gradmill._run.ops import is_float_array, left_out
from gradmill._run.update import none_error
from gradmill.distributed._engines import engine_of
from gradmill.distributed._files import read_shards, write_shard
from gradmill.distributed._pieces import Arena, Piece, pieces_of
from gradmill.distributed._shard import Shard, check_reach, needs_whole_leaves
from gradmill.errors import LeafTypeError, LeafValueError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._run.report import StepReport

Array = Any

_MESSAGE = 256
"""Bytes of an error that other processes are told."""


class _ElsewhereError(RuntimeError):
    """Another process has raised."""


class Sharded:
    r"""An optimizer for several processes, which hold the same parameters and share the state.

    Each process has all parameters, computes its own gradients, and keeps the state of one shard
    only. A step sums the gradients of all processes, each process steps its shard, and the new
    parameters go to all others. So each of :math:`R` processes keeps :math:`1/R` of the state, as
    in ZeRO-1. What a chain measures over all gradients, such as a global norm, is summed leaf by
    leaf and is exact.

    After a step all processes hold the same bits. For the same sums of gradients, these are the
    bits of a single process's :class:`~gradmill.Optimizer`, however many processes there are. The
    order in which gradients are summed is up to the engine.

    Elements are divided in the order of leaves, separately for each dtype. Leaves are cut at
    multiples of 131,072 elements, where sums are cut too; a leaf that an op needs as a whole, as
    LAMB does, is not cut. Masks and labels see whole leaves. 16-bit gradients are summed in
    float32.

    If one process raises inside a step, all do, and nothing is written. The engine has to notice a
    process that is killed: ``mpirun`` ends the others, gloo raises in them.

    Args:
        tx: The transformation. It must not draw random numbers, nor contain anything that
            :meth:`~gradmill.Optimizer.measure` cannot reach; both are refused by name.
        params: A tree of float arrays in C order, the same in all processes, which steps overwrite.
        comm: A communicator of mpi4py, a process group of torch.distributed, or an :class:`Engine`.
        average: Whether to average gradients over processes rather than sum them.
        check_every: How often to compare a digest of the parameters over all processes, in steps; 0
            for never. They are compared at the start in any case.
        master: Whether to keep float32 copies of 16-bit parameters, as for
            :class:`~gradmill.Optimizer`; these are sharded too.

    Attributes:
        params: The tree that you passed in.
        shard: The optimizer of this process's pieces, by number.

    Raises:
        ValueError: The chain cannot be sharded.
        LeafTypeError: A parameter is not an array of floats.
        LeafValueError: A parameter is not in C order, or read-only.
        RuntimeError: Another process raised, or has different parameters; the message names the
            first one.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> from gradmill.distributed import Sharded
        >>> class Alone:  # in place of mpi4py.MPI.COMM_WORLD
        ...     rank, size = 0, 1
        ...
        ...     def sum_scatter(self, rows, out):
        ...         out[...] = rows[0]
        ...
        ...     def gather(self, row, out):
        ...         out[0] = row
        >>> params = {"w": np.zeros(2, np.float32)}
        >>> opt = Sharded(gm.chain(gm.clip_by_global_norm(1.0), gm.sgd(1.0)), params, Alone())
        >>> opt.step({"w": np.array([3.0, 4.0], np.float32)}).global_norm
        5.0
        >>> params["w"]
        array([-0.6, -0.8], dtype=float32)

    References:
        Rajbhandari et al., `ZeRO: Memory Optimizations Toward Training Trillion Parameter Models
        <https://arxiv.org/abs/1910.02054>`_, 2020.
    """

    most = 1 << 24
    """Elements that travel at once."""

    def __init__(
        self,
        tx: TransformationLike,
        params: PyTree,
        comm: Any,
        *,
        average: bool = True,
        check_every: int = 0,
        master: bool = False,
    ) -> None:
        self.params = params
        self._engine = engine_of(comm)
        self._average = average
        self._check_every = check_every
        with self._together():
            self._share_out(tx, master=master)
        self.check()

    def _share_out(self, tx: TransformationLike, *, master: bool) -> None:
        """Cut the parameters, and bind this process's pieces."""
        leaves, self._structure = Flattener()(self.params)
        spec, engine = self._structure.spec, self._engine
        for at, leaf in enumerate(leaves):
            if leaf is None:
                continue
            path = leaf_path(spec, at, "params")
            if not is_float_array(leaf):
                raise LeafTypeError(f"{path}: expected an array of floats, got {kind_of(leaf)}")
            if not (leaf.flags.c_contiguous and leaf.flags.writeable):
                raise LeafValueError(f"{path}: is read-only or not in C order")
        runs = InPlaceRuns(tx)
        check_reach(runs)
        select = Selection(leaves, self._structure, "params")
        unbound = left_out(runs.links, select, leaves)
        self._due = {at for at, leaf in enumerate(leaves) if leaf is not None and at not in unbound}
        self._leaves = leaves
        self._flat: list[Array] = [None if leaf is None else leaf.reshape(-1) for leaf in leaves]
        self._is_cut = not needs_whole_leaves(runs.links)
        sizes = {at: leaf.size for at, leaf in enumerate(leaves) if leaf is not None}
        self._pieces = pieces_of(sizes, cut=self._is_cut)
        dtypes = dict.fromkeys(leaves[at].dtype for at in sizes)
        self._arenas = [
            Arena(dtype, [p for p in self._pieces if leaves[p.leaf].dtype == dtype], engine.size)
            for dtype in dtypes
        ]
        own = sorted(piece for arena in self._arenas for piece in arena.shard(engine.rank))
        arrays = {
            piece.number: self._shaped(self._flat[piece.leaf][piece.start : piece.stop], piece)
            for piece in own
        }
        leaf_of = [piece.leaf for piece in own]
        self.shard = Shard(tx, arrays, select, leaf_of, self._total, master=master)
        self._sums = [np.zeros(arena.length, _summed_in(arena.dtype)) for arena in self._arenas]
        self._reduced = {
            piece.number: self._shaped(sums[at : at + piece.stop - piece.start], piece)
            for arena, sums in zip(self._arenas, self._sums, strict=True)
            for at, piece in zip(arena.offsets(engine.rank), arena.shard(engine.rank), strict=True)
        }

    def _shaped(self, values: Array, piece: Piece) -> Array:
        """The elements of a piece, in the shape of the leaf where it is the whole."""
        return values if self._is_cut else values.reshape(self._leaves[piece.leaf].shape)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self.shard._bound.last()[0]

    def step(self, grads: PyTree, **extra_args: Any) -> StepReport:
        """Sum the gradients of all processes, and update parameters and state.

        All processes call it, with gradients of the same structure.

        Args:
            grads: A tree like ``params``. None is for parameters that the chain leaves alone.
            **extra_args: Handed to the members of the chain that take extra arguments; the same in
                all processes.

        Returns:
            What the step met on its way.

        Raises:
            TreeError: ``grads`` has another structure than ``params``.
            LeafValueError: A gradient has the wrong shape.
            LeafTypeError: A gradient is not an array of floats.
            RuntimeError: Another process raised; the message has its number and what it says. Or
                parameters differ, and the message names the first process that has others than
                the first one.
        """
        if self._check_every and self.steps % self._check_every == 0:
            self.check()
        with self._together():
            flat = self._flat_grads(grads)
        for arena, sums in zip(self._arenas, self._sums, strict=True):
            self._reduce(arena, flat, sums)
        report = self._step_shard(extra_args)
        for arena in self._arenas:
            self._spread(arena)
        return report

    def _step_shard(self, extra_args: dict[str, Any]) -> StepReport:
        """Step this process's shard, with what all have to know."""
        report: StepReport | None = None
        try:
            with self._together():
                self.shard.measure(self._reduced, **extra_args)
                report = self.shard.apply()
        except BaseException:
            # An optimizer that has written a part of its step keeps that in mind.
            with suppress(RuntimeError):
                self.shard.abort()
            raise
        assert report is not None  # noqa: S101  (for the type checker: all was measured)
        finite = self._gathered(np.array([report.finite], np.uint8)).all()
        return report._replace(finite=bool(finite))

    def check(self) -> None:
        """See that all processes hold the same parameters.

        Raises:
            RuntimeError: They do not; the message names the first that has others than the first
                one.
        """
        with self._together():
            digest = bytes.fromhex(state_digest(self.params))
        digests = self._gathered(np.frombuffer(digest, np.uint8).copy())
        others = np.flatnonzero((digests != digests[0]).any(axis=1))
        if others.size:
            raise RuntimeError(f"rank {others[0]} has other parameters than rank 0")

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Save a checkpoint: a file for each process's shard, and an index.

        All processes call it, with a directory that all of them see. The index is written last, so
        a process that is killed leaves the last checkpoint as it was.

        Args:
            directory: The directory, which is created if it does not exist.

        Raises:
            OSError: A file cannot be written.
            RuntimeError: Another process raised.
        """
        place = self._engine.rank, self._engine.size
        with self._together():
            finish = write_shard(directory, self.shard, place, self._signature(), self.steps)
        with self._together():
            finish()

    def load(self, directory: str | os.PathLike[str]) -> None:
        """Continue from a checkpoint, written by any number of processes.

        All processes call it. Each reads what its shard needs.

        Args:
            directory: The directory.

        Raises:
            CheckpointError: It holds no checkpoint, or one for other parameters.
            OSError: A file cannot be read.
            RuntimeError: Another process raised.
        """
        with self._together():
            read_shards(directory, self.shard, self._signature())
        for arena in self._arenas:
            self._spread(arena)

    def _signature(self) -> dict[str, Any]:
        """What a checkpoint has to have in common with this."""
        arrays = [leaf for leaf in self._leaves if leaf is not None]
        return {
            "shapes": [list(leaf.shape) for leaf in arrays],
            "dtypes": [leaf.dtype.name for leaf in arrays],
            "pieces": len(self._pieces),
        }

    def _flat_grads(self, grads: PyTree) -> list[Array]:
        """The gradients of this process, each as a vector."""
        leaves = match(grads, self._structure, "updates", "params", leaves=self._leaves).leaves
        spec = self._structure.spec
        flat: list[Array] = []
        for at, (grad, param) in enumerate(zip(leaves, self._leaves, strict=True)):
            if param is None or at not in self._due:
                if param is None and grad is not None:
                    raise none_error(grad, spec, at)
                # Nobody looks at it.
                flat.append(None if param is None else np.broadcast_to(np.float32(0), param.size))
                continue
            try:
                array = as_native(grad)
            except TypeError as error:
                raise LeafTypeError(f"{leaf_path(spec, at, 'updates')}: {error}") from None
            if array.shape != param.shape:
                path = leaf_path(spec, at, "updates")
                raise LeafValueError(f"{path}: shape {array.shape}, params has {param.shape}")
            flat.append(array.reshape(-1))
        return flat

    def _windows(self, arena: Arena) -> Iterator[tuple[int, int]]:
        """Stretches of a shard, of which all together are no more than travels at once."""
        width = max(self.most // self._engine.size, 1)
        for start in range(0, arena.length, width):
            yield start, min(start + width, arena.length)

    def _reduce(self, arena: Arena, flat: list[Array], sums: Array) -> None:
        """Sum the gradients of all processes, each of its own shard."""
        size = self._engine.size
        for window in self._windows(arena):
            start, stop = window
            rows = np.empty((size, stop - start), sums.dtype)
            for rank, row in enumerate(rows):
                arena.read(flat, rank, window, row)
            self._engine.sum_scatter(rows, sums[start:stop])
        if self._average:
            sums /= size

    def _spread(self, arena: Arena) -> None:
        """Give this process's parameters to all others, and take theirs."""
        rank, size = self._engine.rank, self._engine.size
        for window in self._windows(arena):
            row = np.empty(window[1] - window[0], arena.dtype)
            arena.read(self._flat, rank, window, row)
            rows = self._gathered(row.view(np.uint8)).view(arena.dtype)
            for other in range(size):
                if other != rank:
                    arena.write(self._flat, other, window, rows[other])

    def _total(self, numbers: list[int], rows: list[list[float]]) -> list[float]:
        """What ops over the tree have to know, of what processes added up of their pieces."""
        self._agree(None)
        ranks = range(self._engine.size)
        most = max(sum(len(arena.shard(rank)) for arena in self._arenas) for rank in ranks)
        own = np.full((most, 4), -1.0)
        own[: len(rows), 0], own[: len(rows), 1:] = numbers, np.reshape(rows, (-1, 3))
        found = self._gathered(own.reshape(-1).view(np.uint8)).view(np.float64).reshape(-1, 4)
        # In the order of leaves: first what the pieces of one have added up, then all leaves.
        of_leaves: dict[int, list[list[float]]] = {}
        for number, *row in sorted(found[found[:, 0] >= 0].tolist()):
            of_leaves.setdefault(self._pieces[int(number)].leaf, []).append(row)
        return _core.half_total([_core.half_total(rows) for rows in of_leaves.values()])

    def _gathered(self, row: Array) -> Array:
        """The bytes of all processes, a row each."""
        out = np.empty((self._engine.size, row.size), np.uint8)
        self._engine.gather(row, out)
        return out

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Raise in all processes where one raises."""
        error: Exception | None = None
        try:
            yield
        except _ElsewhereError:
            raise
        except Exception as own:  # noqa: BLE001  (whatever it is, the others have to know)
            error = own
        self._agree(error)

    def _agree(self, error: Exception | None) -> None:
        """See that no process has failed."""
        failed = np.flatnonzero(self._gathered(np.array([error is not None], np.uint8)))
        if not failed.size:
            return
        message = np.zeros(_MESSAGE, np.uint8)
        words = f"{type(error).__name__}: {error}".encode()[:_MESSAGE]
        message[: len(words)] = np.frombuffer(words, np.uint8)
        messages = self._gathered(message)
        if error is not None:
            raise error
        first = int(failed[0])
        said = messages[first].tobytes().rstrip(b"\0").decode(errors="replace")
        raise _ElsewhereError(f"rank {first} raised {said}")


def _summed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which gradients of such parameters are added up."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)
