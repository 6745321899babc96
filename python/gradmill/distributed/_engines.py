"""How processes communicate: mpi4py, torch.distributed, or anything with two functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

Array = Any


@runtime_checkable
class Engine(Protocol):
    """What :class:`Sharded` asks of a network; all processes call the same functions in turn.

    Attributes:
        rank: The number of this process, from 0.
        size: How many there are.

    Example:
        >>> import gradmill.distributed
        >>> class Alone:
        ...     rank, size = 0, 1
        ...
        ...     def sum_scatter(self, rows, out):
        ...         out[...] = rows[0]
        ...
        ...     def gather(self, row, out):
        ...         out[0] = row
        >>> isinstance(Alone(), gradmill.distributed.Engine)
        True
    """

    rank: int
    size: int

    def sum_scatter(self, rows: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
        """Write to ``out`` the sum over all processes of their row number :attr:`rank`.

        Args:
            rows: A row for each process, of float32 or float64.
            out: Room for a row.
        """

    def gather(self, row: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
        """Write to row number ``k`` of ``out`` the ``row`` of process ``k``, all of bytes."""


class _Mpi:
    """A communicator of mpi4py."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()

    def sum_scatter(self, rows: Array, out: Array) -> None:
        self._comm.Reduce_scatter_block(rows, out)

    def gather(self, row: Array, out: Array) -> None:
        self._comm.Allgather(row, out)


class _Torch:
    """A process group of torch, whose tensors lie in the memory of the host."""

    def __init__(self, group: Any) -> None:
        import torch  # noqa: PLC0415  (who passes a group has imported torch)

        self._group = group
        self._torch = torch
        self.rank: int = torch.distributed.get_rank(group)
        self.size: int = torch.distributed.get_world_size(group)

    def sum_scatter(self, rows: Array, out: Array) -> None:
        tensor = self._torch.from_numpy(rows)
        # Gloo has no other sum that all of its versions know.
        self._torch.distributed.all_reduce(tensor, group=self._group)
        out[...] = rows[self.rank]

    def gather(self, row: Array, out: Array) -> None:
        tensors = [self._torch.from_numpy(other) for other in out]
        own = self._torch.from_numpy(row)
        self._torch.distributed.all_gather(tensors, own, group=self._group)


def engine_of(comm: Any) -> Engine:
    """The engine that ``comm`` stands for.

    Raises:
        TypeError: It stands for none.
    """
    if hasattr(comm, "Reduce_scatter_block"):
        return _Mpi(comm)
    if any(kind.__module__.startswith("torch.") for kind in type(comm).__mro__):
        return _Torch(comm)
    if isinstance(comm, Engine):
        return comm
    raise TypeError(
        "comm must be a communicator of mpi4py, a process group of torch.distributed or a"
        f" gradmill.distributed.Engine, got {type(comm).__name__}"
    )
