"""What each process of a test does: ``python -m tests.distributed.programs ENGINE NAME FOLDER``.

ENGINE is "mpi", or "gloo" with RANK and WORLD_SIZE in the environment.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradmill.distributed import Sharded
from tests.distributed.together import CHAINS, LARGE, SMALL, alone, grads_of, params_of
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable


def communicator(engine: str, folder: Path) -> tuple[Any, int]:
    """What processes talk by, and the number of this one."""
    if engine == "mpi":
        from mpi4py import MPI

        return MPI.COMM_WORLD, MPI.COMM_WORLD.Get_rank()
    from datetime import timedelta

    import torch

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=40),
    )
    return torch.distributed.group.WORLD, rank


def share(grads: Any, rank: int) -> Any:
    """This process's share of gradients: all of them, or nothing."""
    return {key: leaf * (rank == 0) for key, leaf in grads.items()}


def run(comm: Any, rank: int, name: str, shapes: Any, **options: Any) -> None:
    """Three steps, to be compared with those of a single process."""
    params = params_of(shapes)
    opt = Sharded(CHAINS[name](), params, comm, average=False, **options)
    reports = [str(opt.step(share(grads_of(shapes, step), rank))) for step in range(3)]
    assert (bits(params), reports) == alone(name, shapes, 3), name


def chains(comm: Any, rank: int, folder: Path) -> None:
    """Every kind of chain is as in a single process."""
    for name in CHAINS:
        run(comm, rank, name, SMALL, check_every=1)


def cut(comm: Any, rank: int, folder: Path) -> None:
    """A leaf larger than a shard, uneven shards, and counts that travel in pieces."""
    Sharded.most = 90_000
    for name in ("clip", "lamb"):
        run(comm, rank, name, LARGE)


def halves(comm: Any, rank: int, folder: Path) -> None:
    """Parameters of half precision, whose gradients are added up in float32."""
    import ml_dtypes

    params = {"w": np.zeros(1000, ml_dtypes.bfloat16)}
    opt = Sharded(CHAINS["clip"](), params, comm, master=True)
    for _ in range(2):
        opt.step({"w": np.full(1000, 1 + rank / 64, ml_dtypes.bfloat16)})
    assert np.isfinite(params["w"].astype(np.float32)).all()
    assert (params["w"] < 0).all()


def raises(comm: Any, rank: int, folder: Path) -> None:
    """Where one raises, all do, and all go on."""
    params = params_of(SMALL)
    opt = Sharded(CHAINS["clip"](), params, comm, average=False)
    grads = share(grads_of(SMALL, 0), rank)
    bad = {**grads, "bias": np.ones(4, np.float32)} if rank == 1 else grads
    with pytest.raises((ValueError, RuntimeError), match=r"updates\['bias'\]: shape \(4,\)"):
        opt.step(bad)
    opt.step(grads)
    (folder / f"raised-{rank}").touch()


def checkpoint(comm: Any, rank: int, folder: Path) -> None:
    """Writes a checkpoint, or goes on from one."""
    shapes = {**SMALL, "long": (300_000,)}
    params = params_of(shapes)
    opt = Sharded(CHAINS["finite"](), params, comm, average=False)
    if (folder / "run").exists():
        opt.load(folder / "run")
    while opt.steps < 2:
        opt.step(share(grads_of(shapes, opt.steps), rank))
        opt.save(folder / "run")
        if opt.steps == 2:
            return
    opt.step(share(grads_of(shapes, opt.steps), rank))
    assert bits(params) == alone("finite", shapes, 3)[0]


def killed(comm: Any, rank: int, folder: Path) -> None:
    """One process is killed while others wait for it."""
    params = params_of(SMALL)
    opt = Sharded(CHAINS["clip"](), params, comm)
    opt.step(grads_of(SMALL, 0))
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    opt.step(grads_of(SMALL, 1))
    (folder / f"survived-{rank}").touch()


PROGRAMS: dict[str, Callable[[Any, int, Path], None]] = {
    program.__name__: program for program in (chains, cut, halves, raises, checkpoint, killed)
}

if __name__ == "__main__":
    to_run, where = sys.argv[2], Path(sys.argv[3])
    PROGRAMS[to_run](*communicator(sys.argv[1], where), where)
    if sys.argv[1] == "gloo":
        import torch

        # Its threads would end with the process, or with what another one still waits for.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
